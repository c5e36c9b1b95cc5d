//! Answers of the director to the sender of a refused packet: ICMP errors (RFC 792, RFC 4443) and TCP resets
//! (RFC 9293 section 3.10.7.1).
//!
//! They come from the VIP, as IPVS's do: a client accepts no error from another address, and filters at the border of
//! a network drop a private one.

use super::checksum;
use super::ethernet;
use super::ipv4::{self, Ipv4};
use super::ipv6::{self, Ipv6};
use super::protocol::Protocol;
use super::transport::{self, PortPair, TcpFlags};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest answer in bytes: Ethernet header with tag, and the IPv4 minimum datagram, which no error exceeds.
pub const ANSWER_MAX: usize = ethernet::HEADER_LEN + ethernet::TAG_LEN + 576;

/// Time to live and hop limit of an answer.
const TTL: u8 = 64;
/// Length of an ICMP header in bytes.
const ICMP_LEN: usize = 8;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// "Don't fragment": the identification need not be unique (RFC 6864 section 4.1).
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// Bits of the fragment offset in an IPv4 header.
const OFFSET: u16 = 0x1fff;

/// Content of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ICMP "port unreachable".
    PortUnreachable,
    /// ICMP "time exceeded in transit".
    TimeExceeded,
    /// TCP reset, and "port unreachable" for other protocols.
    Reset,
}

/// RefusedPacket packet, as far as an answer needs it.
struct RefusedPacket<'a> {
    /// Ethernet header, with tag.
    link: &'a [u8],
    /// The packet from its IP header on, or its first part.
    packet: &'a [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// First part of the payload.
    payload: &'a [u8],
    /// Length of the whole payload.
    payload_len: usize,
}

/// Writes the answer to the frame that begins with `head` to `answer`. Returns its length in bytes.
///
/// `None` for packets that must not be answered (RFC 1122 section 3.2.2, RFC 4443 section 2.4): those from an
/// address of no single host or from their own destination, later fragments, resets (for [`Answer::Reset`]), and other protocols than TCP and
/// UDP, ICMP errors among them.
#[must_use]
pub fn write(kind: Answer, head: &[u8], answer: &mut [u8; ANSWER_MAX]) -> Option<usize> {
    let refused = RefusedPacket::parse(head)?;
    let (link, packet) = answer.split_at_mut(refused.link.len());
    write_link(refused.link, link);
    let protocol = Protocol::of(refused.protocol)?;
    let len = match kind {
        Answer::Reset if protocol == Protocol::Tcp => refused.write_reset(packet)?,
        Answer::PortUnreachable | Answer::Reset => refused.write_error(packet, (3, 3), (1, 4)),
        Answer::TimeExceeded => refused.write_error(packet, (11, 0), (3, 0)),
    };
    Some(refused.link.len() + len)
}

/// The same header, in the other direction.
fn write_link(received: &[u8], link: &mut [u8]) {
    link.copy_from_slice(received);
    link[..6].copy_from_slice(&received[6..12]);
    link[6..12].copy_from_slice(&received[..6]);
}

impl<'a> RefusedPacket<'a> {
    fn parse(head: &'a [u8]) -> Option<Self> {
        let (header, payload) = ethernet::split(head)?;
        let (ethertype, packet) = ethernet::untagged(header.ethertype(), payload)?;
        let link = &head[..head.len() - packet.len()];
        match ethertype {
            ethernet::IPV4 => Self::parse_v4(link, packet),
            ethernet::IPV6 => Self::parse_v6(link, packet),
            _ => None,
        }
    }

    fn parse_v4(link: &'a [u8], packet: &'a [u8]) -> Option<Self> {
        let ip = Ipv4::beginning(packet, usize::from(u16::MAX)).ok()?;
        let (source, destination) = (ip.source(), ip.destination());
        let is_later = u16::from_be_bytes([packet[6], packet[7]]) & OFFSET != 0;
        let is_host = matches!(source.octets()[0], 1..=126 | 128..=223) && source != destination;
        if !is_host || is_later {
            return None;
        }
        Some(Self {
            link,
            packet: &packet[..packet.len().min(ip.total_len().into())],
            source: source.into(),
            destination: destination.into(),
            protocol: ip.protocol(),
            payload: ip.payload(),
            payload_len: ip.payload_len(),
        })
    }

