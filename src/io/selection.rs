//! Naive model of the frames that belong to services, and random frames, for the tests of the programs that
//! select them.

use crate::model::ServiceAddress;
use crate::wire::Protocol;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// MAC address of the interface in these frames.
pub(in crate::io) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Kind of a packet for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// With its destination port.
    Whole(u16),
    /// A fragment.
    Fragment,
}

/// What a frame shows of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    vip: IpAddr,
    /// None in a fragment that does not tell.
    protocol: Option<u8>,
    part: Part,
}

/// True if `frame`, as the interface receives it, is for one of `services`, or a fragment that may be.
pub(in crate::io) fn is_wanted(services: &[ServiceAddress], frame: &[u8]) -> bool {
    sight(frame).is_some_and(|sight| services.iter().any(|service| matches(service, sight)))
}

fn matches(service: &ServiceAddress, Sight { vip, protocol, part }: Sight) -> bool {
    service.address.ip() == vip
        && protocol.is_none_or(|protocol| protocol == service.protocol as u8)
        && match part {
            Part::Whole(port) => service.is_wildcard() || service.address.port() == port,
            Part::Fragment => true,
        }
}

fn sight(frame: &[u8]) -> Option<Sight> {
    if frame.get(..6)? != OWN_MAC {
        return None;
    }
    match (word(frame, 12)?, frame.get(14..)?) {
        (0x8100, rest) if word(rest, 0)? & 0xfff == 0 => packet(word(rest, 2)?, rest.get(4..)?),
        // The programs read four bytes behind the header in one go.
        (ethertype, rest) if rest.len() >= 4 => packet(ethertype, rest),
        _ => None,
    }
}

fn packet(ethertype: u16, ip: &[u8]) -> Option<Sight> {
    match (ethertype, ip.first()? >> 4) {
        (0x0800, 4) => ipv4(ip),
        (0x86dd, 6) => ipv6(ip),
        _ => None,
    }
}

fn ipv4(ip: &[u8]) -> Option<Sight> {
    let fixed: &[u8; 20] = ip.first_chunk()?;
    let vip = Ipv4Addr::from(*fixed.last_chunk::<4>()?).into();
    let header = usize::from(fixed[0] & 0xf) * 4;
    if header < 20 || !has_ports(fixed[9]) {
        return None;
    }
    let protocol = Some(fixed[9]);
    let is_fragment = word(ip, 6)? & 0x3fff != 0;
    let part = if is_fragment { Part::Fragment } else { Part::Whole(destination_port(ip.get(header..)?)?) };
    Some(Sight { vip, protocol, part })
}

fn ipv6(ip: &[u8]) -> Option<Sight> {
    let fixed: &[u8; 40] = ip.first_chunk()?;
    let vip = Ipv6Addr::from(*fixed.last_chunk::<16>()?).into();
    let (mut next, mut rest) = (fixed[6], &ip[40..]);
    let chain = rest.len();
    for _ in 0..=8 {
        if has_ports(next) {
            return Some(Sight { vip, protocol: Some(next), part: Part::Whole(destination_port(rest)?) });
        }
        let header: [u8; 8] = *rest.first_chunk()?;
        let length = extension_length(next, header[1])?;
        if next == 44 && word(&header, 2)? & 0xfff9 != 0 {
            let protocol = has_ports(header[0]).then_some(header[0]);
            protocol.map_or_else(|| extension_length(header[0], 0).map(drop), |_| Some(()))?;
            return Some(Sight { vip, protocol, part: Part::Fragment });
        }
        (next, rest) = (header[0], rest.get(length..)?);
        if chain - rest.len() > 256 {
            return None;
        }
    }
    None
}

fn has_ports(protocol: u8) -> bool {
    [6, 17].contains(&protocol)
}

