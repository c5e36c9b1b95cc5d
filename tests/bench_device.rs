//! The bench with an external generator: DUTs on an interface of this machine, the generator at the other
//! end of its cable. Needs root.
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
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::netns::{Netns, Process, veth, wait_until};

const DEVICE: &str = "02:00:00:00:00:09";
/// The first real server of the generator's sink.
const STATION: &str = "02:00:5e:00:00:00";
/// Rate that every DUT forwards, also on a busy machine and in a debug build, in frames per second.
const EASY: u64 = 3000;

/// Held by the tests that forward for long: the programs that forward poll without a pause, and two at a time would leave the
/// control threads of both too little of two cores.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Cable {
    outside: Netns,
    device: Netns,
}

/// A veth pair: `gen0` of the generator, and `dut0` of the device, which routes and has no address there.
fn cable() -> Cable {
    let (outside, device) = (Netns::new("gen"), Netns::new("dev"));
    veth((&outside, "gen0"), (&device, "dut0"), 1);
    device.run(&format!("ip link set dut0 down && ip link set dut0 address {DEVICE} && ip link set dut0 up"));
    device.run("ethtool -K dut0 gro on"); // so that it receives XDP frames
    device.run("sysctl -qw net.ipv4.ip_forward=1");
    Cable { outside, device }
}

impl Cable {
    fn line(station: &str, words: &str, out: &Path) -> String {
        let exe = env!("CARGO_BIN_EXE_directrix");
        let options = format!("--interface dut0 --peer-mac {station} --external-generator");
        format!("exec {exe} lab bench {options} {words} --out {}", out.display())
    }

    fn bench(&self, words: &str, out: &Path) -> Output {
        self.device.command(&Self::line(STATION, words, out)).output().unwrap()
    }

    /// Calls `f` while the generator sends; returns its result, and the frames that have come back.
    fn while_sending<T: Send>(&self, f: impl FnOnce() -> T + Send) -> (T, Arrivals) {
        let stop = AtomicBool::new(false);
        let send = || self.outside.enter(|| generate(&stop));
        std::thread::scope(|scope| {
            let generator = scope.spawn(send);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            stop.store(true, Ordering::Relaxed);
            let arrivals = generator.join().unwrap();
            (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), arrivals)
        })
    }

    /// State of the interface that the bench changes.
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

/// Sends SYNs of new clients, as each director starts without connections.
fn generate(stop: &AtomicBool) -> Arrivals {
    let traffic = Traffic { flows: 1000, servers: 5, frame_len: 60, kind: TrafficKind::Flood };
    let here = Interface::lookup("gen0").unwrap();
    let [device, service]: [&str; 2] = [DEVICE, "198.18.0.1:80"];
    let (device, service): (MacAddr, SocketAddrV4) = (device.parse().unwrap(), service.parse().unwrap());
    let sink = Sink::open(&here, device, 5).unwrap();
    let mut generator = Generator::open(&here, device, service, traffic).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let slice = Duration::from_millis(200);
        generator.run(Offered::PerSecond(EASY), slice, &Interrupt::never()).unwrap();
    }
    sink.arrivals().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn duts_forward_frames_of_an_external_generator_in_turn() {
    let _alone = alone();
    let cable = cable();
    let (home, before) = (tempfile::tempdir().unwrap(), cable.state());
    let out = home.path().join("out");
    let words = "--duts xdp,packet,l2fwd,hairpin,nft --pairs 2 --seconds 0.5 --flows 5000 --servers 5";
    let (ended, arrivals) = cable.while_sending(|| cable.bench(words, &out));
    let output = text(&ended);
    assert!(ended.status.success(), "{output}");
    assert_eq!(cable.state(), before, "the interface is restored");
    assert_eq!((arrivals.astray, arrivals.by_server[0]), (0, arrivals.delivered), "all frames to the peer");
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let results = report["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|figures| figures["dut"].as_str().unwrap()).collect();
    assert_eq!(names, ["xdp", "packet", "l2fwd", "hairpin", "nft"]);
    for figures in results {
        let median = |what: &str| figures[what]["median"].as_f64().unwrap();
        // Frames in flight at the start and the end of a trial may be counted on one side only.
        let (received, forwarded) = (median("received"), median("forwarded"));
        assert!((0.2..1.2).contains(&(received / EASY as f64)), "{figures}");
        assert!(forwarded > 0.5 * received && forwarded < 1.1 * received, "{figures}");
        assert!(figures["to_l2fwd"]["median"].as_f64().unwrap() > 0.0, "{figures}");
        assert!(figures["cores"].as_array().unwrap().len() > 1, "{figures}");
    }
    assert!(report["conditions"]["setting"].as_str().unwrap().starts_with("dut0 (driver veth)"), "{text}");
    assert_eq!(report["not_measured"], serde_json::json!(["ndr", "latency"]));
    let table = std::fs::read_to_string(out.join("report.txt")).unwrap();
    assert!(
        output.contains(&table) && table.contains("Neither rate without loss (NDR) nor latency"),
        "{output}"
    );
}

#[test]
fn another_bench_can_be_the_generator() {
    let _alone = alone();
    let cable = cable();
    let home = tempfile::tempdir().unwrap();
    let words = "--duts xdp,hairpin --pairs 1 --seconds 0.3 --servers 5";
    let own = cable.outside.run("cat /sys/class/net/gen0/address");
    let line = Cable::line(own.trim(), words, &home.path().join("out"));
    let mut bench = Process(cable.device.command(&line).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(bench.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "waiting for frames at dut0: start the generator"));
    let exe = env!("CARGO_BIN_EXE_directrix");
    let out = home.path().join("generator").display().to_string();
    let options = format!("--interface gen0 --peer-mac {DEVICE} --out {out}");
    let line = format!("exec {exe} lab bench {options} --kind flood --flows 1 --pairs 1 --seconds 3600");
    let _generator = Process(cable.outside.command(&line).stdout(Stdio::null()).spawn().unwrap());
    let output: Vec<_> = lines.collect();
    assert!(bench.0.wait().unwrap().success(), "{output:#?}");
    let text = std::fs::read_to_string(home.path().join("out/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    for figures in report["results"].as_array().unwrap() {
        assert!(figures["forwarded"]["median"].as_f64().unwrap() > 0.0, "{figures}");
    }
}

/// Some generators, as pktgen, send UDP only.
#[test]
fn udp_of_an_external_generator_is_forwarded() {
    let _alone = alone();
    let cable = cable();
    cable.outside.run("ip address add 198.18.255.1/15 dev gen0");
    cable.outside.run(&format!("ip neighbour add 198.18.0.1 lladdr {DEVICE} dev gen0"));
    let (home, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let out = home.path().join("out");
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| cable.outside.enter(|| send_datagrams(&stop)));
        let ended = cable.bench("--pairs 1 --seconds 0.3 --servers 5", &out);
        stop.store(true, Ordering::Relaxed);
        ended
    });
    assert!(ended.status.success(), "{}", text(&ended));
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 5, "all DUTs by default");
    for figures in results {
        let [received, forwarded] =
            ["received", "forwarded"].map(|what| figures[what]["median"].as_f64().unwrap());
        assert!(forwarded > 0.5 * received, "{figures}");
    }
}