    fn parse_v6(link: &'a [u8], packet: &'a [u8]) -> Option<Self> {
        let ip = Ipv6::beginning(packet, usize::from(u16::MAX)).ok()?;
        let upper = ip.upper().ok()?;
        let (source, destination) = (ip.source(), ip.destination());
        let is_later = upper.fragment.is_some_and(|fragment| fragment.fields.offset > 0);
        let is_special = source.is_multicast() || source.is_unspecified() || source.is_loopback();
        if is_special || source.to_ipv4_mapped().is_some() || source == destination || is_later {
            return None;
        }
        Some(Self {
            link,
            packet: &packet[..packet.len().min(ip.bytes().into())],
            source: source.into(),
            destination: destination.into(),
            protocol: upper.protocol,
            payload: upper.payload,
            payload_len: upper.payload_len,
        })
    }

    /// Writes an ICMP error of this type and code, by family.
    fn write_error(&self, packet: &mut [u8], v4: (u8, u8), v6: (u8, u8)) -> usize {
        let ((kind, code), protocol) = if self.source.is_ipv4() { (v4, ICMP) } else { (v6, ICMPV6) };
        let at = self.header_len();
        let quoted = self.packet.len().min(576 - at - ICMP_LEN);
        let (header, message) = packet.split_at_mut(at);
        let message = &mut message[..ICMP_LEN + quoted];
        message[..ICMP_LEN].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
        message[ICMP_LEN..].copy_from_slice(&self.packet[..quoted]);
        self.write_header(header, protocol, message.len());
        let pseudo_header = if protocol == ICMPV6 { self.pseudo_header(ICMPV6, message.len()) } else { 0 };
        let sum = checksum::complement(checksum::sum(message) + pseudo_header);
        message[2..4].copy_from_slice(&sum);
        at + message.len()
    }

    /// Writes a reset; `None` for a segment that is one, or has no whole header.
    fn write_reset(&self, packet: &mut [u8]) -> Option<usize> {
        let segment: &[u8; transport::TCP_MIN_HEADER_LEN] = self.payload.first_chunk()?;
        let flags = TcpFlags(segment[13]);
        if flags.any(TcpFlags::RST) {
            return None;
        }
        let at = self.header_len();
        let (header, reset) = packet.split_at_mut(at);
        let reset = &mut reset[..transport::TCP_MIN_HEADER_LEN];
        let PortPair { source, destination } = PortPair::of(segment)?;
        let (sequence, acknowledged) = self.reset_numbers(segment, flags);
        let control = if flags.any(TcpFlags::ACK) { TcpFlags::RST } else { TcpFlags::RST | TcpFlags::ACK };
        reset[..2].copy_from_slice(&destination.to_be_bytes());
        reset[2..4].copy_from_slice(&source.to_be_bytes());
        reset[4..8].copy_from_slice(&sequence.to_be_bytes());
        reset[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        reset[12..].copy_from_slice(&[5 << 4, control, 0, 0, 0, 0, 0, 0]);
        self.write_header(header, Protocol::TCP, reset.len());
        let sum = checksum::sum(reset) + self.pseudo_header(Protocol::TCP, reset.len());
        reset[transport::TCP_CHECKSUM..][..2].copy_from_slice(&checksum::complement(sum));
        Some(at + reset.len())
    }

    /// Sequence and acknowledgment number of the reset.
    fn reset_numbers(&self, segment: &[u8; transport::TCP_MIN_HEADER_LEN], flags: TcpFlags) -> (u32, u32) {
        let number =
            |at: usize| u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
        if flags.any(TcpFlags::ACK) {
            return (number(8), 0);
        }
        let data = self.payload_len.saturating_sub(usize::from(segment[12] >> 4) * 4) as u32; // below 64 KiB
        let controls = u32::from(flags.any(TcpFlags::SYN)) + u32::from(flags.any(TcpFlags::FIN));
        (0, number(4).wrapping_add(data + controls))
    }

    /// Length of the answer's IP header.
    fn header_len(&self) -> usize {
        if self.source.is_ipv4() { ipv4::MIN_HEADER_LEN } else { ipv6::HEADER_LEN }
    }

    /// Writes the IP header of an answer with a payload of `len` bytes.
    fn write_header(&self, header: &mut [u8], protocol: u8, len: usize) {
        match (self.destination, self.source) {
            (IpAddr::V4(from), IpAddr::V4(to)) => write_v4(header, protocol, len, [from, to]),
            (IpAddr::V6(from), IpAddr::V6(to)) => write_v6(header, protocol, len, [from, to]),
            _ => unreachable!("a packet has addresses of one family"),
        }
    }

    /// Sum of the pseudo-header of an answer with a payload of `len` bytes.
    fn pseudo_header(&self, protocol: u8, len: usize) -> u64 {
        let of = |address: IpAddr| match address {
            IpAddr::V4(address) => checksum::sum(&address.octets()),
            IpAddr::V6(address) => checksum::sum(&address.octets()),
        };
        let others = [u16::from(protocol), len as u16].map(|word| u64::from(word.to_be())); // below 576 bytes
        of(self.source) + of(self.destination) + others[0] + others[1]
    }
}

fn write_v4(header: &mut [u8], protocol: u8, len: usize, [from, to]: [Ipv4Addr; 2]) {
    let total = (ipv4::MIN_HEADER_LEN + len) as u16; // at most 576
    header[..2].copy_from_slice(&[0x45, 0]);
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[4..6].fill(0);
    header[6..8].copy_from_slice(&DONT_FRAGMENT);
    header[8..12].copy_from_slice(&[TTL, protocol, 0, 0]);
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = checksum::complement(checksum::sum(header));
    header[10..12].copy_from_slice(&sum);
}

fn write_v6(header: &mut [u8], protocol: u8, len: usize, [from, to]: [Ipv6Addr; 2]) {
    header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    header[4..6].copy_from_slice(&(len as u16).to_be_bytes()); // at most 576
    header[6..8].copy_from_slice(&[protocol, TTL]);
    header[8..24].copy_from_slice(&from.octets());
    header[24..40].copy_from_slice(&to.octets());
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{
        Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice, icmpv4,
        icmpv6,
    };

    const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
    const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0xd];

