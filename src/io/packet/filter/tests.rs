use super::*;
use crate::io::selection::{self, OWN_MAC};
use crate::model::ServiceAddress;
use crate::sys::packet_socket::PacketSocket;
use crate::wire::hairpin::HairpinFrame;
use crate::wire::vlan::Tag;
use crate::wire::{MacAddr, Protocol};
use libc::{
    BPF_ABS, BPF_B, BPF_IMM, BPF_IND, BPF_JA, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX,
    BPF_MISC, BPF_MSH, BPF_RET, BPF_TAX, BPF_TXA, BPF_W, sock_filter,
};
use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Input of a filter in the kernel.
#[derive(Clone, Debug)]
struct Frame {
    kind: u32,
    tag: Option<Tag>,
    bytes: Vec<u8>,
}

/// The instructions that [`programs`] uses, as Documentation/networking/filter.rst has them.
fn run(program: &[sock_filter], frame: &Frame) -> u32 {
    let (mut a, mut x, mut pc) = (0u32, 0u32, 0usize);
    loop {
        let op = program[pc];
        let (code, k) = (u32::from(op.code), op.k);
        pc += 1;
        let branch = |taken: bool| usize::from(if taken { op.jt } else { op.jf });
        let loaded = match code {
            _ if code == BPF_RET | BPF_K => return k,
            _ if code == BPF_JMP | BPF_JA => {
                pc += k as usize;
                continue;
            }
            _ if code == BPF_JMP | BPF_JEQ | BPF_K => {
                pc += branch(a == k);
                continue;
            }
            _ if code == BPF_JMP | BPF_JGE | BPF_K => {
                pc += branch(a >= k);
                continue;
            }
            _ if code == BPF_JMP | BPF_JGT | BPF_K => {
                pc += branch(a > k);
                continue;
            }
            _ if code == BPF_JMP | BPF_JSET | BPF_K => {
                pc += branch(a & k != 0);
                continue;
            }
            _ if code == BPF_ALU | BPF_AND | BPF_K => Some(a & k),
            _ if code == BPF_LDX | BPF_B | BPF_MSH => match bytes(frame, k, 1) {
                Some(byte) => {
                    x = (byte & 0xf) * 4;
                    continue;
                }
                None => None,
            },
            _ if code == BPF_MISC | BPF_TAX => {
                x = a;
                continue;
            }
            _ if code == BPF_MISC | BPF_TXA => Some(x),
            _ if code == BPF_LD | BPF_IMM => Some(k),
            _ if code == BPF_LD | BPF_W | BPF_ABS => bytes(frame, k, 4),
            _ if code == BPF_LD | BPF_H | BPF_ABS => bytes(frame, k, 2),
            _ if code == BPF_LD | BPF_B | BPF_ABS => bytes(frame, k, 1),
            _ if code == BPF_LD | BPF_B | BPF_IND => bytes(frame, x + k, 1),
            _ if code == BPF_LD | BPF_H | BPF_IND => bytes(frame, x + k, 2),
            _ => panic!("no such instruction: {code:#x}"),
        };
        match loaded {
            Some(value) => a = value,
            None => return 0, // a load outside the frame ends the filter with "reject"
        }
    }
}

