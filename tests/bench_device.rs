//! The bench on a real interface of the device itself: DUTs forward at one end of a cable, a
//! generator at the other knows nothing of them. Needs root.
#![allow(missing_docs)]

mod support;

use directrix::bench_wire::generator::Generator;
use directrix::bench_wire::sink::{Arrivals, Sink};
use directrix::bench_wire::trial::{Offered, Traffic, TrafficKind};
use directrix::io::Interface;
use directrix::lab::Interrupt;
use directrix::wire::MacAddr;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::netns::{Netns, Process, veth, wait_until};

const DEVICE: &str = "02:00:00:00:00:09";
/// The first real server of the generator's sink.
const STATION: &str = "02:00:5e:00:00:00";
/// Frames a second that every DUT forwards, also on a busy machine and in a debug build.
const EASY: u64 = 3000;

struct Cable {
    outside: Netns,
    device: Netns,
}

/// `gen0` of the generator and `dut0` of the device, which routes and has no address there.
fn cable() -> Cable {
    let (outside, device) = (Netns::new("gen"), Netns::new("dev"));
    veth((&outside, "gen0"), (&device, "dut0"), 1);
    device.run(&format!("ip link set dut0 down && ip link set dut0 address {DEVICE} && ip link set dut0 up"));
    device.run("ethtool -K dut0 gro on"); // a veth takes XDP frames then
    device.run("sysctl -qw net.ipv4.ip_forward=1");
    Cable { outside, device }
}

impl Cable {
    fn line(station: &str, words: &str, out: &Path) -> String {
        let exe = env!("CARGO_BIN_EXE_directrix");
        let place = format!("--interface dut0 --peer-mac {station} --external-generator");
        format!("exec {exe} lab bench {place} {words} --out {}", out.display())
    }

    fn bench(&self, words: &str, out: &Path) -> Output {
        self.device.command(&Self::line(STATION, words, out)).output().unwrap()
    }

    /// Calls `f` while the generator sends, and tells what has come back.
    fn while_sending<T: Send>(&self, f: impl FnOnce() -> T + Send) -> (T, Arrivals) {
        let over = AtomicBool::new(false);
        let send = || self.outside.enter(|| generate(&over));
        std::thread::scope(|scope| {
            let generator = scope.spawn(send);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            over.store(true, Ordering::Relaxed);
            let arrivals = generator.join().unwrap();
            (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), arrivals)
        })
    }

    /// Everything of the interface that the bench may have changed.
    fn state(&self) -> String {
        let link = self.device.run("ip -j -d link show dev dut0");
        let link: Value = serde_json::from_str(&link).unwrap();
        let addresses = self.device.run("ip address show dev dut0 | grep inet || true");
        let rest = self.device.run(
            "cat /proc/sys/net/ipv4/conf/dut0/forwarding; nft list ruleset; ethtool -k dut0 | grep generic",
        );
        format!("{}\n{}\n{addresses}\n{rest}", link[0]["xdp"], link[0]["flags"])
    }
}