    fn segment(v6: bool, adjust: impl FnOnce(&mut TcpHeader), payload: &[u8]) -> Vec<u8> {
        let mut header = TcpHeader::new(40_000, 80, 1000, 65_535);
        adjust(&mut header);
        let ethernet = PacketBuilder::ethernet2(ROUTER, OWN);
        let mut frame = Vec::new();
        if v6 {
            let builder = ethernet.ipv6(CLIENT6.octets(), VIP6.octets(), 64).tcp_header(header);
            builder.write(&mut frame, payload).unwrap();
        } else {
            let builder = ethernet.ipv4(CLIENT.octets(), VIP.octets(), 64).tcp_header(header);
            builder.write(&mut frame, payload).unwrap();
        }
        frame
    }

    fn answered(kind: Answer, head: &[u8]) -> Option<Vec<u8>> {
        let mut answer = [0xee; ANSWER_MAX];
        write(kind, head, &mut answer).map(|len| answer[..len].to_vec())
    }

    /// Parses an answer with etherparse: checks addresses and checksums. Returns the transport part.
    fn checked<T>(answer: &[u8], read: impl FnOnce(TransportSlice<'_>) -> T) -> T {
        let sliced = SlicedPacket::from_ethernet(answer).unwrap();
        assert_eq!((&answer[..6], &answer[6..12]), (&ROUTER[..], &OWN[..]));
        let transport = sliced.transport.unwrap();
        match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                assert_eq!((header.source, header.destination), (VIP.octets(), CLIENT.octets()));
                assert_eq!(header.time_to_live, 64);
                if let TransportSlice::Tcp(tcp) = &transport {
                    assert_eq!(
                        tcp.checksum(),
                        tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap()
                    );
                }
                if let TransportSlice::Icmpv4(icmp) = &transport {
                    assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
                }
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                assert_eq!((header.source, header.destination), (VIP6.octets(), CLIENT6.octets()));
                if let TransportSlice::Tcp(tcp) = &transport {
                    assert_eq!(
                        tcp.checksum(),
                        tcp.to_header().calc_checksum_ipv6(&header, tcp.payload()).unwrap()
                    );
                }
                if let TransportSlice::Icmpv6(icmp) = &transport {
                    assert!(icmp.is_checksum_valid(header.source, header.destination));
                }
            }
            NetSlice::Arp(_) => panic!("an IP packet"),
        }
        read(transport)
    }

    #[test]
    fn a_port_is_unreachable() {
        let syn = segment(false, |tcp| tcp.syn = true, b"");
        let answer = answered(Answer::PortUnreachable, &syn).unwrap();
        checked(&answer, |transport| {
            let TransportSlice::Icmpv4(icmp) = transport else { panic!("ICMP") };
            let port = icmpv4::DestUnreachableHeader::Port;
            assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(port));
            assert_eq!(icmp.payload(), &syn[14..]);
        });
        let syn = segment(true, |tcp| tcp.syn = true, b"");
        let answer = answered(Answer::PortUnreachable, &syn).unwrap();
        checked(&answer, |transport| {
            let TransportSlice::Icmpv6(icmp) = transport else { panic!("ICMPv6") };
            assert_eq!(
                icmp.icmp_type(),
                Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port)
            );
            assert_eq!(icmp.payload(), &syn[14..]);
        });
    }

    #[test]
    fn the_time_is_exceeded() {
        for v6 in [false, true] {
            let answer = answered(Answer::TimeExceeded, &segment(v6, |_| {}, b"data")).unwrap();
            checked(&answer, |transport| match transport {
                TransportSlice::Icmpv4(icmp) => {
                    let code = icmpv4::TimeExceededCode::TtlExceededInTransit;
                    assert_eq!(icmp.icmp_type(), Icmpv4Type::TimeExceeded(code));
                }
                TransportSlice::Icmpv6(icmp) => {
                    let code = icmpv6::TimeExceededCode::HopLimitExceeded;
                    assert_eq!(icmp.icmp_type(), Icmpv6Type::TimeExceeded(code));
                }
                other => panic!("{other:?}"),
            });
        }
    }

    #[test]
    fn a_reset_acknowledges_what_has_no_acknowledgment() {
        for v6 in [false, true] {
            let reset = |adjust: fn(&mut TcpHeader), payload: &[u8]| {
                let answer = answered(Answer::Reset, &segment(v6, adjust, payload)).unwrap();
                checked(&answer, |transport| {
                    let TransportSlice::Tcp(tcp) = transport else { panic!("TCP") };
                    assert_eq!((tcp.source_port(), tcp.destination_port()), (80, 40_000));
                    assert!(tcp.rst() && !tcp.syn() && !tcp.fin());
                    (tcp.sequence_number(), tcp.ack(), tcp.acknowledgment_number())
                })
            };
            assert_eq!(reset(|tcp| tcp.syn = true, b""), (0, true, 1001));
            assert_eq!(reset(|tcp| (tcp.syn, tcp.fin) = (true, true), b"four"), (0, true, 1006));
            let acknowledging = |tcp: &mut TcpHeader| (tcp.ack, tcp.acknowledgment_number) = (true, 777);
            assert_eq!(reset(acknowledging, b"data"), (777, false, 0));
        }
        assert_eq!(answered(Answer::Reset, &segment(false, |tcp| tcp.rst = true, b"")), None);
    }

    #[test]
    fn other_protocols_get_an_icmp_error_instead_of_a_reset() {
        let mut datagram = Vec::new();
        let ethernet = PacketBuilder::ethernet2(ROUTER, OWN);
        let builder = ethernet.ipv4(CLIENT.octets(), VIP.octets(), 64).udp(40_000, 53);
        builder.write(&mut datagram, &[7; 1000]).unwrap();
        let answer = answered(Answer::Reset, &datagram[..256]).unwrap();
        checked(&answer, |transport| {
            let TransportSlice::Icmpv4(icmp) = transport else { panic!("ICMP") };
            assert_eq!(icmp.payload(), &datagram[14..256], "as much as there is of it");
        });
        let answer = answered(Answer::PortUnreachable, &datagram).unwrap();
        assert_eq!(answer.len(), 14 + 576, "and no more than the minimum datagram");
    }

    #[test]
    fn a_priority_tag_is_kept() {
        let syn = segment(false, |tcp| tcp.syn = true, b"");
        let tagged = [&syn[..12], &[0x81, 0, 0xa0, 0], &syn[12..]].concat();
        let answer = answered(Answer::Reset, &tagged).unwrap();
        assert_eq!(answer[12..18], [0x81, 0, 0xa0, 0, 8, 0]);
        let untagged = [&answer[..12], &answer[16..]].concat();
        assert_eq!(Some(untagged), answered(Answer::Reset, &syn));
    }

    #[test]
    fn packets_that_must_not_be_answered_are_not() {
        let good = segment(false, |tcp| tcp.syn = true, b"");
        let edit = |at: usize, bytes: &[u8]| {
            let mut frame = good.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            answered(Answer::PortUnreachable, &frame)
        };
        assert!(edit(26, &[198]).is_some());
        assert_eq!(edit(26, &[224, 0, 0, 1]), None, "from a multicast address");
        assert_eq!(edit(26, &[255; 4]), None, "from the broadcast address");
        assert_eq!(edit(26, &[0; 4]), None, "from no address");
        assert_eq!(edit(20, &[0, 1]), None, "a later fragment");
        assert_eq!(edit(23, &[1]), None, "ICMP");
        assert_eq!(edit(12, &[8, 6]), None, "ARP");
        for at in 0..good.len() {
            let _ = answered(Answer::Reset, &good[..at]);
        }
    }
}
