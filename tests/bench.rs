//! The testbed of the throughput bench: generator, DUTs, sink, and complete removal. Needs root.

mod support;

use directrix::bench_wire::generator::Generator;
use directrix::bench_wire::testbed::{TestbedOptions, VethTestbed};
use directrix::bench_wire::trial::{Dut, Offered, Testbed, Traffic, TrafficKind};
use directrix::io::Interface;
use directrix::lab::Interrupt;
use directrix::wire::MacAddr;
use etherparse::{SlicedPacket, TransportSlice};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::netns::Netns;
use support::wire::Wire;

const FLOWS: u32 = 2000;
const SERVERS: u16 = 7;
const DIRECTORS: [Dut; 2] = [Dut::Xdp, Dut::Packet];
/// DUTs without connections: l2fwd, and forwarders in the kernel.
const OTHERS: [Dut; 3] = [Dut::L2fwd, Dut::Hairpin, Dut::Nft];
/// Rate without loss for every DUT, also on a busy machine, in frames per second.
const EASY: u64 = 5000;

/// Serializes the tests: each bench uses two cores.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn traffic(kind: TrafficKind) -> Traffic {
    Traffic { flows: FLOWS, servers: SERVERS, frame_len: 60, kind }
}

fn options() -> TestbedOptions {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("dxb{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    TestbedOptions::new(name, env!("CARGO_BIN_EXE_directrix"), Interrupt::never()).unwrap()
}

/// Offers [`EASY`] for a second, and expects no loss. Returns the frames of each real server.
///
/// A shared machine may preempt the DUT for longer than its queue lasts, so a trial with a loss is repeated
/// up to twice.
fn delivers(veth: &mut VethTestbed, dut: Dut) -> Vec<u64> {
    for _ in 0..2 {
        if let Ok(by_server) = try_deliver(veth, dut) {
            return by_server;
        }
    }
    try_deliver(veth, dut).unwrap_or_else(|losses| panic!("{dut:?} loses three times: {losses}"))
}

/// Runs one trial; losses are the error.
fn try_deliver(veth: &mut VethTestbed, dut: Dut) -> Result<Vec<u64>, String> {
    let before = veth.arrivals(dut).unwrap();
    let outcome = veth.trial(dut, Offered::PerSecond(EASY), Duration::from_secs(1)).unwrap();
    assert_eq!(outcome.sent, EASY, "{dut:?}");
    assert!(outcome.elapsed > Duration::from_millis(990), "spread over the trial");
    assert!(outcome.cores.len() >= 2 && outcome.cores.iter().all(|busy| (0.0..=1.0).contains(busy)));
    let arrived = veth.arrivals(dut).unwrap().since(&before);
    assert_eq!((arrived.delivered, arrived.astray), (outcome.delivered, 0), "{dut:?}");
    if outcome.delivered < EASY || !outcome.losses.is_empty() {
        return Err(format!("{} of {EASY}, {:?}", outcome.delivered, outcome.losses));
    }
    assert!(outcome.latency.len() > EASY / 2, "{dut:?}: {} stamps", outcome.latency.len());
    assert!(outcome.latency.min() > 0);
    Ok(arrived.by_server)
}

fn leaves_nothing(name: &str) {
    let left = std::fs::read_dir("/run/netns").unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    assert_eq!(left.count(), 0, "namespaces");
    assert!(!Path::new("/run/directrix-lab").join(name).exists());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let ours =
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(name));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0], "processes");
}

#[test]
fn directors_spread_connections_and_deliver_every_frame() {
    let _alone = alone();
    let options = options();
    let name = options.name.clone();
    let mut veth = VethTestbed::up(options, &DIRECTORS, traffic(TrafficKind::Established)).unwrap();
    for dut in DIRECTORS {
        veth.prime(dut).unwrap(); // fails unless it opens a connection for each flow
    }
    // Each has kept its connections while it was stopped.
    for dut in DIRECTORS {
        let by_server = delivers(&mut veth, dut);
        assert!(by_server.iter().all(|frames| *frames > 0), "{dut:?}: {by_server:?}");
    }
    drop(veth);
    leaves_nothing(&name);
}

