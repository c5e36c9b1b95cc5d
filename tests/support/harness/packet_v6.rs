//! Differential check of the parsers of IPv6 frames against etherparse: the same fields, or the same reason.

use super::fragment;
use super::packet::{has_ports, ip_at, is_udp_of_no_length, sctp};
use directrix::wire::{IpPacket, Malformed, Packet, Protocol, checksum, fast_path_v6};
use etherparse::{
    EtherType, IpAuthHeaderSlice, IpNumber, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice,
    NetSlice, SlicedPacket, TransportSlice,
};
use std::net::Ipv6Addr;

const ETHERNET: usize = 14;
const HEADER: usize = 40;
/// Payload length beyond which a packet has more than 65,535 bytes.
const PAYLOAD_MAX: u16 = u16::MAX - HEADER as u16;

/// Turns the bytes behind the MAC addresses into an IPv6 header and a chain of extension headers, which random
/// bytes rarely are. `whole` makes the payload length that of the frame.
pub fn dress(frame: &mut [u8], whole: bool) {
    const NUMBERS: [u8; 9] = [6, 17, 132, 0, 43, 44, 51, 60, 58];
    if frame.len() < ETHERNET + HEADER {
        return;
    }
    frame[12..14].copy_from_slice(&EtherType::IPV6.0.to_be_bytes());
    frame[14] = 0x60 | frame[14] & 0x0f;
    if whole {
        let len = (frame.len() - ETHERNET - HEADER) as u16;
        frame[18..20].copy_from_slice(&len.to_be_bytes());
    }
    let (mut number_at, mut at) = (20, ETHERNET + HEADER);
    while let Some(number) = frame.get_mut(number_at) {
        *number = NUMBERS[usize::from(*number) % NUMBERS.len()];
        let number = *number;
        let Some(header) = frame.get_mut(at..at + 8) else { return };
        number_at = at;
        at += match number {
            44 => {
                header[2] = if header[2] & 1 == 0 { 0 } else { header[2] };
                header[3] &= 9; // an offset of 0 or 8, and the more-fragments flag
                8
            }
            51 => (usize::from(header[1]) + 2) * 4,
            0 | 43 | 60 => {
                header[1] &= 3;
                (usize::from(header[1]) + 1) * 8
            }
            _ => return,
        };
    }
}

/// Checks the parsed `frame`, of EtherType IPv6.
pub fn check(parsed: Result<Packet, Malformed>, frame: &[u8]) {
    assert_eq!(parsed.map(|_| ()), expected(frame), "{frame:02x?}");
    let plain = ip_at(frame) == ETHERNET && matches!(frame.get(20), Some(6 | 17));
    let fast = fast_path_v6::parse(frame);
    assert_eq!(fast.map(Packet::V6), parsed.ok().filter(|_| plain), "{frame:02x?}");
    let Ok(packet) = parsed else { return };
    let Packet::V6(packet) = packet else { panic!("not IPv6: {packet:?}") };
    agrees(&packet, frame);
    ends_with_its_packet(packet, frame);
    if fast_path_v6::is_sound(frame) {
        assert_ne!(packet.source, packet.destination, "{frame:02x?}");
        assert!(!checksum::is_unfinished(frame), "{frame:02x?}");
    }
}

fn agrees(packet: &IpPacket<Ipv6Addr>, frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).expect("etherparse accepts it too");
    let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("no IPv6: {sliced:?}") };
    let header = ip.header();
    assert_eq!((packet.source, packet.destination), (header.source_addr(), header.destination_addr()));
    assert_eq!(usize::from(packet.bytes), usize::from(header.payload_length()) + HEADER);
    assert_eq!(packet.ttl, header.hop_limit());
    let (protocol, source, destination, flags) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            (Protocol::Tcp, tcp.source_port(), tcp.destination_port(), tcp.header_slice()[13])
        }
        Some(TransportSlice::Udp(udp)) => (Protocol::Udp, udp.source_port(), udp.destination_port(), 0),
        None if ip.payload().ip_number == IpNumber::SCTP => {
            let (source, destination, event) = sctp(ip.payload().payload).expect("a whole header");
            (Protocol::Sctp, source, destination, event)
        }
        other => panic!("no protocol of services: {other:?}"),
    };
    assert_eq!(packet.protocol, protocol);
    assert_eq!((packet.ports.source, packet.ports.destination), (source, destination));
    assert_eq!(packet.flags.0, flags);
}

/// Checks that padding changes nothing, and truncation does.
fn ends_with_its_packet(packet: IpPacket<Ipv6Addr>, frame: &[u8]) {
    let end = ip_at(frame) + usize::from(packet.bytes);
    let padded = [frame, &[0xee; 18]].concat();
    for alike in [&frame[..end], &padded] {
        assert_eq!(Packet::parse(alike), Ok(Packet::V6(packet)));
    }
    assert_eq!(Packet::parse(&frame[..end - 1]), Err(Malformed::Truncated));
}

