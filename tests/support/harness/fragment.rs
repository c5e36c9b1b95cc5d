//! Differential check of the parser of fragments against etherparse.

use super::packet::{has_ports, ip_at, sctp};
use super::packet_v6::Chain;
use directrix::wire::transport_header::TransportHeader;
use directrix::wire::{Fragment, FragmentPart, IpFragment, Malformed, Packet};
use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, TcpSlice, UdpHeaderSlice};
use std::net::IpAddr;

/// Fragment as etherparse reads it.
struct Seen<'a> {
    ends: (IpAddr, IpAddr),
    number: IpNumber,
    identification: u32,
    /// In bytes.
    offset: usize,
    more: bool,
    /// Bytes of the fragmented part.
    len: usize,
    /// Bytes that the whole packet has before that.
    before: usize,
    /// Number of the header at the beginning of `payload`.
    upper: IpNumber,
    payload: &'a [u8],
    bytes: usize,
    ttl: u8,
}

/// Checks one frame.
pub fn check(frame: &[u8]) {
    let fragment = Fragment::parse(frame);
    match Packet::parse(frame) {
        Ok(_) => assert_eq!(fragment, Ok(None), "{frame:02x?}"),
        Err(Malformed::Fragment) => {
            let seen = seen(&frame[ip_at(frame)..]);
            let part = expected(&seen).expect("etherparse accepts it too");
            match fragment {
                Ok(Some(Fragment::V4(fragment))) => agrees(&fragment, &seen, part),
                Ok(Some(Fragment::V6(fragment))) => agrees(&fragment, &seen, part),
                _ => panic!("{fragment:?}: {frame:02x?}"),
            }
        }
        // Of a whole packet only the transport header is wrong.
        Err(Malformed::Protocol | Malformed::Header) if fragment == Ok(None) => {}
        Err(reason) => assert_eq!(fragment, Err(reason), "{frame:02x?}"),
    }
}

/// Result of the packet parser for the fragment `packet`, whose headers up to the fragment header are right.
pub fn reason(packet: &[u8]) -> Malformed {
    expected(&seen(packet)).err().unwrap_or(Malformed::Fragment)
}

fn agrees<A: Copy + Into<IpAddr>>(fragment: &IpFragment<A>, seen: &Seen<'_>, part: Option<(u16, u16, u8)>) {
    assert_eq!((fragment.source.into(), fragment.destination.into()), seen.ends);
    assert_eq!((fragment.number, fragment.identification), (seen.number.0, seen.identification));
    assert_eq!((usize::from(fragment.bytes), fragment.ttl, fragment.more), (seen.bytes, seen.ttl, seen.more));
    let expected = match fragment.part {
        FragmentPart::First(TransportHeader { protocol, ports, flags }) => {
            assert_eq!(IpNumber(protocol as u8), seen.upper);
            Some((ports.source, ports.destination, flags.0))
        }
        FragmentPart::Later(offset) => {
            assert_eq!(usize::from(offset), seen.offset);
            None
        }
    };
    assert_eq!(part, expected);
}

/// Ports and control bits of a first fragment, or the reason against the fragment.
fn expected(seen: &Seen<'_>) -> Result<Option<(u16, u16, u8)>, Malformed> {
    let is_even = !seen.more || seen.len.is_multiple_of(8);
    if seen.len == 0 || !is_even || seen.before + seen.offset + seen.len > 65_535 {
        return Err(Malformed::Header);
    }
    let is_transport = has_ports(seen.upper);
    if seen.offset > 0 {
        let is_known =
            is_transport || (seen.ends.0.is_ipv6() && matches!(seen.upper.0, 0 | 43 | 44 | 51 | 60));
        return match (seen.upper, seen.offset) {
            _ if !is_known => Err(Malformed::Protocol),
            (IpNumber::TCP | IpNumber::SCTP, 8) => Err(Malformed::TinyFragment),
            _ => Ok(None),
        };
    }
    match seen.upper {
        IpNumber::TCP if seen.payload.len() < 20 => Err(Malformed::TinyFragment),
        IpNumber::UDP if seen.payload.len() < 8 => Err(Malformed::TinyFragment),
        IpNumber::SCTP => Ok(Some(sctp(seen.payload).ok_or(Malformed::TinyFragment)?)),
        IpNumber::TCP => {
            let tcp = TcpSlice::from_slice(seen.payload).map_err(|_| Malformed::Header)?;
            Ok(Some((tcp.source_port(), tcp.destination_port(), tcp.header_slice()[13])))
        }
        IpNumber::UDP => {
            let udp = UdpHeaderSlice::from_slice(seen.payload).map_err(|_| Malformed::Header)?;
            let ports = (udp.source_port(), udp.destination_port(), 0);
            if udp.length() < 8 { Err(Malformed::Header) } else { Ok(Some(ports)) }
        }
        _ => Err(Malformed::Protocol),
    }
}

fn seen(packet: &[u8]) -> Seen<'_> {
    if packet[0] >> 4 == 6 { seen_v6(packet) } else { seen_v4(packet) }
}

fn seen_v4(packet: &[u8]) -> Seen<'_> {
    let ip = Ipv4HeaderSlice::from_slice(packet).expect("an IPv4 header");
    let before = ip.slice().len();
    let payload = &packet[before..usize::from(ip.total_len())];
    Seen {
        ends: (ip.source_addr().into(), ip.destination_addr().into()),
        number: ip.protocol(),
        identification: ip.identification().into(),
        offset: usize::from(ip.fragments_offset().value()) * 8,
        more: ip.more_fragments(),
        len: payload.len(),
        before,
        upper: ip.protocol(),
        payload,
        bytes: ip.total_len().into(),
        ttl: ip.ttl(),
    }
}

fn seen_v6(packet: &[u8]) -> Seen<'_> {
    let ip = Ipv6HeaderSlice::from_slice(packet).expect("an IPv6 header");
    let bytes = 40 + usize::from(ip.payload_length());
    let chain = Chain::of(ip.next_header(), &packet[40..bytes]).expect("its chain is right");
    let fragment = chain.fragment.expect("it is a fragment");
    Seen {
        ends: (ip.source_addr().into(), ip.destination_addr().into()),
        number: fragment.next_header,
        identification: fragment.identification,
        offset: usize::from(fragment.offset) * 8,
        more: fragment.more,
        len: fragment.len,
        before: bytes - 48 - fragment.len,
        upper: chain.number,
        payload: chain.rest,
        bytes,
        ttl: ip.hop_limit(),
    }
}