#[test]
fn l2fwd_and_kernel_duts_deliver_every_frame() {
    let _alone = alone();
    let options = options();
    let name = options.name.clone();
    let traffic = Traffic { frame_len: 1514, ..traffic(TrafficKind::Established) };
    let mut veth = VethTestbed::up(options, &OTHERS, traffic).unwrap();
    for dut in OTHERS {
        veth.prime(dut).unwrap();
        let by_server = delivers(&mut veth, dut);
        let served = by_server.iter().filter(|frames| **frames > 0).count();
        let expected = if dut == Dut::L2fwd { 1 } else { SERVERS.into() };
        assert_eq!(served, expected, "{dut:?}: {by_server:?}");
    }
    drop(veth);
    leaves_nothing(&name);
}

#[test]
fn new_clients_open_connections() {
    let _alone = alone();
    for kind in [TrafficKind::Flood, TrafficKind::Mixed] {
        let mut veth = VethTestbed::up(options(), &[Dut::Xdp], traffic(kind)).unwrap();
        veth.prime(Dut::Xdp).unwrap();
        delivers(&mut veth, Dut::Xdp);
    }
}

#[test]
fn every_loss_in_overload_has_a_cause() {
    let _alone = alone();
    let mut veth = VethTestbed::up(options(), &[Dut::Xdp], traffic(TrafficKind::Established)).unwrap();
    veth.prime(Dut::Xdp).unwrap();
    let outcome = veth.trial(Dut::Xdp, Offered::Full, Duration::from_millis(500)).unwrap();
    assert!(outcome.sent > 0 && outcome.delivered > 0);
    let lost: u64 = outcome.losses.values().sum();
    assert_eq!(outcome.sent - outcome.delivered, lost, "{:?}", outcome.losses);
    assert_eq!(outcome.losses.get("elsewhere"), None, "{:?}", outcome.losses);
}

#[test]
fn an_ack_without_a_syn_opens_no_connection() {
    let _alone = alone();
    let mut veth = VethTestbed::up(options(), &[Dut::Xdp], traffic(TrafficKind::Established)).unwrap();
    let outcome = veth.trial(Dut::Xdp, Offered::PerSecond(EASY), Duration::from_millis(500)).unwrap();
    assert_eq!(outcome.delivered, 0);
    assert_eq!(outcome.losses.get("no_connection"), Some(&outcome.sent), "{:?}", outcome.losses);
}

#[test]
fn a_bench_that_cannot_start_leaves_nothing() {
    let _alone = alone();
    let options = TestbedOptions { exe: "/bin/false".into(), ..options() };
    let name = options.name.clone();
    let refused = VethTestbed::up(options, &[Dut::Hairpin, Dut::L2fwd], traffic(TrafficKind::Flood));
    let error = refused.err().expect("no forwarder was started").to_string();
    assert!(error.contains("l2fwd did not become ready"), "{error}");
    leaves_nothing(&name);
}

#[test]
fn a_name_in_use_is_refused() {
    let _alone = alone();
    let options = options();
    let name = options.name.clone();
    let mut veth =
        VethTestbed::up(options.clone(), &[Dut::Hairpin], traffic(TrafficKind::Established)).unwrap();
    let refused = VethTestbed::up(options, &[Dut::Nft], traffic(TrafficKind::Established));
    assert!(refused.err().expect("the name is taken").to_string().contains(&name));
    delivers(&mut veth, Dut::Hairpin);
    let absent = veth.trial(Dut::Nft, Offered::Full, Duration::from_millis(1));
    assert!(absent.unwrap_err().to_string().contains("not brought up"));
}

/// A client, and true if its frame is a SYN.
type Received = (([u8; 4], u16), bool);

