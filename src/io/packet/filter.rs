//! Socket filter: a classic BPF program generated from the services, which selects the frames that the kernel
//! copies into the ring.
//!
//! The filter saves copy and wake-up for all other frames. It may be coarser than the services where an exact
//! program would exceed the kernel's limit, since the decision checks every frame again.
//!
//! ```text
//! to us, of no VLAN, IPv4 ──▶ search the VIPs ──▶ protocol ──▶ fragment? ──▶ search the ports ──▶ keep
//! ```
//! Jumps of classic BPF reach 255 instructions, so tests jump over an unconditional jump, which
//! reaches everything, and every branch ends in a return of its own.

use crate::model::ServiceAddress;
use crate::wire::ethernet;
use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX,
    BPF_MSH, BPF_RET, BPF_W, sock_filter,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A socket filter (linux/filter.h), with offsets from the Ethernet header on.
pub type Program = Vec<sock_filter>;

/// The kernel refuses longer programs.
const LONGEST: usize = libc::BPF_MAXINSNS as usize;

/// Offsets into an untagged Ethernet frame that holds IPv4 (RFC 791).
mod at {
    pub(super) const ETHERTYPE: u32 = 12;
    pub(super) const IP: u32 = 14;
    pub(super) const FRAGMENT: u32 = IP + 6;
    pub(super) const PROTOCOL: u32 = IP + 9;
    pub(super) const DESTINATION: u32 = IP + 16;
    /// With the length of the IP header in the index register.
    pub(super) const PORT: u32 = IP + 2;
}

/// "More fragments" and the fragment offset: not zero in every piece of a datagram.
const FRAGMENT: u32 = 0x3fff;
/// The bits of a tag that identify a VLAN.
const VLAN_ID: u32 = 0x0fff;
/// Keeps the whole frame, however long.
const KEEP: sock_filter = statement(BPF_RET | BPF_K, u32::MAX);
const REJECT: sock_filter = statement(BPF_RET | BPF_K, 0);

/// VIP → protocol → ports, where 0 is the wildcard port.
type Wanted = BTreeMap<u32, BTreeMap<u8, BTreeSet<u16>>>;

/// Rejects every frame.
#[must_use]
pub fn reject_all() -> Program {
    vec![REJECT]
}

/// Filters that keep every frame of `services`, the most exact first, each short enough.
///
/// The exact one keeps frames addressed to this host, of no VLAN, for one of the services, and the
/// fragments for its VIP and protocol. The next keeps whatever a VIP gets of its protocols; the
/// last keeps all TCP and UDP. The kernel may refuse a program for lack of option memory
/// (`net.core.optmem_max`), then the next is to be tried.
pub fn programs(services: &[ServiceAddress]) -> impl Iterator<Item = Program> {
    let wanted = wanted(services);
    [by_service, by_protocol, by_any].into_iter().map(move |body| framed(body(&wanted))).filter(short_enough)
}

fn short_enough(program: &Program) -> bool {
    program.len() <= LONGEST
}

fn wanted(services: &[ServiceAddress]) -> Wanted {
    let mut wanted = Wanted::new();
    for service in services {
        if let IpAddr::V4(vip) = service.address.ip() {
            let protocols = wanted.entry(vip.to_bits()).or_default();
            protocols.entry(service.protocol as u8).or_default().insert(service.address.port());
        }
    }
    wanted
}

/// Prepends the tests that hold for every wanted frame to `body`, which tests the IP header.
fn framed(body: Program) -> Program {
    let mut program = Vec::with_capacity(body.len() + 11);
    program.extend(require(ancillary(libc::SKF_AD_PKTTYPE), u32::from(libc::PACKET_HOST)));
    // A tagged frame belongs to a VLAN's interface, though its tag is no longer in its bytes; unless the
    // tag names no VLAN: it carries a priority only then.
    program.extend([ancillary(libc::SKF_AD_VLAN_TAG_PRESENT), jump(BPF_JEQ, 0, 3, 0)]);
    program.extend([ancillary(libc::SKF_AD_VLAN_TAG), jump(BPF_JSET, VLAN_ID, 0, 1), REJECT]);
    program.extend(require(load(BPF_H, at::ETHERTYPE), u32::from(ethernet::IPV4)));
    program.extend(body);
    program
}

