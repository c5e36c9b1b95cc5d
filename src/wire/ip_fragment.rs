//! Parser of fragments, for frames that [`Packet::parse`](super::Packet::parse) refuses as
//! [`Malformed::Fragment`].
//!
//! Fragments are not reassembled: the first one has the ports, and the others have its addresses and
//! identification.

use super::ethernet;
use super::fragment::FragmentFields;
use super::ipv4::Ipv4;
use super::ipv6::{self, Fragmented, Ipv6, Upper};
use super::sctp;
use super::transport;
use super::transport_header::TransportHeader;
use super::{Malformed, Protocol};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Offset of a second fragment that would overwrite a TCP header from its control bits on, or the header of SCTP's
/// first chunk, in bytes.
const OVERWRITING_OFFSET: u16 = 8;

/// Fragment of an IPv4 or IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// IPv4.
    V4(IpFragment<Ipv4Addr>),
    /// IPv6.
    V6(IpFragment<Ipv6Addr>),
}

/// Fields of a fragment, with addresses of type `A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpFragment<A> {
    /// Source address: the client.
    pub source: A,
    /// Destination address: the VIP, if the packet is for a service.
    pub destination: A,
    /// Protocol number of the IPv4 header, or next header of the fragment header: alike in all fragments of a
    /// packet, but that of an extension header if IPv6 has one behind the fragment header.
    pub number: u8,
    /// Identification: alike in all fragments of a packet; at most 65,535 in IPv4.
    pub identification: u32,
    /// First or later one.
    pub part: FragmentPart,
    /// More fragments follow.
    pub more: bool,
    /// Length in bytes from the IP header on.
    pub bytes: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

/// Part of its packet that a fragment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentPart {
    /// The beginning, with the whole transport header.
    First(TransportHeader),
    /// Bytes from this offset of the fragmented part on.
    Later(u16),
}

impl Fragment {
    /// Parses an Ethernet frame; `None` for a whole packet, an atomic fragment included.
    ///
    /// # Errors
    /// The reason of the outermost header that is wrong.
    pub fn parse(frame: &[u8]) -> Result<Option<Self>, Malformed> {
        let (header, payload) = ethernet::split(frame).ok_or(Malformed::Truncated)?;
        Self::within(header.ethertype(), payload, 0)
    }

    /// Parses `payload`, which follows an Ethernet header with `ethertype`: a priority tag or the packet.
    /// Another `rest` bytes, without headers, belong to it. `None` for a whole packet.
    ///
    /// # Errors
    /// As [`Fragment::parse`].
    pub fn within(ethertype: u16, payload: &[u8], rest: usize) -> Result<Option<Self>, Malformed> {
        Ok(match ethernet::untagged(ethertype, payload).ok_or(Malformed::Truncated)? {
            (ethernet::IPV4, payload) => IpFragment::<Ipv4Addr>::parse(payload, rest)?.map(Self::V4),
            (ethernet::IPV6, payload) => IpFragment::<Ipv6Addr>::parse(payload, rest)?.map(Self::V6),
            _ => return Err(Malformed::EtherType),
        })
    }
}

impl Fragment {
    /// Length in bytes from the IP header on.
    #[must_use]
    pub fn bytes(&self) -> u16 {
        match self {
            Self::V4(fragment) => fragment.bytes,
            Self::V6(fragment) => fragment.bytes,
        }
    }

    /// Time to live, or hop limit.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        match self {
            Self::V4(fragment) => fragment.ttl,
            Self::V6(fragment) => fragment.ttl,
        }
    }
}

impl IpFragment<Ipv4Addr> {
    fn parse(bytes: &[u8], rest: usize) -> Result<Option<Self>, Malformed> {
        let ip = Ipv4::beginning(bytes, rest)?;
        if !ip.checksum_holds() {
            return Err(Malformed::Checksum);
        }
        if ip.is_fragment() { Self::of(&ip).map(Some) } else { Ok(None) }
    }