/// Checks all headers and checksums of a frame.
fn read(frame: &[u8], len: usize) -> Received {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let ethernet = packet.link.as_ref().unwrap().to_header().unwrap().ethernet2().unwrap();
    assert_eq!((ethernet.source, ethernet.destination), ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 5]));
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4: {frame:02x?}") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!((header.destination, header.options.len()), ([198, 18, 0, 1], 0));
    assert_eq!(usize::from(header.total_len), if len == 60 { 40 } else { len - 14 });
    assert_eq!(header.source[0], 10);
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("no TCP: {frame:02x?}") };
    let sum = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
    assert_eq!(tcp.checksum(), sum, "{frame:02x?}");
    assert_eq!((tcp.destination_port(), tcp.header_slice().len()), (80, 20));
    assert_ne!(tcp.syn(), tcp.ack());
    ((header.source, tcp.source_port()), tcp.syn())
}

/// Sends frames of `traffic` by `send`, and reads them at the other end of a veth pair.
fn sends(traffic: Traffic, send: impl FnOnce(&mut Generator) + Send) -> Vec<Received> {
    let (near, far) = (Netns::new("g"), Netns::new("f"));
    near.run(&format!(
        "ip link add gen0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:05 netns {}",
        far.name()
    ));
    // With GRO a veth receives XDP frames without a program of its own.
    for (end, name) in [(&near, "gen0"), (&far, "eth0")] {
        end.run(&format!("ip link set {name} up && ethtool -K {name} gro on"));
    }
    let wire = far.enter(|| Wire::new(Interface::lookup("eth0").unwrap().index));
    near.enter(|| {
        let service = "198.18.0.1:80".parse().unwrap();
        let interface = Interface::lookup("gen0").unwrap();
        let mut generator =
            Generator::open(&interface, MacAddr([2, 0, 0, 0, 0, 5]), service, traffic).unwrap();
        send(&mut generator);
    });
    let frames = std::iter::from_fn(|| wire.receive(Duration::from_millis(300)));
    let ours = frames.filter(|frame| frame[12..14] == [8, 0] && frame[23] == 6);
    ours.map(|frame| read(&frame, traffic.frame_len.into())).collect()
}

fn runs(kind: TrafficKind, frame_len: u16) -> Vec<Received> {
    sends(Traffic { frame_len, ..traffic(kind) }, |generator| {
        let time = Duration::from_millis(200);
        let sent = generator.run(Offered::PerSecond(2000), time, &Interrupt::never()).unwrap();
        assert_eq!(sent.frames, 400);
    })
}

#[test]
fn frames_of_every_kind_have_valid_checksums() {
    let _alone = alone();
    for (kind, frame_len) in [
        (TrafficKind::Established, 60),
        (TrafficKind::Flood, 64),
        (TrafficKind::Mixed, 301),
        (TrafficKind::Established, 1514),
    ] {
        let received = runs(kind, frame_len);
        assert_eq!(received.len(), 400, "{kind:?} {frame_len}");
        let opening: Vec<_> = received.iter().filter(|(_, syn)| *syn).map(|(client, _)| client).collect();
        let new_clients: HashSet<_> = opening.iter().collect();
        assert_eq!(new_clients.len(), opening.len(), "a new client came twice");
        assert!(opening.iter().all(|(_, port)| *port >= 32_768));
        match kind {
            TrafficKind::Established => assert_eq!(opening.len(), 0),
            TrafficKind::Flood => assert_eq!(opening.len(), 400),
            TrafficKind::Mixed => assert!((100..300).contains(&opening.len()), "{}", opening.len()),
        }
    }
}

#[test]
fn each_connection_is_opened_once_by_a_syn_and_an_ack() {
    let _alone = alone();
    let small = Traffic { flows: 150, ..traffic(TrafficKind::Established) };
    let received = sends(small, |generator| {
        assert_eq!(generator.prime(2000, &Interrupt::never()).unwrap().frames, 300);
    });
    assert_eq!(received.len(), 300);
    let mut clients = HashSet::new();
    for pair in received.chunks(2) {
        assert_eq!((pair[0].1, pair[1].1), (true, false));
        assert_eq!(pair[0].0, pair[1].0);
        assert!(pair[0].0.1 < 32_768, "the higher ports are for new clients");
        assert!(clients.insert(pair[0].0));
    }
    assert_eq!(clients.len(), 150);
}
