//! The programs, run by the kernel over frames (BPF_PROG_TEST_RUN), against frames built for the other address.

use super::maps::ProbeEntries;
use super::table::ProbeTable;
use super::{LATE_REPLIES, ProbeEnd, ProbeEvidence, ProbeIcmp, ProbeProtocol, ProbeTarget};
use crate::io::Interface;
use crate::io::bpf::ProbePrograms;
use crate::wire::MacAddr;
use aya::programs::{TestRun, TestRunOptions};
use etherparse::{Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// linux/pkt_cls.h.
const TC_ACT_SHOT: u32 = 2;
/// TC_ACT_UNSPEC of linux/pkt_cls.h, as an unsigned number.
const NEXT: u32 = u32::MAX;
/// Most instructions of a program that the verifier may process, over all its paths: five times what Linux 6.18 needs with
/// clang 14 (360 and 1017). The kernel refuses a program beyond 1,000,000.
const VERIFIED_MAX: u32 = 5_000;

const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const REPLY: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x12]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);
const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// The MAC address that the kernel has for the RIP, before translation.
const ARP: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x13]);

struct Loaded {
    programs: ProbePrograms,
    table: ProbeTable,
}

impl Loaded {
    fn new(entries: u32) -> Self {
        let lo = Interface {
            name: "lo".into(),
            index: 1,
            mac: DIRECTOR,
            mtu: 65536,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        };
        let mut programs = ProbePrograms::load(&lo, entries).unwrap();
        let table = ProbeTable::new(programs.take_map("probe_fwd"), programs.take_map("probe_back"));
        Self { programs, table }
    }

    /// The action and the frame after the program.
    fn run(&mut self, name: &str, frame: &[u8]) -> (u32, Vec<u8>) {
        let mut after = vec![0; frame.len()];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut after), ..TestRunOptions::default() };
        let result = self.programs.program(name).test_run(options).unwrap();
        (result.return_value, after)
    }

    fn out(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.run("probe_to_vip", frame)
    }

    fn back(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.run("probe_from_vip", frame)
    }
}

/// A probe's packets.
#[derive(Clone, Debug)]
struct Case {
    target: ProbeTarget,
    own_port: u16,
    payload: Vec<u8>,
}

impl Case {
    /// The frame between these MAC and IP addresses; towards the director if `is_reply`.
    fn frame(&self, from: (MacAddr, IpAddr), to: (MacAddr, IpAddr), is_reply: bool) -> Vec<u8> {
        let (mut frame, ethernet) = (Vec::new(), PacketBuilder::ethernet2(from.0.0, to.0.0));
        let ip = match (from.1, to.1) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 1),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 1),
            _ => unreachable!("one family"),
        };
        let (mut source, mut destination) = (self.own_port, self.target.port);
        if is_reply {
            std::mem::swap(&mut source, &mut destination);
        }
        let (id, payload) = (self.own_port, &self.payload[..]);
        match (self.target.protocol, to.1.is_ipv4(), is_reply) {
            (ProbeProtocol::Tcp, ..) => ip.tcp(source, destination, 7, 64).write(&mut frame, payload),
            (ProbeProtocol::Udp, ..) => ip.udp(source, destination).write(&mut frame, payload),
            (ProbeProtocol::Ping, true, false) => ip.icmpv4_echo_request(id, 1).write(&mut frame, payload),
            (ProbeProtocol::Ping, true, true) => ip.icmpv4_echo_reply(id, 1).write(&mut frame, payload),
            (ProbeProtocol::Ping, false, false) => ip.icmpv6_echo_request(id, 1).write(&mut frame, payload),
            (ProbeProtocol::Ping, false, true) => ip.icmpv6_echo_reply(id, 1).write(&mut frame, payload),
        }
        .unwrap();
        frame
    }

    /// The probe's packet to RIP or VIP.
    fn request(&self, to: (MacAddr, IpAddr)) -> Vec<u8> {
        self.frame((DIRECTOR, self.target.own), to, false)
    }

    fn reply(&self, from: (MacAddr, IpAddr)) -> Vec<u8> {
        self.frame(from, (DIRECTOR, self.target.own), true)
    }

    /// An ICMP error that quotes the IP packet of a frame to `quoted`, whose transport checksum is that of a packet to the VIP.
    fn error(&self, from: (MacAddr, IpAddr), quoted: IpAddr, (kind, code): (u8, u8)) -> Vec<u8> {
        let mut packet = self.request((SERVER, quoted)).split_off(14);
        let to_vip = self.request((SERVER, self.target.vip)).split_off(14);
        let header = if quoted.is_ipv4() { 20 } else { 40 };
        packet[header..].copy_from_slice(&to_vip[header..]);
        let message = [&[0; 4][..], &packet].concat();
        let mut frame = [&DIRECTOR.0[..], &from.0.0].concat();
        match (from.1, self.target.own) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([8, 0]);
                let length = 4 + message.len() as u16;
                Ipv4Header::new(length, 64, IpNumber::ICMP, from.octets(), to.octets())
                    .unwrap()
                    .write(&mut frame)
                    .unwrap();
                let kind = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: [0; 4] };
                Icmpv4Header::with_checksum(kind, &packet).write(&mut frame).unwrap();
                frame.extend(packet);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([0x86, 0xdd]);
                let ip = Ipv6Header {
                    payload_length: 4 + message.len() as u16,
                    next_header: IpNumber::IPV6_ICMP,
                    hop_limit: 64,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                ip.write(&mut frame).unwrap();
                let kind =
                    etherparse::Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: [0; 4] };
                let header =
                    etherparse::Icmpv6Header::with_checksum(kind, ip.source, ip.destination, &packet)
                        .unwrap();
                header.write(&mut frame).unwrap();
                frame.extend(packet);
            }
            _ => unreachable!("one family"),
        }
        frame
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let protocol = prop_oneof![Just(ProbeProtocol::Tcp), Just(ProbeProtocol::Udp), Just(ProbeProtocol::Ping)];
    let addresses = prop_oneof![
        any::<[[u8; 4]; 3]>().prop_map(|all| all.map(IpAddr::from)),
        any::<[[u8; 16]; 3]>().prop_map(|all| all.map(IpAddr::from)),
    ];
    let ports = any::<(u16, u16)>();
    let payload = prop::collection::vec(any::<u8>(), 0..64);
    (protocol, addresses, ports, payload).prop_map(
        |(protocol, [vip, rip, own], (port, own_port), payload)| {
            let target = ProbeTarget { protocol, vip, rip, port, own, mac: SERVER, reply_mac: REPLY };
            Case { target, own_port, payload }
        },
    )
}