/// Sends about a thousand datagrams per second.
fn send_datagrams(stop: &AtomicBool) {
    let here = Interface::lookup("gen0").unwrap();
    let _sink = Sink::open(&here, DEVICE.parse().unwrap(), 5).unwrap(); // its XDP program lets the veth receive XDP frames
    let socket = UdpSocket::bind("198.18.255.1:0").unwrap();
    while !stop.load(Ordering::Relaxed) {
        socket.send_to(&[0; 18], "198.18.0.1:80").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_interrupt_restores_the_interface() {
    let cable = cable();
    let (home, before) = (tempfile::tempdir().unwrap(), cable.state());
    for (dut, trace) in [("xdp", "\"id\""), ("nft", "directrix_bench")] {
        let words = format!("--duts {dut} --pairs 1 --seconds 60");
        let mut command = cable.device.command(&Cable::line(STATION, &words, &home.path().join(dut)));
        let mut bench = Process(command.stdout(Stdio::null()).spawn().unwrap());
        wait_until("the DUT", Duration::from_secs(30), || cable.state().contains(trace));
        let forwarding = cable.device.run("cat /proc/sys/net/ipv4/conf/dut0/forwarding");
        assert_eq!(forwarding.trim(), "0", "the kernel routes nothing meanwhile");
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
fn a_bench_without_traffic_fails() {
    let cable = cable();
    let (home, before) = (tempfile::tempdir().unwrap(), cable.state());
    let ended = cable.bench("--duts l2fwd,nft --pairs 1 --seconds 0.1", &home.path().join("out"));
    let output = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{output}");
    let expected =
        "directrix lab: no traffic: too few frames have arrived at dut0 within 20 s; start a generator";
    assert!(output.starts_with(expected), "{output}");
    assert_eq!(cable.state(), before);
}

#[test]
fn unsuitable_interfaces_are_refused() {
    let cable = cable();
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let refused = |expected: &str| {
        let ended = cable.bench("--quick", &out);
        let output = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{output}");
        assert!(output.starts_with(expected), "{output}");
        assert!(!out.exists(), "the interface is checked first");
    };
    cable.device.run(&format!("ip link set dut0 address {STATION}"));
    refused("directrix lab: 02:00:5e:00:00:00 is dut0 itself; name the station behind it");
    cable.device.run("ip address add 192.0.2.1/24 dev dut0 && ip route add default via 192.0.2.2");
    refused("directrix lab: dut0 carries this machine's default route");
    cable.device.run("ip link del dut0");
    refused("directrix lab: looking up interface dut0: there is no interface of that name here");
    let (other, device) = (&cable.outside, &cable.device);
    veth((other, "gen1"), (device, "dut0"), 2);
    refused(
        "directrix lab: dut0 has 2 receive queues, and DUTs are compared on one; set one: ethtool -L dut0",
    );
}
