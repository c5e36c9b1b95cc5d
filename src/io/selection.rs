//! Naive model of the frames that belong to services, for the tests of the programs that select them.

mod frames;

pub(in crate::io) use frames::{any_frame, any_service};

use super::steered::SteeredService;
use crate::wire::vlan::Vlans;
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