/// New clients all the time: a director that has just started knows none.
fn generate(over: &AtomicBool) -> Arrivals {
    let traffic = Traffic { flows: 1000, servers: 5, frame_len: 60, kind: TrafficKind::Flood };
    let here = Interface::lookup("gen0").unwrap();
    let [device, service]: [&str; 2] = [DEVICE, "198.18.0.1:80"];
    let (device, service): (MacAddr, SocketAddrV4) = (device.parse().unwrap(), service.parse().unwrap());
    let sink = Sink::open(&here, device, 5).unwrap();
    let mut generator = Generator::open(&here, device, service, traffic).unwrap();
    while !over.load(Ordering::Relaxed) {
        let slice = Duration::from_millis(200);
        generator.run(Offered::PerSecond(EASY), slice, &Interrupt::never()).unwrap();
    }
    sink.arrivals().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn duts_forward_in_turn_what_another_machine_sends() {
    let cable = cable();
    let (home, before) = (tempfile::tempdir().unwrap(), cable.state());
    let out = home.path().join("out");
    let words = "--duts xdp,packet,l2fwd,hairpin,nft --pairs 2 --seconds 0.5 --flows 5000 --servers 5";
    let (ended, arrived) = cable.while_sending(|| cable.bench(words, &out));
    let said = said(&ended);
    assert!(ended.status.success(), "{said}");
    assert_eq!(cable.state(), before, "the interface is given back");
    assert_eq!((arrived.astray, arrived.by_server[0]), (0, arrived.delivered), "all went to the station");
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let results = report["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|figures| figures["dut"].as_str().unwrap()).collect();
    assert_eq!(names, ["xdp", "packet", "l2fwd", "hairpin", "nft"]);
    for figures in results {
        let median = |what: &str| figures[what]["median"].as_f64().unwrap();
        // Frames under way at either end of a trial may shift a few.
        let (received, forwarded) = (median("received"), median("forwarded"));
        assert!((0.2..1.2).contains(&(received / EASY as f64)), "{figures}");
        assert!(forwarded > 0.5 * received && forwarded < 1.1 * received, "{figures}");
        assert!(figures["to_l2fwd"]["median"].as_f64().unwrap() > 0.0, "{figures}");
        assert!(figures["cores"].as_array().unwrap().len() > 1, "{figures}");
    }
    assert!(report["conditions"]["setting"].as_str().unwrap().starts_with("dut0 (driver veth)"), "{text}");
    assert_eq!(report["not_measured"], serde_json::json!(["ndr", "latency"]));
    let table = std::fs::read_to_string(out.join("report.txt")).unwrap();
    assert!(said.contains(&table) && table.contains("Neither rate without loss (NDR) nor latency"), "{said}");
}

#[test]
fn another_bench_can_be_the_generator() {
    let cable = cable();
    let home = tempfile::tempdir().unwrap();
    let words = "--duts xdp,hairpin --pairs 1 --seconds 0.3 --servers 5";
    let own = cable.outside.run("cat /sys/class/net/gen0/address");
    let line = Cable::line(own.trim(), words, &home.path().join("out"));
    let mut bench = Process(cable.device.command(&line).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(bench.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "waiting for frames at dut0: start the generator"));
    let exe = env!("CARGO_BIN_EXE_directrix");
    let theirs = home.path().join("theirs").display().to_string();
    let place = format!("--interface gen0 --peer-mac {DEVICE} --out {theirs}");
    let line = format!("exec {exe} lab bench {place} --kind flood --flows 1 --pairs 1 --seconds 3600");
    let _generator = Process(cable.outside.command(&line).stdout(Stdio::null()).spawn().unwrap());
    let said: Vec<_> = lines.collect();
    assert!(bench.0.wait().unwrap().success(), "{said:#?}");
    let text = std::fs::read_to_string(home.path().join("out/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    for figures in report["results"].as_array().unwrap() {
        assert!(figures["forwarded"]["median"].as_f64().unwrap() > 0.0, "{figures}");
    }
}

/// Generators of others may know UDP alone.
#[test]
fn frames_of_udp_are_forwarded_too() {
    let cable = cable();
    cable.outside.run("ip address add 198.18.255.1/15 dev gen0");
    cable.outside.run(&format!("ip neighbour add 198.18.0.1 lladdr {DEVICE} dev gen0"));
    let (home, over) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let out = home.path().join("out");
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| cable.outside.enter(|| send_datagrams(&over)));
        let ended = cable.bench("--pairs 1 --seconds 0.3 --servers 5", &out);
        over.store(true, Ordering::Relaxed);
        ended
    });
    assert!(ended.status.success(), "{}", said(&ended));
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 5, "everybody takes part unless told otherwise");
    for figures in results {
        let [received, forwarded] =
            ["received", "forwarded"].map(|what| figures[what]["median"].as_f64().unwrap());
        assert!(forwarded > 0.5 * received, "{figures}");
    }
}

/// About a thousand a second.
fn send_datagrams(over: &AtomicBool) {
    let here = Interface::lookup("gen0").unwrap();
    let _sink = Sink::open(&here, DEVICE.parse().unwrap(), 5).unwrap(); // makes a veth take what XDP sends
    let socket = UdpSocket::bind("198.18.255.1:0").unwrap();
    while !over.load(Ordering::Relaxed) {
        socket.send_to(&[0; 18], "198.18.0.1:80").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_signal_ends_it_and_the_interface_is_given_back() {
    let cable = cable();
    let (home, before) = (tempfile::tempdir().unwrap(), cable.state());
    for (dut, trace) in [("xdp", "\"id\""), ("nft", "directrix_bench")] {
        let words = format!("--duts {dut} --pairs 1 --seconds 60");
        let mut command = cable.device.command(&Cable::line(STATION, &words, &home.path().join(dut)));
        let mut bench = Process(command.stdout(Stdio::null()).spawn().unwrap());
        wait_until("the DUT is there", Duration::from_secs(30), || cable.state().contains(trace));
        let forwarding = cable.device.run("cat /proc/sys/net/ipv4/conf/dut0/forwarding");
        assert_eq!(forwarding.trim(), "0", "no frame goes elsewhere meanwhile");
        interrupt(bench.0.id());
        let ended = bench.0.wait().unwrap();
        assert_eq!(ended.code(), Some(130), "{dut}");
        assert_eq!(cable.state(), before, "{dut}");
    }
}

fn interrupt(pid: u32) {
    assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn where_nobody_sends_nothing_is_measured() {
    let cable = cable();
    let (home, before) = (tempfile::tempdir().unwrap(), cable.state());
    let ended = cable.bench("--duts l2fwd,nft --pairs 1 --seconds 0.1", &home.path().join("out"));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let expected =
        "directrix lab: no traffic: too few frames have arrived at dut0 within 20 s; start a generator";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(cable.state(), before);
}

#[test]
fn interfaces_that_cannot_be_spared_or_compared_are_refused() {
    let cable = cable();
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let refused = |expected: &str| {
        let ended = cable.bench("--quick", &out);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.starts_with(expected), "{said}");
        assert!(!out.exists(), "nothing is made before the interface is looked at");
    };
    cable.device.run(&format!("ip link set dut0 address {STATION}"));
    refused("directrix lab: 02:00:5e:00:00:00 is dut0 itself; name the station behind it");
    cable.device.run("ip address add 192.0.2.1/24 dev dut0 && ip route add default via 192.0.2.2");
    refused("directrix lab: dut0 carries this machine's default route");
    cable.device.run("ip link del dut0");
    refused("directrix lab: looking up interface dut0: there is no interface of that name here");
    let (other, device) = (&cable.outside, &cable.device);
    veth((other, "gen1"), (device, "dut0"), 2);
    refused("directrix lab: dut0 has 2 receive queues, and DUTs are compared on one: ethtool -L dut0");
}
