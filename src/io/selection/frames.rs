//! Random services and frames.

use super::{OWN_MAC, extension_length};
use crate::io::steered::SteeredService;
use crate::model::PortRange;
use crate::wire::Protocol;
use crate::wire::vlan::Vlans;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