fn by_service(wanted: &Wanted) -> Program {
    by_vip(wanted, &|ports| {
        let ports: Vec<u16> = ports.iter().copied().collect();
        let mut program = vec![load(BPF_H, at::FRAGMENT), jump(BPF_JSET, FRAGMENT, 0, 1), KEEP];
        program.push(statement(BPF_LDX | BPF_B | BPF_MSH, at::IP));
        program.push(statement(BPF_LD | BPF_H | BPF_IND, at::PORT));
        if ports.contains(&0) {
            program.push(KEEP); // if there is a port: a load that fails has ended the filter
            return program;
        }
        program.extend(search(&ports, &|port| u32::from(*port), &|port| {
            vec![jump(BPF_JEQ, u32::from(*port), 0, 1), KEEP, REJECT]
        }));
        program
    })
}

fn by_protocol(wanted: &Wanted) -> Program {
    by_vip(wanted, &|_| vec![KEEP])
}

fn by_any(wanted: &Wanted) -> Program {
    let protocols: BTreeSet<u8> = wanted.values().flat_map(BTreeMap::keys).copied().collect();
    among_protocols(protocols.into_iter().map(|protocol| (protocol, vec![KEEP])))
}

fn by_vip(wanted: &Wanted, section: &dyn Fn(&BTreeSet<u16>) -> Program) -> Program {
    let vips: Vec<_> = wanted.iter().collect();
    let mut program = vec![load(BPF_W, at::DESTINATION)];
    program.extend(search(&vips, &|(vip, _)| **vip, &|(vip, protocols)| {
        let mut program = vec![jump(BPF_JEQ, **vip, 1, 0), REJECT];
        program
            .extend(among_protocols(protocols.iter().map(|(protocol, ports)| (*protocol, section(ports)))));
        program
    }));
    program
}

/// Runs the section of the frame's protocol; every section ends in a return.
fn among_protocols(sections: impl Iterator<Item = (u8, Program)>) -> Program {
    let mut program = vec![load(BPF_B, at::PROTOCOL)];
    for (protocol, section) in sections {
        program.extend([jump(BPF_JEQ, u32::from(protocol), 1, 0), skip(section.len())]);
        program.extend(section);
    }
    program.push(REJECT);
    program
}

/// Binary search for the accumulator among `items`, sorted by `key`, down to one item's `leaf`.
fn search<T>(items: &[T], key: &dyn Fn(&T) -> u32, leaf: &dyn Fn(&T) -> Program) -> Program {
    match items {
        [] => vec![REJECT],
        [item] => leaf(item),
        _ => {
            let (low, high) = items.split_at(items.len() / 2);
            let below = search(low, key, leaf);
            let mut program = vec![jump(BPF_JGE, key(&high[0]), 0, 1), skip(below.len())];
            program.extend(below);
            program.extend(search(high, key, leaf));
            program
        }
    }
}

/// Loads a value and goes on only if it equals `value`.
fn require(load: sock_filter, value: u32) -> [sock_filter; 3] {
    [load, jump(BPF_JEQ, value, 1, 0), REJECT]
}

const fn load(size: u32, offset: u32) -> sock_filter {
    statement(BPF_LD | size | BPF_ABS, offset)
}

/// Loads ancillary data of the frame (SKF_AD_*).
const fn ancillary(what: libc::c_int) -> sock_filter {
    load(BPF_W, (libc::SKF_AD_OFF + what) as u32) // the kernel takes the negative offset's bits
}

const fn skip(instructions: usize) -> sock_filter {
    statement(BPF_JMP | BPF_JA, instructions as u32) // at most LONGEST
}

const fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: if_true, jf: if_false, k: value }
}

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k } // codes are 16 bits wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Protocol;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, SocketAddr};

    /// Input of a filter in the kernel.
    #[derive(Clone, Debug)]
    struct Frame {
        kind: u32,
        tag: Option<u16>,
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
                _ if code == BPF_JMP | BPF_JSET | BPF_K => {
                    pc += branch(a & k != 0);
                    continue;
                }
                _ if code == BPF_LDX | BPF_B | BPF_MSH => match bytes(frame, k, 1) {
                    Some(byte) => {
                        x = (byte & 0xf) * 4;
                        continue;
                    }
                    None => None,
                },
                _ if code == BPF_LD | BPF_W | BPF_ABS => bytes(frame, k, 4),
                _ if code == BPF_LD | BPF_H | BPF_ABS => bytes(frame, k, 2),
                _ if code == BPF_LD | BPF_B | BPF_ABS => bytes(frame, k, 1),
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
            libc::SKF_AD_VLAN_TAG => return Some(frame.tag.unwrap_or(0x0aaa).into()), // left over from before
            _ => {}
        }
        let found = frame.bytes.get(offset as usize..)?.get(..count)?;
        Some(found.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// Reference implementation.
    fn is_wanted(services: &[ServiceAddress], frame: &Frame) -> bool {
        let b = &frame.bytes;
        if frame.kind != 0
            || frame.tag.is_some_and(|tag| tag % 0x1000 != 0)
            || b.len() < 34
            || b[12..14] != [8, 0]
        {
            return false;
        }
        let port_at = 14 + usize::from(b[14] & 0xf) * 4 + 2;
        services.iter().any(|service| {
            let IpAddr::V4(vip) = service.address.ip() else { return false };
            let same = b[30..34] == vip.octets() && b[23] == service.protocol as u8;
            let fragment = b[20] & 0x3f != 0 || b[21] != 0;
            let port = b.get(port_at..port_at + 2);
            let is_its = |port: &[u8]| service.is_wildcard() || port == service.address.port().to_be_bytes();
            same && (fragment || port.is_some_and(is_its))
        })
    }

    fn service(protocol: Protocol, vip: u32, port: u16) -> ServiceAddress {
        ServiceAddress { protocol, address: SocketAddr::from((Ipv4Addr::from_bits(vip), port)) }
    }

    /// Few values, so that frames meet services often; neighbours, so that searches go astray.
    fn any_service() -> impl Strategy<Value = ServiceAddress> {
        let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
        (protocol, vip(), port()).prop_map(|(protocol, vip, port)| service(protocol, vip, port))
    }

    fn vip() -> impl Strategy<Value = u32> {
        prop_oneof![0xc0a8_c396u32..0xc0a8_c39c, Just(0), Just(u32::MAX), Just(0x8000_0000)]
    }

    fn port() -> impl Strategy<Value = u16> {
        prop_oneof![78u16..84, Just(0), Just(u16::MAX)]
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let header = (0u8..16, prop_oneof![Just(6u8), Just(17), Just(1)], vip());
        let fragment = prop_oneof![4 => Just(0x4000u16), 1 => Just(0), 1 => any::<u16>()];
        let tag = prop_oneof![8 => Just(None), 1 => Just(Some(0xa000)), 1 => any::<u16>().prop_map(Some)];
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
            services in prop::collection::vec(any_service(), 0..24),
            frames in prop::collection::vec(any_frame(), 16),
        ) {
            let exact = programs(&services).next().unwrap();
            for frame in frames {
                prop_assert_eq!(run(&exact, &frame) != 0, is_wanted(&services, &frame), "{:?}", frame);
            }
        }

        #[test]
        fn coarser_filters_keep_at_least_that(
            services in prop::collection::vec(any_service(), 1..24),
            frame in any_frame(),
        ) {
            let kept: Vec<bool> = programs(&services).map(|program| run(&program, &frame) != 0).collect();
            prop_assert_eq!(kept.len(), 3);
            prop_assert!(kept.is_sorted(), "{:?}", kept);
        }
    }

    #[test]
    fn too_many_services_make_it_coarser() {
        let many = |vips: u32, ports: u16| -> Vec<_> {
            let each = |vip| (1..=ports).map(move |port| service(Protocol::Tcp, 0x0a00_0000 + vip, port));
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
        let keeps = |services: &[ServiceAddress], vip, port| {
            run(&programs(services).next().unwrap(), &frame(vip, port)) != 0
        };
        let exact = many(1, 800);
        assert!(keeps(&exact, 0, 800) && !keeps(&exact, 0, 801) && !keeps(&exact, 1, 800));
        let by_protocol = many(1, 1000);
        assert!(
            keeps(&by_protocol, 0, 1000) && keeps(&by_protocol, 0, 1001) && !keeps(&by_protocol, 1, 1000)
        );
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
}
