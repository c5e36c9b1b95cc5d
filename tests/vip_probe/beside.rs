//! The pair beside a running director, on the same interface.

use crate::harness::{FAMILIES, Net, PATIENCE, RIP, VIP, join};
use crate::support::netns::{Netns, Process, wait_until};
use crate::support::site::{EXE, SOON};
use directrix::io::probe::{ProbeProtocol, ProbeVerdict};
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const CLIENTS: usize = 20;
const PROBES: usize = 20;

#[test]
fn a_director_with_xdp_counts_no_probe() {
    counts_no_probe("xdp");
}

#[test]
fn a_director_with_packet_counts_no_probe() {
    counts_no_probe("packet");
}

fn counts_no_probe(backend: &str) {
    let net = Net::new();
    let client = Netns::new("c");
    join(&client, "eth0", (&net.switch, "client"));
    client.run("ip address add 10.9.0.3/24 dev eth0");
    net.switch.run("ethtool -K client tx off >/dev/null; ethtool -K director tx off >/dev/null; true");
    client.run("ethtool -K eth0 tx off >/dev/null");
    let (_services, place) = (net.serve(), tempfile::tempdir().unwrap());
    // The pair is attached before the director's programs, and again after them.
    for attached_before in [true, false] {
        let early = attached_before.then(|| net.open());
        let _director = start(&net.director, backend, place.path());
        let probes = early.unwrap_or_else(|| net.open());
        for _ in 0..PROBES {
            for family in FAMILIES {
                for protocol in [ProbeProtocol::Tcp, ProbeProtocol::Udp, ProbeProtocol::Ping] {
                    let target = net.target(protocol, family);
                    let probed = net.probe(&probes, &target, PATIENCE);
                    assert_eq!(probed.verdict, ProbeVerdict::Answered, "{target:?} {probed:?}");
                }
            }
        }
        assert_eq!(packets(place.path()), 0, "no probe is a packet of a service");
        let url = format!("http://{}/[1-{CLIENTS}]", VIP[0]);
        let text = client.run(&format!("curl -sS --fail --max-time 20 --http1.0 '{url}'"));
        assert_eq!(text.lines().filter(|line| line.trim() == VIP[0]).count(), CLIENTS, "{text}");
        assert!(packets(place.path()) >= CLIENTS as u64 * 3);
        assert_eq!(connections(place.path()), CLIENTS as u64, "clients alone");
        let drops = cli(place.path(), "drops --json");
        let drops: serde_json::Value = serde_json::from_str(&drops).unwrap();
        let of_vip = |row: &&serde_json::Value| row["frames"].as_u64() != Some(0);
        let dropped: Vec<_> = drops.as_array().unwrap().iter().filter(of_vip).collect();
        assert!(dropped.is_empty(), "{dropped:?}");
    }
}

/// Starts a director that has both VIPs as services.
fn start(host: &Netns, backend: &str, place: &Path) -> Process {
    let mut config = format!("[director]\ninterface = \"eth0\"\nbackend = \"{backend}\"\n");
    for family in FAMILIES {
        let (vip, rip) = (VIP[family], RIP[family]);
        let address = if family == 0 { format!("{vip}:80") } else { format!("[{vip}]:80") };
        for protocol in ["tcp", "udp"] {
            write!(
                config,
                "[[service]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n\
                 [[service.server]]\naddress = \"{rip}\"\n"
            )
            .unwrap();
        }
    }
    std::fs::write(place.join("director.toml"), config).unwrap();
    let log = std::fs::File::create(place.join("log")).unwrap();
    let place_text = place.display();
    let run = format!("exec {EXE} --socket {place_text}/control run --config {place_text}/director.toml");
    let mut command = host.command(&run);
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut process = Process(command.spawn().unwrap());
    let log = || std::fs::read_to_string(place.join("log")).unwrap();
    wait_until("the director is ready", SOON, || {
        assert!(process.0.try_wait().unwrap().is_none(), "{}", log());
        log().contains("ready services=")
    });
    process
}

fn cli(place: &Path, words: &str) -> String {
    let mut command = Command::new(EXE);
    command.arg("--socket").arg(place.join("control")).args(words.split_whitespace());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A column of the services' statistics, over all of them.
fn column(place: &Path, index: usize) -> u64 {
    let text = cli(place, "ipvsadm -Ln --stats --exact");
    let services = text.lines().filter(|line| line.starts_with("TCP ") || line.starts_with("UDP "));
    services.map(|line| line.split_whitespace().nth(2 + index).unwrap().parse::<u64>().unwrap()).sum()
}

fn connections(place: &Path) -> u64 {
    column(place, 0)
}

fn packets(place: &Path) -> u64 {
    column(place, 1)
}
