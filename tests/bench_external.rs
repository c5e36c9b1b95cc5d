//! The bench of an external device: generator and sink at one end of a cable, a forwarder that is not part of
//! the bench at the other.
#![allow(missing_docs)]

mod support;

use serde_json::Value;
use std::process::Output;
use support::netns::{Netns, veth};

/// Direct routing by nftables with two real servers.
const RULES: &str = r#"
table netdev dut {
  chain ingress {
    type filter hook ingress device "dut0" priority filter;
    ip daddr 198.18.0.1 tcp dport 80 ether daddr set jhash ip saddr . tcp sport mod 2 map {
      0 : 02:00:5e:00:00:00, 1 : 02:00:5e:00:00:01 } ether saddr set 02:00:00:00:00:09 fwd to "dut0"
  }
}
"#;

struct Cable {
    here: Netns,
    _device: Netns,
}

/// A veth pair: `gen0` here, `dut0` of the forwarder.
fn cable() -> Cable {
    let (here, device) = (Netns::new("here"), Netns::new("dut"));
    veth((&here, "gen0"), (&device, "dut0"), 1);
    device.run("ip link set dut0 down && ip link set dut0 address 02:00:00:00:00:09 && ip link set dut0 up");
    device.run("ethtool -K dut0 gro on"); // so that it receives XDP frames
    device.run(&format!("nft -f - <<'END'\n{RULES}\nEND"));
    Cable { here, _device: device }
}

fn bench(cable: &Cable, out: &str) -> Output {
    let exe = env!("CARGO_BIN_EXE_directrix");
    let words = "--quick --pairs 1 --seconds 0.05 --flows 100 --servers 2 --low-rate 1000";
    let line = format!(
        "exec timeout 60 {exe} lab bench --interface gen0 --peer-mac 02:00:00:00:00:09 {words} --out {out}"
    );
    cable.here.command(&line).output().unwrap()
}

#[test]
fn an_external_device_is_measured() {
    let cable = cable();
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let ended = bench(&cable, out.to_str().unwrap());
    let output =
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{output}");
    assert!(output.contains("must forward TCP 198.18.0.1:80 out of the same interface"), "{output}");
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let figures = &report["results"][0]["duts"][0];
    assert_eq!(figures["dut"], "external");
    assert!(figures["highest"]["delivered"]["median"].as_f64().unwrap() > 1000.0, "{text}");
    assert!(figures["low"]["latency"]["samples"].as_u64().unwrap() > 0, "{text}");
    assert!(figures["curve"].as_array().unwrap().len() > 1, "{text}");
    let left = cable.here.run("ip -d link show dev gen0");
    assert!(!left.contains("prog/xdp"), "the interface is restored: {left}");
}

#[test]
fn the_interface_of_the_default_route_is_refused() {
    let cable = cable();
    cable.here.run("ip address add 192.0.2.1/24 dev gen0 && ip route add default via 192.0.2.2");
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let ended = bench(&cable, out.to_str().unwrap());
    let output = String::from_utf8(ended.stderr).unwrap();
    assert!(!out.exists(), "the interface is checked first");
    assert_eq!(ended.status.code(), Some(2), "{output}");
    assert!(output.starts_with("directrix lab: gen0 carries this machine's default route"), "{output}");
}