    /// Fields of a fragment whose header checksum is right.
    pub(super) fn of(ip: &Ipv4<'_>) -> Result<Self, Malformed> {
        let fields = ip.fragment();
        if !fields.fits(ip.payload_len(), ip.header_len()) {
            return Err(Malformed::Header);
        }
        header_len(ip.protocol())?;
        let part = part_of(fields, ip.protocol(), ip.payload())?;
        let FragmentFields { more, identification, .. } = fields;
        let (source, destination, number) = (ip.source(), ip.destination(), ip.protocol());
        let (bytes, ttl) = (ip.total_len(), ip.ttl());
        Ok(Self { source, destination, number, identification, part, more, bytes, ttl })
    }
}

impl IpFragment<Ipv6Addr> {
    fn parse(bytes: &[u8], rest: usize) -> Result<Option<Self>, Malformed> {
        let ip = Ipv6::beginning(bytes, rest)?;
        let upper = ip.upper()?;
        if upper.is_fragment() { Self::of(&ip, &upper).map(Some) } else { Ok(None) }
    }

    /// Fields of a fragment; [`Malformed::Header`] if it has no fragment header.
    pub(super) fn of(ip: &Ipv6<'_>, upper: &Upper<'_>) -> Result<Self, Malformed> {
        let Fragmented { fields, next_header, len } = upper.fragment.ok_or(Malformed::Header)?;
        // The whole packet keeps the headers before the fragment header, and its payload length counts them.
        let unfragmented = usize::from(ip.bytes()) - ipv6::HEADER_LEN - FRAGMENT_HEADER - len;
        if !fields.fits(len, unfragmented) {
            return Err(Malformed::Header);
        }
        if !ipv6::is_extension(upper.protocol) {
            header_len(upper.protocol)?;
        }
        let part = part_of(fields, upper.protocol, upper.payload)?;
        let FragmentFields { more, identification, .. } = fields;
        let (source, destination, number) = (ip.source(), ip.destination(), next_header);
        let (bytes, ttl) = (ip.bytes(), ip.hop_limit());
        Ok(Self { source, destination, number, identification, part, more, bytes, ttl })
    }
}

/// Length of IPv6's fragment header in bytes.
const FRAGMENT_HEADER: usize = 8;

/// Part of a fragment whose headers end before `payload`; `number` is the next protocol's.
fn part_of(fields: FragmentFields, number: u8, payload: &[u8]) -> Result<FragmentPart, Malformed> {
    if fields.offset > 0 {
        let overwrites =
            matches!(number, Protocol::TCP | Protocol::SCTP) && fields.offset == OVERWRITING_OFFSET;
        return if overwrites {
            Err(Malformed::TinyFragment)
        } else {
            Ok(FragmentPart::Later(fields.offset))
        };
    }
    if payload.len() < header_len(number)? {
        return Err(Malformed::TinyFragment);
    }
    // A UDP length is that of the whole datagram.
    TransportHeader::parse(number, payload, usize::from(u16::MAX)).map(FragmentPart::First)
}

