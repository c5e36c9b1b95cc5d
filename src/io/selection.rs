//! Naive model of the frames that belong to services, and random frames, for the tests of the programs that
//! select them.

use super::steered::SteeredService;
use crate::model::PortRange;
use crate::wire::Protocol;
use crate::wire::vlan::Vlans;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// MAC address of the interface in these frames.
pub(in crate::io) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Kind of a packet for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// With its destination port.
    Whole(u16),
    /// A fragment.
    Fragment,
    /// An ICMP error about a packet from the VIP.
    Error,
}

/// Description of the service that a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    vlan: Vlans,
    vip: IpAddr,
    /// None where any of the VIP's will do.
    protocol: Option<u8>,
    part: Part,
}

/// True if `frame`, as the interface receives it, is for one of `services`, or a fragment that may be.
pub(in crate::io) fn is_wanted(services: &[SteeredService], frame: &[u8]) -> bool {
    sight(frame).is_some_and(|sight| services.iter().any(|service| matches(service, sight)))
}

fn matches(service: &SteeredService, Sight { vlan, vip, protocol, part }: Sight) -> bool {
    (service.vlan, service.vip) == (vlan, vip)
        && protocol.is_none_or(|protocol| protocol == service.protocol as u8)
        && match part {
            Part::Whole(port) => service.ports.contains(port),
            Part::Fragment | Part::Error => true,
        }
}

/// True if `frame` is an ICMP echo request, a fragment of ICMP or a neighbor solicitation for a VIP of `services`.
pub(in crate::io) fn is_answered(services: &[SteeredService], frame: &[u8]) -> bool {
    let about = untagged(frame).and_then(|(vlan, ethertype, ip)| Some((vlan, subject(ethertype, ip)?)));
    about.is_some_and(|about| services.iter().any(|service| (service.vlan, service.vip) == about))
}