fn bytes(frame: &Frame, offset: u32, count: usize) -> Option<u32> {
    match offset.cast_signed() - libc::SKF_AD_OFF {
        libc::SKF_AD_PKTTYPE => return Some(frame.kind),
        libc::SKF_AD_VLAN_TAG_PRESENT => return Some(frame.tag.is_some().into()),
        libc::SKF_AD_VLAN_TAG => return Some(frame.tag.map_or(0x0aaa, |tag| tag.control).into()), // left over from before
        libc::SKF_AD_VLAN_TPID => return Some(frame.tag.map_or(0, |tag| tag.protocol).into()),
        _ => {}
    }
    let found = frame.bytes.get(offset as usize..)?.get(..count)?;
    Some(found.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// Reference implementation.
fn is_wanted(services: &[SteeredService], frame: &Frame) -> bool {
    let b = &frame.bytes;
    let outer = frame.tag.filter(|tag| tag.vlan() > 0);
    let is_tag = b.len() >= 16 && matches!(b[12..14], [0x81, 0] | [0x88, 0xa8]);
    let inner = is_tag.then(|| (b[12], u16::from_be_bytes([b[14], b[15]]) % 0x1000));
    let vlan = match (outer, inner) {
        (None, _) => Some(Vlans::NONE),
        (Some(Tag { protocol: 0x8100, .. }), None) => outer.and_then(|tag| Vlans::new(&[tag.vlan()])),
        (Some(outer), Some((0x81, inner))) if outer.protocol == 0x8100 => Vlans::q_in_q(outer.vlan(), inner),
        (Some(outer), Some((0x81, inner))) => Vlans::new(&[outer.vlan(), inner]),
        _ => None,
    };
    let b = if is_tag && outer.is_some() { &[&b[..12], &b[16..]].concat()[..] } else { &b[..] };
    let of_vlan = services.iter().filter(|service| frame.kind == 0 && Some(service.vlan) == vlan);
    of_vlan.into_iter().any(|service| match service.vip {
        IpAddr::V4(vip) => is_wanted_v4(service, vip, b),
        IpAddr::V6(vip) => is_wanted_v6(service, vip, b),
    })
}

fn is_wanted_v4(service: &SteeredService, vip: Ipv4Addr, b: &[u8]) -> bool {
    if b.len() < 34 || b[12..14] != [8, 0] || b[30..34] != vip.octets() {
        return false;
    }
    let fragment = b[20] & 0x3f != 0 || b[21] != 0;
    let port_at = 14 + usize::from(b[14] & 0xf) * 4 + 2;
    let icmp_type = b.get(port_at - 2);
    let error = b[23] == 1 && !fragment && icmp_type.is_some_and(|kind| [3, 4, 11].contains(kind));
    error
        || b[23] == service.protocol as u8 && (fragment || is_its_port(service, b.get(port_at..port_at + 2)))
}

fn is_wanted_v6(service: &SteeredService, vip: Ipv6Addr, b: &[u8]) -> bool {
    if b.len() < 54 || b[12..14] != [0x86, 0xdd] || b[38..54] != vip.octets() {
        return false;
    }
    let extended = [0, 43, 44, 51, 60].contains(&b[20]);
    let error = b[20] == 58 && b.get(54).is_some_and(|kind| (1..=4).contains(kind));
    extended || error || b[20] == service.protocol as u8 && is_its_port(service, b.get(56..58))
}

fn is_its_port(service: &SteeredService, port: Option<&[u8]>) -> bool {
    port.is_some_and(|port| service.ports.contains(u16::from_be_bytes([port[0], port[1]])))
}

/// A frame as the kernel hands it to a filter: without its outer tag.
fn received(bytes: &[u8]) -> Frame {
    let kind = if bytes[..6] == OWN_MAC { libc::PACKET_HOST } else { libc::PACKET_OTHERHOST };
    let mut frame = Frame { kind: kind.into(), tag: None, bytes: bytes.to_vec() };
    if let [a @ 0x81, b @ 0x00, high, low, ..] | [a @ 0x88, b @ 0xa8, high, low, ..] = bytes[12..] {
        let [protocol, control] = [[a, b], [high, low]].map(u16::from_be_bytes);
        frame.tag = Some(Tag { protocol, control });
        frame.bytes.drain(12..16);
    }
    frame
}

fn service(protocol: Protocol, vip: u32, port: u16) -> SteeredService {
    ServiceAddress { protocol, address: SocketAddr::from((Ipv4Addr::from_bits(vip), port)) }.into()
}

fn vip() -> impl Strategy<Value = u32> {
    prop_oneof![0xc0a8_c396u32..0xc0a8_c39c, Just(0), Just(u32::MAX), Just(0x8000_0000)]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![78u16..84, Just(0), Just(u16::MAX)]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![any_v4_frame(), selection::any_frame().prop_map(|bytes| received(&bytes))]
}

fn any_v4_frame() -> impl Strategy<Value = Frame> {
    let header = (0u8..16, prop_oneof![Just(6u8), Just(17), Just(1), Just(0)], vip());
    let fragment = prop_oneof![4 => Just(0x4000u16), 1 => Just(0), 1 => any::<u16>()];
    let tag = |control| Some(Tag { protocol: 0x8100, control });
    let tag = prop_oneof![8 => Just(None), 1 => Just(tag(0xa000)), 1 => any::<u16>().prop_map(tag)];
    let about = (prop_oneof![9 => Just(0u32), 1 => 1u32..5], tag);
    let ethertype = prop_oneof![9 => Just(0x0800u16), 1 => any::<u16>()];
    (header, fragment, port(), about, ethertype, 0usize..120).prop_map(
        |((words, protocol, vip), fragment, port, (kind, tag), ethertype, length)| {
            let mut bytes = vec![0; 120];
            bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
            bytes[14] = 0x40 | words;
            bytes[20..22].copy_from_slice(&fragment.to_be_bytes());
            bytes[23] = protocol;
            bytes[30..34].copy_from_slice(&vip.to_be_bytes());
            let port_at = 14 + usize::from(words) * 4 + 2;
            if port_at >= 34 {
                bytes[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
            }
            bytes.truncate(if length < 60 { 120 } else { length - 40 });
            Frame { kind, tag, bytes }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_exact_filter_keeps_what_is_wanted_and_nothing_else(
        services in prop::collection::vec(selection::any_service(), 0..24),
        frames in prop::collection::vec(any_frame(), 16),
    ) {
        let exact = programs(&services).next().unwrap();
        for frame in frames {
            prop_assert_eq!(run(&exact, &frame) != 0, is_wanted(&services, &frame), "{:?}", frame);
        }
    }

    #[test]
    fn every_filter_keeps_what_the_steering_program_takes(
        services in prop::collection::vec(selection::any_service(), 0..24),
        frames in prop::collection::vec(selection::any_frame(), 16),
    ) {
        for program in programs(&services) {
            for frame in frames.iter().filter(|frame| selection::is_wanted(&services, frame)) {
                prop_assert!(run(&program, &received(frame)) != 0, "{:02x?}", frame);
            }
        }
    }

    #[test]
    fn coarser_filters_keep_at_least_that(
        services in prop::collection::vec(selection::any_service(), 1..24),
        frame in any_frame(),
    ) {
        let kept: Vec<bool> = programs(&services).map(|program| run(&program, &frame) != 0).collect();
        let families: HashSet<_> =
            services.iter().map(|service| (service.vlan, service.vip.is_ipv6())).collect();
        let is_tagged = services.iter().any(|service| !service.vlan.is_none());
        prop_assert_eq!(kept.len(), 1 + 2 * families.len() + usize::from(is_tagged));
        prop_assert!(kept.is_sorted(), "{:?}", kept);
    }
}

#[test]
fn too_many_services_make_it_coarser() {
    let many = |vips: u32, ports: u16| -> Vec<_> {
        let each = |vip| (1..=ports).map(move |port| service(Protocol::Tcp, 0x0a00_0000 + vip, 2 * port));
        (0..vips).flat_map(each).collect()
    };
    let frame = |vip: u32, port: u16| {
        let mut bytes = vec![0; 60];
        bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
        bytes[23] = 6;
        bytes[30..34].copy_from_slice(&(0x0a00_0000 + vip).to_be_bytes());
        bytes[36..38].copy_from_slice(&port.to_be_bytes());
        Frame { kind: 0, tag: None, bytes }
    };
    let keeps = |services: &[SteeredService], vip, port| {
        run(&programs(services).next().unwrap(), &frame(vip, port)) != 0
    };
    let exact = many(1, 800);
    assert!(keeps(&exact, 0, 1600) && !keeps(&exact, 0, 1599) && !keeps(&exact, 1, 1600));
    let by_protocol = many(1, 1000);
    assert!(keeps(&by_protocol, 0, 2000) && keeps(&by_protocol, 0, 2001) && !keeps(&by_protocol, 1, 1000));
    let wildcard = [many(1, 1000), vec![service(Protocol::Tcp, 0x0a00_0000, 0)]].concat();
    assert!(keeps(&wildcard, 0, 1001) && !keeps(&wildcard, 1, 1000));
    let by_any = many(2000, 1);
    assert!(keeps(&by_any, 1999, 0) && keeps(&by_any, 9999, 0));
}

#[test]
fn no_service_keeps_nothing() {
    let frame = Frame { kind: 0, tag: None, bytes: vec![0; 60] };
    assert!(programs(&[]).all(|program| run(&program, &frame) == 0));
    assert_eq!(run(&reject_all(), &frame), 0);
}

#[test]
fn many_ipv6_services_leave_ipv4_exact() {
    let v4 = service(Protocol::Tcp, 0x0a00_0001, 80);
    let v6 = |count: u32| (0..count).map(|vip| service_v6(0x2001_0db8 << 96 | u128::from(vip) << 16, 80));
    let keeps = |count: u32, vip: u128, port: u16| {
        let services: Vec<_> = std::iter::once(v4).chain(v6(count)).collect();
        let program = programs(&services).next().unwrap();
        let mut other = vec![0; 60];
        other[12..15].copy_from_slice(&[8, 0, 0x45]);
        other[23] = 6;
        other[30..34].copy_from_slice(&0x0a00_0001u32.to_be_bytes());
        other[36..38].copy_from_slice(&81u16.to_be_bytes());
        let other = Frame { kind: 0, tag: None, bytes: other };
        assert_eq!(run(&program, &other), 0, "port 81 of the IPv4 VIP, beside {count}");
        let mut bytes = vec![0; 60];
        bytes[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
        bytes[20] = 6;
        bytes[38..54].copy_from_slice(&(0x2001_0db8 << 96 | vip << 16).to_be_bytes());
        bytes[56..58].copy_from_slice(&port.to_be_bytes());
        run(&program, &Frame { kind: 0, tag: None, bytes }) != 0
    };
    let exact = 270;
    assert!(keeps(exact, 269, 80) && !keeps(exact, 269, 81) && !keeps(exact, 270, 80));
    let by_protocol = 310;
    assert!(keeps(by_protocol, 309, 80) && keeps(by_protocol, 309, 81) && !keeps(by_protocol, 310, 80));
    assert!(keeps(2000, 1999, 80) && keeps(2000, 9999, 81));
}

fn service_v6(vip: u128, port: u16) -> SteeredService {
    ServiceAddress { protocol: Protocol::Tcp, address: (Ipv6Addr::from_bits(vip), port).into() }.into()
}

/// A frame without its outer tag, which has this VLAN. The message is what follows the EtherType.
fn received_in(vlan: Option<u16>, inner: Option<u16>, ethertype: u16, message: &[u8]) -> Frame {
    let mut bytes = [OWN_MAC, [2, 0, 0, 0, 0, 9]].concat();
    if let Some(inner) = inner {
        bytes.extend([[0x81, 0x00], inner.to_be_bytes()].concat());
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(message);
    let tag = vlan.map(|vlan| Tag { protocol: 0x8100, control: 0xa000 | vlan });
    Frame { kind: 0, tag, bytes }
}

#[test]
fn control_hears_its_vlans_alone() {
    let mut ndp = vec![0; 80];
    (ndp[0], ndp[6], ndp[40]) = (0x60, 58, 135);
    let mut ping = vec![0; 40];
    (ping[0], ping[9], ping[20]) = (0x45, 1, 8);
    let mut ping_v6 = ndp.clone();
    ping_v6[40] = 128;
    let of = |vlans: &[u16]| BTreeSet::from_iter(vlans.iter().copied());
    let [most, more] = [250, 251].map(|count| (1..=count).collect::<BTreeSet<u16>>());
    let cases = [
        (arp as fn(&BTreeSet<u16>) -> Program, 0x0806, vec![0; 28]),
        (neighbor_discovery, 0x86dd, ndp),
        (echo_requests, 0x0800, ping),
        (echo_requests, 0x86dd, ping_v6),
    ];
    for (filter, ethertype, message) in cases {
        let keeps = |vlans: &BTreeSet<u16>, vlan, inner| {
            run(&filter(vlans), &received_in(vlan, inner, ethertype, &message)) != 0
        };
        let selected = of(&[7, 100]);
        assert!(keeps(&selected, None, None) && keeps(&selected, Some(0), None));
        assert!(keeps(&selected, Some(100), None) && keeps(&selected, Some(7), Some(10)));
        assert!(!keeps(&selected, Some(8), None) && !keeps(&selected, None, Some(7)));
        assert!(!keeps(&of(&[]), Some(7), None) && keeps(&of(&[]), None, None));
        assert!(
            keeps(&most, Some(1), None) && keeps(&most, Some(250), Some(9)) && !keeps(&most, Some(251), None)
        );
        assert!(keeps(&more, Some(251), None) && keeps(&more, Some(3000), None), "too many to tell apart");
        let other = received_in(Some(7), None, 0x0801, &message);
        assert_eq!(run(&filter(&selected), &other), 0);
    }
}

/// A service of each VLAN: TCP, of IPv4 and IPv6 in turn.
fn service_of_each(vlans: impl Iterator<Item = Vlans>) -> Vec<SteeredService> {
    let each = vlans.zip(1u32..).map(|(vlan, vip)| match vip % 2 {
        0 => SteeredService { vlan, ..service(Protocol::Tcp, 0x0a00_0000 + vip, 80) },
        _ => SteeredService { vlan, ..service_v6(0x2001_0db8 << 96 | u128::from(vip), 80) },
    });
    each.collect()
}

/// All VLANs with one tag, and many with two.
fn very_many_vlans() -> Vec<SteeredService> {
    let once = (1..=4094).map(|id| Vlans::new(&[id]).unwrap());
    let twice = (1..=4094).flat_map(|id| [Vlans::new(&[id, 7]).unwrap(), Vlans::q_in_q(7, id).unwrap()]);
    service_of_each(once.chain(twice))
}

#[test]
fn any_number_of_vlans_fits_into_a_program() {
    for count in [1, 11, 64, 65, 75, 80, 100, 4094] {
        let services = service_of_each((1..=count).map(|id| Vlans::new(&[id]).unwrap()));
        let programs: Vec<_> = programs(&services).collect();
        let shortest = programs.last().unwrap().len();
        assert!(shortest < 200, "{count} VLANs: {shortest} instructions");
        for (at, id) in [(0, 1), (0, count), (programs.len() - 1, count)] {
            let SteeredService { vip, .. } = services[usize::from(id) - 1];
            let mut bytes = vec![0; 60];
            match vip {
                IpAddr::V4(vip) => {
                    bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
                    bytes[23] = 6;
                    bytes[30..34].copy_from_slice(&vip.octets());
                    bytes[36..38].copy_from_slice(&80u16.to_be_bytes());
                }
                IpAddr::V6(vip) => {
                    bytes[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
                    bytes[20] = 6;
                    bytes[38..54].copy_from_slice(&vip.octets());
                    bytes[56..58].copy_from_slice(&80u16.to_be_bytes());
                }
            }
            let tag = Some(Tag { protocol: 0x8100, control: id });
            assert!(run(&programs[at], &Frame { kind: 0, tag, bytes }) != 0, "VLAN {id} of {count}");
        }
    }
    let shortest = programs(&very_many_vlans()).last().unwrap().len();
    assert!(shortest < 300, "{shortest}");
}

#[test]
fn the_kernel_takes_filters_for_any_number_of_vlans() {
    // That of Linux before 6.8.
    const OPTION_MEMORY: &str = "20480";
    let attach = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
        std::fs::write("/proc/sys/net/core/optmem_max", OPTION_MEMORY).unwrap();
        let socket = PacketSocket::open().unwrap();
        for count in [0, 1, 11, 75, 80, 100, 250, 251, 4094] {
            let vlans: BTreeSet<u16> = (1..=count).collect();
            for filter in [arp, neighbor_discovery, echo_requests] {
                let program = filter(&vlans);
                socket.set_filter(&program).unwrap_or_else(|error| panic!("{count} VLANs: {error}"));
                assert!(program.len() < 340, "{count} VLANs: {} instructions", program.len());
            }
            let services = service_of_each((1..=count).map(|id| Vlans::new(&[id]).unwrap()));
            assert!(programs(&services).any(|program| socket.set_filter(&program).is_ok()), "{count} VLANs");
        }
        assert!(programs(&very_many_vlans()).any(|program| socket.set_filter(&program).is_ok()));
    };
    std::thread::spawn(attach).join().unwrap();
}

#[test]
fn arp_and_the_marked_hairpin_frame_are_kept() {
    const MARK: u32 = 0x1234_5678;
    let sent = HairpinFrame {
        to: MacAddr(OWN_MAC),
        from: MacAddr([2, 0, 0, 0, 0, 9]),
        source: [192, 0, 2, 5].into(),
        destination: [192, 0, 2, 80].into(),
        mark: MARK,
        number: 7,
    };
    let program = arp_and_hairpins(&BTreeSet::from([7]), MARK);
    let keeps = |bytes: &[u8]| run(&program, &Frame { kind: 0, tag: None, bytes: bytes.to_vec() }) != 0;
    let frame = sent.emit();
    assert!(keeps(&frame));
    for at in [12, 14, 23, 34, 42, 45] {
        let mut other = frame;
        other[at] ^= 1;
        assert!(!keeps(&other), "byte {at}");
    }
    for len in 0..46 {
        assert!(!keeps(&frame[..len]), "{len} bytes");
    }
    assert!(run(&program, &received_in(None, None, 0x0806, &[0; 28])) != 0);
    assert!(run(&program, &received_in(Some(7), None, 0x0806, &[0; 28])) != 0);
    assert_eq!(run(&program, &received_in(Some(8), None, 0x0806, &[0; 28])), 0);
}