fn extension_length(kind: u8, length: u8) -> Option<usize> {
    match kind {
        0 | 43 | 60 => Some((usize::from(length) + 1) * 8),
        51 => Some((usize::from(length) + 2) * 4),
        44 => Some(8),
        _ => None,
    }
}

fn destination_port(transport: &[u8]) -> Option<u16> {
    word(transport, 2)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Services of few values, so that frames meet them often; neighbours, so that searches go astray.
pub(in crate::io) fn any_service() -> impl Strategy<Value = ServiceAddress> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    (protocol, any_vip(), any_port())
        .prop_map(|(protocol, vip, port)| ServiceAddress { protocol, address: SocketAddr::new(vip, port) })
}

fn any_vip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![vip_v4().prop_map(IpAddr::V4), vip_v6().prop_map(IpAddr::V6)]
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
    let tag = prop_oneof![15 => Just(None), 2 => Just(Some(0xa000)), 1 => Just(Some(0xa007u16))];
    let cut = prop_oneof![4 => Just(usize::MAX), 1 => 14usize..160];
    (packet, mac, ethertype, tag, cut).prop_map(|((own, ip), mac, other, tag, cut)| {
        let mut frame = [mac, [2, 0, 0, 0, 0, 9]].concat();
        if let Some(tag) = tag {
            frame.extend([[0x81, 0x00], tag.to_be_bytes()].concat());
        }
        frame.extend(other.unwrap_or(own).to_be_bytes());
        frame.extend(ip);
        frame.truncate(cut);
        frame
    })
}

fn any_protocol() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(6), 4 => Just(17), 1 => Just(1), 1 => Just(58), 1 => Just(132), 1 => any::<u8>()]
}

fn any_ipv4() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![8 => Just(0x45u8), 4 => 0x40u8..0x50, 1 => any::<u8>()];
    let fragment = prop_oneof![4 => Just(0x4000u16), 1 => Just(0), 1 => any::<u16>()];
    (first, fragment, any_protocol(), vip_v4(), any_transport()).prop_map(
        |(first, fragment, protocol, vip, transport)| {
            let mut ip = vec![0; (usize::from(first & 0xf) * 4).max(20)];
            ip[0] = first;
            ip[6..8].copy_from_slice(&fragment.to_be_bytes());
            ip[9] = protocol;
            ip[16..20].copy_from_slice(&vip.octets());
            ip.extend(transport);
            ip
        },
    )
}

fn any_ipv6() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![15 => Just(0x60u8), 1 => any::<u8>()];
    let few = prop::collection::vec(any_extension(), 0..3);
    let many = prop::collection::vec(any_extension(), 3..11);
    let chain = prop_oneof![4 => Just(Vec::new()), 4 => few, 2 => many];
    (first, vip_v6(), chain, any_protocol(), any_transport()).prop_map(
        |(first, vip, chain, protocol, transport)| {
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
            ip.extend(transport);
            ip
        },
    )
}

/// An extension header and its type. Few are as long as they say they are not.
fn any_extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let kind = prop_oneof![4 => Just(0u8), 4 => Just(43), 4 => Just(60), 4 => Just(51), 4 => Just(44), 1 => Just(50)];
    let units = prop_oneof![6 => Just(0u8), 3 => 1u8..5, 1 => 5u8..40];
    let fragment = prop_oneof![Just(0u16), Just(6), Just(1), Just(0x0100), any::<u16>()];
    (kind, units, fragment).prop_map(|(kind, units, fragment)| {
        let mut header = vec![0; extension_length(kind, units).unwrap_or(8)];
        header[1] = units;
        if kind == 44 {
            header[2..4].copy_from_slice(&fragment.to_be_bytes());
        }
        (kind, header)
    })
}

fn any_transport() -> impl Strategy<Value = Vec<u8>> {
    (any_port(), 4usize..40).prop_map(|(port, length)| {
        let mut transport = vec![0; length];
        transport[2..4].copy_from_slice(&port.to_be_bytes());
        transport
    })
}