/// Result of the parser by etherparse's views.
fn expected(frame: &[u8]) -> Result<(), Malformed> {
    let bytes = &frame[ip_at(frame)..];
    if bytes.len() < HEADER {
        return Err(Malformed::Truncated);
    }
    let ip = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| Malformed::Header)?;
    let (number, len) = (ip.next_header(), ip.payload_length());
    if len == 0 || len > PAYLOAD_MAX {
        return Err(Malformed::Header);
    }
    let payload = bytes.get(HEADER..HEADER + usize::from(len)).ok_or(Malformed::Truncated)?;
    let chain = Chain::of(number, payload)?;
    if chain.fragment.is_some_and(|fragment| fragment.offset > 0 || fragment.more) {
        return Err(fragment::reason(bytes));
    }
    if !has_ports(chain.number) {
        return Err(Malformed::Protocol);
    }
    let short = chain.number == IpNumber::SCTP && sctp(chain.rest).is_none();
    let whole = SlicedPacket::from_ethernet(frame);
    if short || whole.is_err() || is_udp_of_no_length(&whole) { Err(Malformed::Header) } else { Ok(()) }
}

/// Extension headers, and what is behind them.
pub struct Chain<'a> {
    /// Number of the first header behind them.
    pub number: IpNumber,
    /// From that header on.
    pub rest: &'a [u8],
    pub fragment: Option<FragmentSeen>,
}

/// Fragment header.
#[derive(Clone, Copy)]
pub struct FragmentSeen {
    pub next_header: IpNumber,
    /// In units of 8 bytes.
    pub offset: u16,
    pub more: bool,
    pub identification: u32,
    /// Bytes behind it.
    pub len: usize,
}

impl<'a> Chain<'a> {
    /// By etherparse's views of single headers: its view of a chain goes on behind the header of a later
    /// fragment, and its lax iterator reads outside of a chain that begins with an error.
    pub fn of(mut number: IpNumber, mut rest: &'a [u8]) -> Result<Self, Malformed> {
        let (mut count, mut len, mut fragment) = (0, 0, None);
        while let Some((bytes, fields)) = header(number, rest)? {
            let is_right = match number {
                IpNumber::IPV6_HEADER_HOP_BY_HOP => count == 0,
                IpNumber::IPV6_ROUTE_HEADER => bytes[2] != 0 && bytes[3] == 0,
                IpNumber::IPV6_FRAGMENTATION_HEADER => fragment.is_none(),
                _ => true,
            };
            (count, len) = (count + 1, len + bytes.len());
            if !is_right || count > 8 || len > 256 {
                return Err(Malformed::Extension);
            }
            fragment = fragment.or(fields);
            (number, rest) = (IpNumber(bytes[0]), &rest[bytes.len()..]);
            if fragment.is_some_and(|fragment| fragment.offset > 0) {
                break;
            }
        }
        Ok(Self { number, rest, fragment })
    }
}

/// Bytes of an extension header, and the fields of a fragment header.
type Header<'a> = (&'a [u8], Option<FragmentSeen>);

/// The extension header `number` at the beginning of `rest`; `None` for another header.
fn header(number: IpNumber, rest: &[u8]) -> Result<Option<Header<'_>>, Malformed> {
    let bytes = match number {
        IpNumber::IPV6_HEADER_HOP_BY_HOP
        | IpNumber::IPV6_ROUTE_HEADER
        | IpNumber::IPV6_DESTINATION_OPTIONS => {
            Ipv6RawExtHeaderSlice::from_slice(rest).map(|header| (header.slice().len(), None)).ok()
        }
        IpNumber::IPV6_FRAGMENTATION_HEADER => Ipv6FragmentHeaderSlice::from_slice(rest)
            .map(|header| (8, Some(seen(&header, rest.len() - 8))))
            .ok(),
        IpNumber::AUTHENTICATION_HEADER => {
            IpAuthHeaderSlice::from_slice(rest).map(|header| (header.slice().len(), None)).ok()
        }
        _ => return Ok(None),
    };
    let (len, fragment) = bytes.ok_or(Malformed::Extension)?;
    Ok(Some((&rest[..len], fragment)))
}

fn seen(header: &Ipv6FragmentHeaderSlice<'_>, len: usize) -> FragmentSeen {
    FragmentSeen {
        next_header: header.next_header(),
        offset: header.fragment_offset().value(),
        more: header.more_fragments(),
        identification: header.identification(),
        len,
    }
}