/// One probe of each protocol and family.
fn cases() -> Vec<Case> {
    let v4 = [[192, 0, 2, 80], [10, 9, 0, 11], [10, 9, 0, 2]].map(IpAddr::from);
    let v6 = ["2001:db8::80", "fd09::11", "fd09::2"].map(|text| text.parse::<IpAddr>().unwrap());
    let protocols = [ProbeProtocol::Tcp, ProbeProtocol::Udp, ProbeProtocol::Ping];
    let of = |[vip, rip, own]: [IpAddr; 3]| {
        protocols.map(|protocol| Case {
            target: ProbeTarget { protocol, vip, rip, port: 80, own, mac: SERVER, reply_mac: REPLY },
            own_port: 40_000,
            payload: b"health".to_vec(),
        })
    };
    of(v4).into_iter().chain(of(v6)).collect()
}

/// Runs `check` over random probes, each armed while it runs. The same ones each time: a checksum that an update leaves at 0,
/// and that a new sum has at 0xffff, is right as well, but not equal.
fn over_random_probes(check: impl Fn(&mut Loaded, &Case, &dyn Fn(&Loaded) -> ProbeEvidence)) {
    let loaded = std::cell::RefCell::new(Loaded::new(16));
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
        .run(&any_case(), |case| {
            let loaded = &mut *loaded.borrow_mut();
            let entries = ProbeEntries::of(&case.target, case.own_port).unwrap();
            let serial = loaded.table.arm(&entries).unwrap();
            check(loaded, &case, &|loaded| loaded.table.evidence(&entries, serial).unwrap());
            loaded.table.end(&entries, serial, ProbeEnd::Complete);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_verifier_processes_few_instructions() {
    let mut loaded = Loaded::new(16);
    for name in ["probe_to_vip", "probe_from_vip"] {
        let info = loaded.programs.program(name).info().unwrap();
        let verified = info.verified_instruction_count().expect("Linux 5.16 counts them");
        assert!(verified < VERIFIED_MAX, "{name}: the verifier processed {verified} instructions");
    }
}

#[test]
fn packets_to_the_rip_become_packets_to_the_vip() {
    over_random_probes(|loaded, case, evidence| {
        let ProbeTarget { vip, rip, .. } = case.target;
        let after = loaded.out(&case.request((ARP, rip)));
        assert_eq!(after, (NEXT, case.request((SERVER, vip))));
        assert_eq!(evidence(loaded), ProbeEvidence { sent: 1, ..ProbeEvidence::default() });
    });
}

#[test]
fn replies_of_the_vip_become_replies_of_the_rip() {
    over_random_probes(|loaded, case, evidence| {
        let ProbeTarget { vip, rip, .. } = case.target;
        assert_eq!(loaded.back(&case.reply((REPLY, vip))), (NEXT, case.reply((REPLY, rip))));
        assert_eq!(evidence(loaded), ProbeEvidence { replies: 1, ..ProbeEvidence::default() });
        assert_eq!(loaded.back(&case.reply((OTHER, vip))).0, TC_ACT_SHOT);
        assert_eq!(loaded.back(&case.reply((REPLY, rip))).0, TC_ACT_SHOT);
        let (foreign_mac, replies) = (Some(OTHER), 1);
        let all = ProbeEvidence { replies, foreign: 1, foreign_mac, from_rip: 1, ..ProbeEvidence::default() };
        assert_eq!(evidence(loaded), all);
    });
}

#[test]
fn icmp_errors_about_the_vip_become_errors_about_the_rip() {
    over_random_probes(|loaded, case, evidence| {
        let ProbeTarget { vip, rip, own, .. } = case.target;
        let codes = if vip.is_ipv4() { [(11, 0), (3, 13), (12, 0)] } else { [(3, 0), (1, 4), (2, 0)] };
        // A router between has an address of its own.
        for ((kind, code), sender, then) in [(codes[0], rip, rip), (codes[1], vip, rip), (codes[2], own, own)]
        {
            let before = case.error((REPLY, sender), vip, (kind, code));
            assert_eq!(loaded.back(&before), (NEXT, case.error((REPLY, then), rip, (kind, code))));
            assert_eq!(evidence(loaded).icmp, Some(ProbeIcmp { kind, code, sender }));
        }
        assert_eq!(loaded.back(&case.error((OTHER, rip), vip, codes[0])).0, TC_ACT_SHOT);
        let counts = evidence(loaded);
        assert_eq!((counts.errors, counts.foreign, counts.replies), (3, 1, 0));
    });
}

#[test]
fn all_other_frames_pass_unchanged() {
    for case in cases() {
        let mut loaded = Loaded::new(16);
        let entries = ProbeEntries::of(&case.target, case.own_port).unwrap();
        let serial = loaded.table.arm(&entries).unwrap();
        let ProbeTarget { vip, rip, own, .. } = case.target;
        let (request, reply) = (case.request((ARP, rip)), case.reply((REPLY, vip)));
        let beside = Case { own_port: case.own_port + 1, ..case.clone() };
        let error = if vip.is_ipv4() { (11, 0) } else { (3, 0) };
        let of_beside = [
            beside.request((ARP, rip)),
            beside.reply((REPLY, vip)),
            beside.reply((REPLY, rip)),
            beside.error((REPLY, rip), vip, error),
            case.error((REPLY, rip), own, error),
        ];
        let broken = [&request, &reply].into_iter().flat_map(|frame| unusual(frame));
        for frame in broken.chain(of_beside) {
            assert_eq!(loaded.out(&frame), (NEXT, frame.clone()), "{:?} {frame:02x?}", case.target);
            assert_eq!(loaded.back(&frame), (NEXT, frame.clone()), "{:?} {frame:02x?}", case.target);
        }
        // The opposite direction of each.
        assert_eq!(loaded.out(&reply), (NEXT, reply.clone()));
        assert_eq!(loaded.back(&request), (NEXT, request.clone()));
        assert_eq!(loaded.table.evidence(&entries, serial).unwrap(), ProbeEvidence::default());
    }
}

/// The frame as a fragment, with options or an extension header, of another version, of a VLAN, and cut short.
fn unusual(frame: &[u8]) -> Vec<Vec<u8>> {
    let changed = |at: usize, byte: u8| {
        let mut changed = frame.to_vec();
        changed[at] = byte;
        changed
    };
    let mut tagged = frame.to_vec();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    let mut all = vec![tagged];
    if frame[12..14] == [8, 0] {
        let long = [frame, &[0; 40]].concat();
        let with_options = [&long[..14], &[0x4a], &long[15..]].concat();
        all.extend([
            changed(20, 0x20),
            changed(21, 1),
            changed(14, 0x65),
            with_options,
            frame[..41].to_vec(),
        ]);
    } else {
        all.extend([changed(20, 0), changed(20, 44), changed(14, 0x45), frame[..61].to_vec()]);
    }
    all
}

#[test]
fn udp_without_a_checksum_stays_so_in_ipv4() {
    let mut loaded = Loaded::new(16);
    let case = &cases()[1];
    loaded.table.arm(&ProbeEntries::of(&case.target, case.own_port).unwrap()).unwrap();
    let without = |mut frame: Vec<u8>| {
        frame[40..42].fill(0);
        frame
    };
    let ProbeTarget { vip, rip, .. } = case.target;
    let request = loaded.out(&without(case.request((ARP, rip))));
    assert_eq!(request, (NEXT, without(case.request((SERVER, vip)))));
    let reply = loaded.back(&without(case.reply((REPLY, vip))));
    assert_eq!(reply, (NEXT, without(case.reply((REPLY, rip)))));
}

#[test]
fn late_replies_to_an_abandoned_probe_are_dropped_for_a_time() {
    let start = Instant::now();
    for case in cases() {
        let mut loaded = Loaded::new(16);
        let ProbeTarget { vip, rip, .. } = case.target;
        let entries = ProbeEntries::of(&case.target, case.own_port).unwrap();
        let serial = loaded.table.arm(&entries).unwrap();
        loaded.table.end(&entries, serial, ProbeEnd::Abandoned);
        let (request, reply) = (case.request((ARP, rip)), case.reply((REPLY, vip)));
        for after in [Duration::ZERO, LATE_REPLIES - Duration::from_millis(1)] {
            loaded.table.sweep(start + after);
            assert_eq!(loaded.back(&reply).0, TC_ACT_SHOT);
            assert_eq!(loaded.out(&request), (NEXT, case.request((SERVER, vip))), "the last of its socket");
            assert_eq!((loaded.table.counts().armed, loaded.table.counts().late), (0, 1));
        }
        loaded.table.sweep(start + LATE_REPLIES);
        assert_eq!(loaded.table.counts().late, 0);
        assert_eq!(loaded.back(&reply), (NEXT, reply.clone()));
        assert_eq!(loaded.out(&request), (NEXT, request.clone()));
    }
}

#[test]
fn a_port_goes_to_the_next_probe_whole() {
    let (mut loaded, start) = (Loaded::new(16), Instant::now());
    let case = &cases()[0];
    let entries = ProbeEntries::of(&case.target, case.own_port).unwrap();
    // The next probe is of the same server, or of another one; then the RIP is another, too.
    let elsewhere = ProbeTarget { rip: [10, 9, 0, 12].into(), reply_mac: OTHER, ..case.target };
    for target in [case.target, elsewhere] {
        let next = ProbeEntries::of(&target, case.own_port).unwrap();
        for how in [ProbeEnd::Complete, ProbeEnd::Abandoned] {
            let first = loaded.table.arm(&entries).unwrap();
            loaded.table.sweep(start);
            let second = loaded.table.arm(&next).unwrap();
            loaded.table.end(&entries, first, how);
            assert!(loaded.table.evidence(&entries, first).is_err());
            loaded.table.sweep(start);
            loaded.table.sweep(start + LATE_REPLIES);
            let reply = case.reply((target.reply_mac, target.vip));
            assert_eq!(loaded.back(&reply).1, case.reply((target.reply_mac, target.rip)));
            assert_eq!(loaded.table.evidence(&next, second).unwrap().replies, 1);
            loaded.table.end(&next, second, ProbeEnd::Complete);
            assert_eq!((loaded.table.counts().armed, loaded.table.counts().late), (0, 0));
        }
    }
}

#[test]
fn a_full_map_refuses_a_probe_and_counts_it() {
    let mut loaded = Loaded::new(4);
    let case = &cases()[0];
    let entries = |port| ProbeEntries::of(&case.target, port).unwrap();
    let serials: Vec<_> = (0..4).map(|port| loaded.table.arm(&entries(port)).unwrap()).collect();
    let refusal = loaded.table.arm(&entries(4)).unwrap_err().to_string();
    assert!(refusal.contains("E2BIG") && refusal.contains("fewer probes in flight"), "{refusal}");
    let counts = loaded.table.counts();
    assert_eq!((counts.armed, counts.refused_full), (4, 1));
    loaded.table.end(&entries(0), serials[0], ProbeEnd::Complete);
    loaded.table.arm(&entries(4)).unwrap();
}

#[test]
fn addresses_of_several_families_are_refused() {
    let cases = cases();
    let mixed = ProbeTarget { rip: cases[3].target.rip, ..cases[0].target };
    let refusal = ProbeEntries::of(&mixed, 1).unwrap_err().to_string();
    assert!(refusal.contains("192.0.2.80 on fd09::11 from 10.9.0.2"), "{refusal}");
}