/// Length of a transport header without options, for SCTP with the header of the first chunk. No service has another
/// protocol than these.
fn header_len(number: u8) -> Result<usize, Malformed> {
    match number {
        Protocol::TCP => Ok(transport::TCP_MIN_HEADER_LEN),
        Protocol::UDP => Ok(transport::UDP_HEADER_LEN),
        Protocol::SCTP => Ok(sctp::COMMON_HEADER_LEN + sctp::CHUNK_HEADER_LEN),
        _ => Err(Malformed::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::transport::{PortPair, TcpFlags};
    use crate::wire::{IpPacket, Packet};
    use etherparse::{Ipv4Header, Ipv6FragmentHeader, Ipv6Header, PacketBuilder};

    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const DESTINATION_OPTIONS: u8 = 60;
    const CLIENT: [u8; 4] = [198, 51, 100, 7];
    const VIP: [u8; 4] = [192, 0, 2, 1];
    const CLIENT_V6: [u8; 16] = [0x20; 16];
    const VIP_V6: [u8; 16] = [0x21; 16];

    /// Transport header and 100 bytes of payload.
    fn segment(number: u8) -> Vec<u8> {
        let (mut frame, builder) =
            (Vec::new(), PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(CLIENT, VIP, 64));
        match number {
            TCP => builder.tcp(40_000, 80, 1, 65_535).syn().write(&mut frame, &[0x5a; 100]).unwrap(),
            _ => builder.udp(40_000, 53).write(&mut frame, &[0x5a; 100]).unwrap(),
        }
        frame.split_off(34)
    }

    /// IPv4 fragment; `offset` in bytes.
    fn v4(number: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
        let mut ip = Ipv4Header::new(payload.len() as u16, 64, number.into(), CLIENT, VIP).unwrap();
        (ip.identification, ip.more_fragments, ip.dont_fragment) = (0xbeef, more, false);
        ip.fragment_offset = (offset / 8).try_into().unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        [&[2; 12], &[8, 0][..], &ip.to_bytes(), payload].concat()
    }

    /// IPv6 fragment; `offset` in bytes.
    fn v6(number: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
        let header =
            Ipv6FragmentHeader::new(number.into(), (offset / 8).try_into().unwrap(), more, 0xdead_beef);
        let ip = Ipv6Header {
            payload_length: 8 + payload.len() as u16,
            next_header: 44.into(),
            hop_limit: 64,
            source: CLIENT_V6,
            destination: VIP_V6,
            ..Ipv6Header::default()
        };
        [&[2; 12], &[0x86, 0xdd][..], &ip.to_bytes(), &header.to_bytes(), payload].concat()
    }

    type Builder = fn(u8, u16, bool, &[u8]) -> Vec<u8>;
    const BOTH: [Builder; 2] = [v4, v6];

    /// The part, after a check of the fields that do not differ.
    fn part(frame: &[u8], more: bool) -> Result<FragmentPart, Malformed> {
        let fragment = Fragment::parse(frame);
        assert_eq!(Packet::parse(frame), Err(fragment.err().unwrap_or(Malformed::Fragment)));
        match fragment?.expect("not whole") {
            Fragment::V4(fragment) => {
                assert_eq!((fragment.source.octets(), fragment.destination.octets()), (CLIENT, VIP));
                assert_eq!((fragment.identification, fragment.more, fragment.ttl), (0xbeef, more, 64));
                assert_eq!(usize::from(fragment.bytes), frame.len() - 14);
                Ok(fragment.part)
            }
            Fragment::V6(fragment) => {
                assert_eq!((fragment.source.octets(), fragment.destination.octets()), (CLIENT_V6, VIP_V6));
                assert_eq!((fragment.identification, fragment.more, fragment.ttl), (0xdead_beef, more, 64));
                assert_eq!(usize::from(fragment.bytes), frame.len() - 14);
                Ok(fragment.part)
            }
        }
    }

    fn first(protocol: Protocol, destination: u16, flags: u8) -> FragmentPart {
        let ports = PortPair { source: 40_000, destination };
        FragmentPart::First(TransportHeader { protocol, ports, flags: TcpFlags(flags) })
    }

    #[test]
    fn a_first_fragment_has_the_ports() {
        for fragment in BOTH {
            let syn = first(Protocol::Tcp, 80, TcpFlags::SYN);
            assert_eq!(part(&fragment(TCP, 0, true, &segment(TCP)[..64]), true), Ok(syn));
            let udp = first(Protocol::Udp, 53, 0);
            assert_eq!(part(&fragment(UDP, 0, true, &segment(UDP)[..8]), true), Ok(udp));
        }
    }

    #[test]
    fn a_later_fragment_has_its_offset() {
        for fragment in BOTH {
            assert_eq!(part(&fragment(UDP, 8, true, &[1; 16]), true), Ok(FragmentPart::Later(8)));
            assert_eq!(part(&fragment(TCP, 64, false, &[1; 5]), false), Ok(FragmentPart::Later(64)));
            assert_eq!(part(&fragment(UDP, 65_000, false, &[1; 1]), false), Ok(FragmentPart::Later(65_000)));
        }
    }

    #[test]
    fn a_first_fragment_stands_for_its_packet() {
        let Ok(Some(Fragment::V6(fragment))) = Fragment::parse(&v6(TCP, 0, true, &segment(TCP)[..24])) else {
            panic!("a fragment")
        };
        let packet = IpPacket::of_first(&fragment).unwrap();
        assert_eq!((packet.ports.destination, packet.flags), (80, TcpFlags(TcpFlags::SYN)));
        assert_eq!((packet.protocol, packet.bytes, packet.ttl), (Protocol::Tcp, 72, 64));
        let Ok(Some(Fragment::V6(later))) = Fragment::parse(&v6(TCP, 24, true, &[0; 8])) else {
            panic!("a fragment")
        };
        assert_eq!(IpPacket::of_first(&later), None);
    }

    #[test]
    fn tiny_fragments_are_refused() {
        for fragment in BOTH {
            let tiny = Err(Malformed::TinyFragment);
            assert_eq!(part(&fragment(TCP, 0, true, &segment(TCP)[..16]), true), tiny);
            assert_eq!(part(&fragment(TCP, 8, false, &[1; 40]), false), tiny, "it would overwrite the flags");
        }
        // Eight bytes of UDP are its whole header, and the least that IPv4 fragments have.
        assert_eq!(part(&v4(TCP, 0, true, &segment(TCP)[..8]), true), Err(Malformed::TinyFragment));
    }

    #[test]
    fn contradictory_fragments_are_refused() {
        for fragment in BOTH {
            let wrong = Err(Malformed::Header);
            assert_eq!(
                part(&fragment(UDP, 0, true, &segment(UDP)[..13]), true),
                wrong,
                "not a multiple of 8"
            );
            assert_eq!(part(&fragment(UDP, 65_528, false, &[1; 8]), false), wrong, "beyond 65,535 bytes");
            assert_eq!(part(&fragment(UDP, 64, false, &[]), false), wrong, "empty");
            let mut offset = segment(TCP);
            offset[12] = 0xf0;
            assert_eq!(part(&fragment(TCP, 0, true, &offset[..40]), true), wrong, "the header goes on");
            assert_eq!(part(&fragment(1, 64, false, &[1; 8]), false), Err(Malformed::Protocol));
            assert_eq!(part(&fragment(1, 0, true, &[1; 8]), true), Err(Malformed::Protocol));
        }
        let mut frame = v4(UDP, 64, true, &[0; 8]);
        frame[24] ^= 1;
        assert_eq!(Fragment::parse(&frame), Err(Malformed::Checksum));
    }

    #[test]
    fn headers_behind_the_fragment_header_are_in_the_first() {
        let options = [&[TCP, 0, 1, 4, 0, 0, 0, 0], &segment(TCP)[..24]].concat();
        let frame = v6(DESTINATION_OPTIONS, 0, true, &options);
        let Ok(Some(Fragment::V6(fragment))) = Fragment::parse(&frame) else { panic!("a fragment") };
        assert_eq!(fragment.number, DESTINATION_OPTIONS, "as in the later ones");
        assert_eq!(fragment.part, first(Protocol::Tcp, 80, TcpFlags::SYN));
        let later = v6(DESTINATION_OPTIONS, 32, false, &[1; 9]);
        assert_eq!(part(&later, false), Ok(FragmentPart::Later(32)));
        let without = v6(DESTINATION_OPTIONS, 0, true, &[TCP, 1, 1, 4, 0, 0, 0, 0]);
        assert_eq!(Fragment::parse(&without), Err(Malformed::Extension), "RFC 7112");
    }

    #[test]
    fn whole_packets_are_no_fragments() {
        assert_eq!(Fragment::parse(&v4(TCP, 0, false, &segment(TCP))), Ok(None));
        let atomic = v6(TCP, 0, false, &segment(TCP));
        assert_eq!(Fragment::parse(&atomic), Ok(None));
        assert!(matches!(Packet::parse(&atomic), Ok(Packet::V6(packet)) if packet.ports.destination == 80));
    }

    #[test]
    fn a_priority_tag_is_skipped() {
        let frame = v6(UDP, 8, false, &[1; 16]);
        let tagged = [&frame[..12], &[0x81, 0, 0xa0, 0], &frame[12..]].concat();
        assert_eq!(Fragment::parse(&tagged), Fragment::parse(&frame));
        assert_eq!(Fragment::parse(&tagged[..16]), Err(Malformed::Truncated));
    }
}