/// The address that a message is about which control answers.
fn subject(ethertype: u16, ip: &[u8]) -> Option<IpAddr> {
    match (ethertype, ip.first()? >> 4) {
        (0x0800, 4) => {
            let header = Peeled::v4(ip)?;
            let echo = || header.rest.len() >= 8 && header.rest[0] == 8;
            (header.next == 1 && (header.is_fragment || echo())).then_some(header.destination)
        }
        (0x86dd, 6) => {
            let header = Peeled::v6(ip)?;
            match (header.next, header.is_fragment, header.rest.first().copied()) {
                (58, true, _) => Some(header.destination),
                (58, false, Some(128)) if header.rest.len() >= 8 => Some(header.destination),
                (58, false, Some(135)) => {
                    Some(Ipv6Addr::from(*header.rest.get(8..)?.first_chunk::<16>()?).into())
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn sight(frame: &[u8]) -> Option<Sight> {
    let (vlan, ethertype, ip) = untagged(frame)?;
    let sight = match (ethertype, ip.first()? >> 4) {
        (0x0800, 4) => ipv4(&Peeled::v4(ip)?),
        (0x86dd, 6) => ipv6(&Peeled::v6(ip)?),
        _ => None,
    };
    sight.map(|sight| Sight { vlan, ..sight })
}

/// VLANs, EtherType and payload of a frame to this interface.
fn untagged(frame: &[u8]) -> Option<(Vlans, u16, &[u8])> {
    if frame.get(..6)? != OWN_MAC {
        return None;
    }
    let (mut ethertype, mut ip) = (word(frame, 12)?, frame.get(14..)?);
    let mut tags = Vec::new();
    while is_tag(ethertype) && tags.len() < 2 {
        tags.push((ethertype, word(ip, 0)? & 0xfff));
        (ethertype, ip) = (word(ip, 2)?, ip.get(4..)?);
    }
    // The programs read four bytes behind the header in one go.
    if tags.is_empty() && ip.len() < 4 {
        return None;
    }
    let vlan = match tags[..] {
        [] | [(0x8100, 0)] => Vlans::NONE,
        [(0x8100, id)] => Vlans::new(&[id])?,
        [(0x8100, outer), (0x8100, inner)] => Vlans::q_in_q(outer, inner)?,
        [(_, outer), (0x8100, inner)] => Vlans::new(&[outer, inner])?,
        _ => return None,
    };
    Some((vlan, ethertype, ip))
}

fn is_tag(ethertype: u16) -> bool {
    [0x8100, 0x88a8].contains(&ethertype)
}

/// A packet without its IP header and extension headers.
struct Peeled<'a> {
    destination: IpAddr,
    /// Protocol of `rest`; in a fragment that of an extension header perhaps.
    next: u8,
    is_fragment: bool,
    rest: &'a [u8],
}

impl<'a> Peeled<'a> {
    fn v4(ip: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; 20] = ip.first_chunk()?;
        let destination = Ipv4Addr::from(*fixed.last_chunk::<4>()?).into();
        let length = usize::from(fixed[0] & 0xf) * 4;
        let is_fragment = word(ip, 6)? & 0x3fff != 0;
        let rest = ip.get(length..).unwrap_or_default();
        (length >= 20).then_some(Self { destination, next: fixed[9], is_fragment, rest })
    }

    fn v6(ip: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; 40] = ip.first_chunk()?;
        let destination = Ipv6Addr::from(*fixed.last_chunk::<16>()?).into();
        let (mut next, mut rest) = (fixed[6], &ip[40..]);
        let chain = rest.len();
        for _ in 0..=8 {
            if !is_extension(next) {
                return Some(Self { destination, next, is_fragment: false, rest });
            }
            let header: [u8; 8] = *rest.first_chunk()?;
            if next == 44 && word(&header, 2)? & 0xfff9 != 0 {
                return Some(Self { destination, next: header[0], is_fragment: true, rest });
            }
            let length = extension_length(next, header[1]);
            next = header[0];
            if length + chain - rest.len() > 256 {
                return None;
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        None
    }
}

fn ipv4(header: &Peeled<'_>) -> Option<Sight> {
    let &Peeled { destination: vip, next, is_fragment, rest } = header;
    if next == 1 {
        let quoted: &[u8; 20] = rest.get(8..)?.first_chunk()?;
        let source: [u8; 4] = *quoted[12..].first_chunk()?;
        let is_about = [3, 4, 11].contains(&rest[0]) && quoted[0] >> 4 == 4 && IpAddr::from(source) == vip;
        return (!is_fragment && is_about).then_some(Sight {
            vlan: Vlans::NONE,
            vip,
            protocol: None,
            part: Part::Error,
        });
    }
    if !has_ports(next) {
        return None;
    }
    let part = if is_fragment { Part::Fragment } else { Part::Whole(destination_port(rest)?) };
    Some(Sight { vlan: Vlans::NONE, vip, protocol: Some(next), part })
}

fn ipv6(header: &Peeled<'_>) -> Option<Sight> {
    let &Peeled { destination: vip, next, is_fragment, rest } = header;
    let protocol = has_ports(next).then_some(next);
    if is_fragment {
        let is_open = protocol.is_some() || is_extension(next);
        return is_open.then_some(Sight { vlan: Vlans::NONE, vip, protocol, part: Part::Fragment });
    }
    if next == 58 {
        let quoted: &[u8; 40] = rest.get(8..)?.first_chunk()?;
        let source: [u8; 16] = *quoted[8..].first_chunk()?;
        let is_about = (1..=4).contains(&rest[0]) && quoted[0] >> 4 == 6 && IpAddr::from(source) == vip;
        return is_about.then_some(Sight { vlan: Vlans::NONE, vip, protocol: None, part: Part::Error });
    }
    protocol?;
    Some(Sight { vlan: Vlans::NONE, vip, protocol, part: Part::Whole(destination_port(rest)?) })
}

fn has_ports(protocol: u8) -> bool {
    [6, 17, 132].contains(&protocol)
}

fn is_extension(kind: u8) -> bool {
    [0, 43, 44, 51, 60].contains(&kind)
}

fn extension_length(kind: u8, length: u8) -> usize {
    match kind {
        44 => 8,
        51 => (usize::from(length) + 2) * 4,
        _ => (usize::from(length) + 1) * 8,
    }
}

fn destination_port(transport: &[u8]) -> Option<u16> {
    word(transport, 2)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Services of few values, so that frames meet them often; neighbours, so that searches go astray.
pub(in crate::io) fn any_service() -> impl Strategy<Value = SteeredService> {
    let protocol = prop::sample::select(&Protocol::ALL[..]);
    let one = any_port().prop_map(PortRange::one);
    let several =
        (any_port(), 0u16..5).prop_map(|(first, more)| PortRange { first, last: first.saturating_add(more) });
    let ports = prop_oneof![6 => one, 3 => several, 1 => Just(PortRange::EVERY)];
    let [none, one, two] = [&[][..], &[7], &[0x100, 7]].map(|ids| Just(Vlans::new(ids).unwrap()));
    let vlan = prop_oneof![6 => none, 2 => one, 2 => two, 1 => Just(Vlans::q_in_q(0x100, 7).unwrap())];
    (vlan, protocol, any_vip(), ports).prop_map(|(vlan, protocol, vip, ports)| SteeredService {
        vlan,
        vip,
        protocol,
        ports,
    })
}

fn any_vip() -> BoxedStrategy<IpAddr> {
    prop_oneof![vip_v4().prop_map(IpAddr::V4), vip_v6().prop_map(IpAddr::V6)].boxed()
}

fn vip_v4() -> impl Strategy<Value = Ipv4Addr> {
    let bits = prop_oneof![0xc0a8_c396u32..0xc0a8_c39c, Just(0), Just(u32::MAX), Just(0x8000_0000)];
    bits.prop_map(Ipv4Addr::from_bits)
}

/// Every word differs between some of them.
fn vip_v6() -> impl Strategy<Value = Ipv6Addr> {
    let word =
        prop_oneof![8 => Just(0x2001_0db8u32), 1 => Just(0), 1 => Just(u32::MAX), 1 => Just(0x2001_0db9)];
    let last = prop_oneof![0x80u32..0x84, Just(0x2001_0db8), Just(0)];
    ([word.clone(), word.clone(), word], last).prop_map(|([a, b, c], d)| {
        let high = u128::from(a) << 96 | u128::from(b) << 64;
        Ipv6Addr::from_bits(high | u128::from(c) << 32 | u128::from(d))
    })
}

fn any_port() -> impl Strategy<Value = u16> {
    prop_oneof![78u16..84, Just(0), Just(u16::MAX)]
}

/// Frames of both families, most of them well-formed, at least 14 bytes long.
pub(in crate::io) fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let packet = prop_oneof![any_ipv4().prop_map(|ip| (0x0800, ip)), any_ipv6().prop_map(|ip| (0x86dd, ip))];
    let mac = prop_oneof![15 => Just(OWN_MAC), 1 => Just([2, 0, 0, 0, 0, 2]), 1 => Just([0xff; 6])];
    let ethertype = prop_oneof![15 => Just(None), 1 => any::<u16>().prop_map(Some)];
    let tag = prop_oneof![
        15 => Just(vec![]),
        2 => Just(vec![0xa000]),
        4 => Just(vec![0xa007u16]),
        4 => Just(vec![0x0100, 0xa007]),
        1 => Just(vec![0x0100, 0xa000]),
        1 => Just(vec![0x0000, 0x0007]),
        1 => Just(vec![0x0100, 0x0007, 0x0007])
    ];
    let service_tags = prop_oneof![4 => Just([false; 2]), 4 => Just([true, false]), 1 => any::<[bool; 2]>()];
    let cut = prop_oneof![4 => Just(usize::MAX), 1 => 14usize..160];
    (packet, mac, ethertype, (tag, service_tags), cut).prop_map(
        |((own, ip), mac, other, (tags, service_tags), cut)| {
            let mut frame = [mac, [2, 0, 0, 0, 0, 9]].concat();
            for (index, tag) in tags.iter().enumerate() {
                let is_service = service_tags.get(index).is_some_and(|is_service| *is_service);
                let protocol = if is_service { [0x88, 0xa8] } else { [0x81, 0x00] };
                frame.extend([protocol, tag.to_be_bytes()].concat());
            }
            frame.extend(other.unwrap_or(own).to_be_bytes());
            frame.extend(ip);
            frame.truncate(cut);
            frame
        },
    )
}

fn any_protocol() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(6), 4 => Just(17), 3 => Just(1), 3 => Just(58), 3 => Just(132), 1 => any::<u8>()]
}

fn any_ipv4() -> BoxedStrategy<Vec<u8>> {
    let first = prop_oneof![8 => Just(0x45u8), 4 => 0x40u8..0x50, 1 => any::<u8>()];
    let fragment = prop_oneof![4 => Just(0x4000u16), 1 => Just(0), 1 => any::<u16>()];
    (first, fragment, any_protocol(), vip_v4(), any_upper())
        .prop_map(|(first, fragment, protocol, vip, upper)| {
            let mut ip = vec![0; (usize::from(first & 0xf) * 4).max(20)];
            ip[0] = first;
            ip[6..8].copy_from_slice(&fragment.to_be_bytes());
            ip[9] = protocol;
            ip[16..20].copy_from_slice(&vip.octets());
            ip.extend(upper.about(protocol, vip.into()));
            ip
        })
        .boxed()
}

fn any_ipv6() -> BoxedStrategy<Vec<u8>> {
    let first = prop_oneof![15 => Just(0x60u8), 1 => any::<u8>()];
    let few = prop::collection::vec(any_extension(), 0..3);
    let many = prop::collection::vec(any_extension(), 3..11);
    let chain = prop_oneof![4 => Just(Vec::new()), 4 => few, 2 => many];
    (first, vip_v6(), chain, any_protocol(), any_upper())
        .prop_map(|(first, vip, chain, protocol, upper)| {
            let mut ip = vec![0; 40];
            ip[0] = first;
            ip[24..40].copy_from_slice(&vip.octets());
            let mut next_at = 6;
            for (kind, mut header) in chain {
                ip[next_at] = kind;
                next_at = ip.len();
                header[0] = 0;
                ip.extend(header);
            }
            ip[next_at] = protocol;
            ip.extend(upper.about(protocol, vip.into()));
            ip
        })
        .boxed()
}

/// An extension header and its type. Few are as long as they say they are not.
fn any_extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let kind = prop_oneof![4 => Just(0u8), 4 => Just(43), 4 => Just(60), 4 => Just(51), 4 => Just(44), 1 => Just(50)];
    let units = prop_oneof![6 => Just(0u8), 3 => 1u8..5, 1 => 5u8..40];
    let fragment = prop_oneof![Just(0u16), Just(6), Just(1), Just(0x0100), any::<u16>()];
    (kind, units, fragment).prop_map(|(kind, units, fragment)| {
        let mut header = vec![0; extension_length(kind, units)];
        header[1] = units;
        if kind == 44 {
            header[2..4].copy_from_slice(&fragment.to_be_bytes());
        }
        (kind, header)
    })
}

/// A transport header, or an ICMP message.
#[derive(Clone, Debug)]
struct UpperDraft {
    port: u16,
    length: usize,
    icmp_type: u8,
    /// The quoted source, or the target of a solicitation, if it is not the destination.
    other: Option<IpAddr>,
    first: u8,
}

impl UpperDraft {
    fn about(&self, protocol: u8, destination: IpAddr) -> Vec<u8> {
        let address = self.other.unwrap_or(destination);
        let mut bytes = match (protocol, self.icmp_type, address) {
            (58, 135, IpAddr::V6(target)) => [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat(),
            (1 | 58, kind, address) => [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &self.quoted(address)].concat(),
            _ => vec![0, 0, (self.port >> 8) as u8, self.port as u8],
        };
        bytes.resize(bytes.len() + self.length, 0);
        bytes
    }

    fn quoted(&self, source: IpAddr) -> Vec<u8> {
        let mut header = vec![0; 40];
        header[0] = self.first;
        match source {
            IpAddr::V4(source) => header[12..16].copy_from_slice(&source.octets()),
            IpAddr::V6(source) => header[8..24].copy_from_slice(&source.octets()),
        }
        header
    }
}

fn any_upper() -> BoxedStrategy<UpperDraft> {
    let icmp_type = prop_oneof![
        4 => prop::sample::select(&[1u8, 2, 3, 4, 11][..]),
        4 => prop::sample::select(&[8u8, 128, 135][..]),
        1 => any::<u8>()
    ];
    let other = prop_oneof![4 => Just(None), 1 => any_vip().prop_map(Some)];
    let first = prop_oneof![4 => Just(0x45u8), 4 => Just(0x60), 1 => any::<u8>()];
    (any_port(), 0usize..36, icmp_type, other, first)
        .prop_map(|(port, length, icmp_type, other, first)| UpperDraft {
            port,
            length,
            icmp_type,
            other,
            first,
        })
        .boxed()
}
