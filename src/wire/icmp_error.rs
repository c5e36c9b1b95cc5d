//! ICMP errors (RFC 792, RFC 4443), and the packets that they quote.
//!
//! A director receives an error for the VIP when a packet of a real server, which has the VIP as its source, did not
//! reach the client. The quote identifies the connection.

use super::icmp::{HEADER_LEN, ICMP, ICMPV6, kind, kind_v6};
use super::ipv4::{Ipv4, MIN_HEADER_LEN};
use super::ipv6::{Ipv6, Upper};
use super::packet::{IpPacket, Packet};
use super::transport::{PortPair, TcpFlags};
use super::{Malformed, Protocol, checksum, ethernet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of the quoted packet behind its header that every error has (RFC 792).
const QUOTED_MIN: usize = 8;

/// Parses an ICMP error. Arguments as for [`Packet::within`].
///
/// Returns the packet that the client would send on the quoted packet's connection: its source is the quoted
/// destination. Length and time to live are those of the error, and there are no control bits.
///
/// # Errors
/// [`Malformed::Protocol`] for other protocols and other types of ICMP. [`Malformed::Quote`] if the quote has no ports,
/// or a source other than the error's destination. The error's checksum is verified.
pub fn parse(ethertype: u16, payload: &[u8], rest: usize) -> Result<Packet, Malformed> {
    match ethernet::untagged(ethertype, payload).ok_or(Malformed::Truncated)? {
        (ethernet::IPV4, payload) => parse_v4(payload, rest).map(Packet::V4),
        (ethernet::IPV6, payload) => parse_v6(payload, rest).map(Packet::V6),
        _ => Err(Malformed::EtherType),
    }
}

fn parse_v4(bytes: &[u8], rest: usize) -> Result<IpPacket<Ipv4Addr>, Malformed> {
    let ip = Ipv4::beginning(bytes, rest)?;
    if !ip.checksum_holds() {
        return Err(Malformed::Checksum);
    }
    if ip.protocol() != ICMP {
        return Err(Malformed::Protocol);
    }
    if ip.is_fragment() {
        return Err(Malformed::Fragment);
    }
    let quote = quote_v4(ip.payload(), rest)?;
    let packet = reversed_v4(quote, &ip).ok_or(Malformed::Quote)?;
    if packet.destination == ip.destination() { Ok(packet) } else { Err(Malformed::Quote) }
}

/// The quote in an ICMP message.
fn quote_v4(message: &[u8], rest: usize) -> Result<&[u8], Malformed> {
    let (header, quote) = message.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Header)?;
    match header[0] {
        // As IPVS forwards (`ip_vs_in_icmp` in net/netfilter/ipvs/ip_vs_core.c).
        kind::DESTINATION_UNREACHABLE | kind::SOURCE_QUENCH | kind::TIME_EXCEEDED => {}
        _ => return Err(Malformed::Protocol),
    }
    if rest > 0 {
        return Err(Malformed::Quote); // no error is longer than 576 bytes (RFC 1812 section 4.3.2.3)
    }
    if checksum::holds(message) { Ok(quote) } else { Err(Malformed::Checksum) }
}

/// The packet in the other direction. `None` unless the quote has the ports of a protocol of services. The total length
/// of the quoted packet may exceed the quote.
fn reversed_v4(quote: &[u8], error: &Ipv4<'_>) -> Option<IpPacket<Ipv4Addr>> {
    let fixed: &[u8; MIN_HEADER_LEN] = quote.first_chunk()?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    let offset = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff;
    if fixed[0] >> 4 != 4 || header_len < MIN_HEADER_LEN || offset != 0 {
        return None;
    }
    let transport = quote.get(header_len..)?.first_chunk::<QUOTED_MIN>()?;
    let address = |at| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    let PortPair { source, destination } = PortPair::of(transport)?;
    Some(IpPacket {
        source: address(16),
        destination: address(12),
        protocol: Protocol::of(fixed[9])?,
        ports: PortPair { source: destination, destination: source },
        flags: TcpFlags(0),
        bytes: error.total_len(),
        ttl: error.ttl(),
    })
}

fn parse_v6(bytes: &[u8], rest: usize) -> Result<IpPacket<Ipv6Addr>, Malformed> {
    let ip = Ipv6::beginning(bytes, rest)?;
    let upper = ip.upper()?;
    if upper.protocol != ICMPV6 {
        return Err(Malformed::Protocol);
    }
    if upper.is_fragment() {
        return Err(Malformed::Fragment); // as the kernel drops it
    }
    let quote = quote_v6(&ip, &upper, rest)?;
    let packet = reversed_v6(quote, &ip).ok_or(Malformed::Quote)?;
    if packet.destination == ip.destination() { Ok(packet) } else { Err(Malformed::Quote) }
}

/// The quote in an ICMPv6 message.
fn quote_v6<'a>(ip: &Ipv6<'_>, message: &Upper<'a>, rest: usize) -> Result<&'a [u8], Malformed> {
    let (header, quote) = message.payload.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Header)?;
    if header[0] >= kind_v6::FIRST_INFORMATIONAL {
        return Err(Malformed::Protocol);
    }
    if rest > 0 {
        return Err(Malformed::Quote); // no error is longer than 1,280 bytes (RFC 4443 section 3)
    }
    let is_right = checksum::holds_v6((ip.source(), ip.destination()), ICMPV6, message.payload);
    if is_right { Ok(quote) } else { Err(Malformed::Checksum) }
}

/// The packet in the other direction. `None` unless the quote has all extension headers, and the ports of a protocol
/// of services.
fn reversed_v6(quote: &[u8], error: &Ipv6<'_>) -> Option<IpPacket<Ipv6Addr>> {
    let ip = Ipv6::beginning(quote, usize::from(u16::MAX)).ok()?;
    let upper = ip.upper().ok()?;
    if upper.fragment.is_some_and(|fragment| fragment.fields.offset > 0) {
        return None;
    }
    let PortPair { source, destination } = PortPair::of(upper.payload)?;
    Some(IpPacket {
        source: ip.destination(),
        destination: ip.source(),
        protocol: Protocol::of(upper.protocol)?,
        ports: PortPair { source: destination, destination: source },
        flags: TcpFlags(0),
        bytes: error.bytes(),
        ttl: error.hop_limit(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4};

    const VIP: [u8; 4] = [192, 0, 2, 10];
    const CLIENT: [u8; 4] = [198, 51, 100, 7];
    const ROUTER: [u8; 4] = [203, 0, 113, 1];

    fn fragmentation_needed() -> Icmpv4Type {
        let header = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
        Icmpv4Type::DestinationUnreachable(header)
    }

    /// A packet of the VIP's TCP port 80 to the client's port 40000.
    fn answer(payload: usize) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4(VIP, CLIENT, 64).tcp(80, 40_000, 1, 65_535);
        builder.write(&mut packet, &vec![0; payload]).unwrap();
        packet
    }

    /// An error of this type about `quote`, from the IPv4 header on.
    fn error(kind: Icmpv4Type, destination: [u8; 4], quote: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4(ROUTER, destination, 61).icmpv4(kind).write(&mut packet, quote).unwrap();
        packet
    }

    #[test]
    fn a_quote_identifies_the_connection() {
        for quoted in [28, 40, 548] {
            let packet = error(fragmentation_needed(), VIP, &answer(1400)[..quoted]);
            let expected = IpPacket {
                source: CLIENT.into(),
                destination: VIP.into(),
                protocol: Protocol::Tcp,
                ports: PortPair { source: 40_000, destination: 80 },
                flags: TcpFlags(0),
                bytes: 28 + quoted as u16,
                ttl: 61,
            };
            assert_eq!(parse_v4(&packet, 0), Ok(expected));
        }
    }

    #[test]
    fn the_types_of_ipvs_are_errors() {
        let time = Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit);
        let port = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port);
        for kind in [time, port] {
            assert!(parse_v4(&error(kind, VIP, &answer(0)), 0).is_ok(), "an error of IPVS");
        }
        let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 });
        assert_eq!(parse_v4(&error(echo, VIP, &answer(0)), 0), Err(Malformed::Protocol));
        assert_eq!(parse_v4(&answer(0), 0), Err(Malformed::Protocol));
    }

    #[test]
    fn quotes_without_a_connection_are_refused() {
        let changed = |change: fn(&mut Vec<u8>)| {
            let mut quote = answer(64);
            change(&mut quote);
            parse_v4(&error(fragmentation_needed(), VIP, &quote), 0)
        };
        assert!(changed(|_| {}).is_ok());
        assert_eq!(changed(|quote| quote.truncate(27)), Err(Malformed::Quote), "not all eight bytes");
        assert_eq!(changed(|quote| quote[0] = 0x65), Err(Malformed::Quote), "version 6");
        assert_eq!(changed(|quote| quote[0] = 0x44), Err(Malformed::Quote), "header length 16");
        let with_options = changed(|quote| {
            quote[0] = 0x46;
            quote.splice(20..20, [1; 4]);
        });
        assert_eq!(with_options.unwrap().ports, changed(|_| {}).unwrap().ports);
        assert_eq!(changed(|quote| quote[7] = 1), Err(Malformed::Quote), "a later fragment");
        assert_eq!(changed(|quote| quote[9] = 47), Err(Malformed::Quote), "GRE");
        assert_eq!(changed(|quote| quote[15] = 99), Err(Malformed::Quote), "of another address");
    }

    #[test]
    fn damaged_errors_are_refused() {
        let whole = error(fragmentation_needed(), VIP, &answer(64));
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(parse_v4(&damaged, 0), Err(Malformed::Checksum));
        assert_eq!(parse_v4(&whole[..40], 0), Err(Malformed::Truncated));
        for at in 0..whole.len() {
            let _ = parse_v4(&whole[..at], 0);
        }
    }

    const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
    const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);
    const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);

    /// A packet of the VIP's UDP port 53 to the client's port 40000.
    fn answer_v6(payload: usize) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6(VIP6.octets(), CLIENT6.octets(), 64).udp(53, 40_000);
        builder.write(&mut packet, &vec![0; payload]).unwrap();
        packet
    }

    fn error_v6(kind: Icmpv6Type, destination: Ipv6Addr, quote: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6(ROUTER6.octets(), destination.octets(), 61).icmpv6(kind);
        builder.write(&mut packet, quote).unwrap();
        packet
    }

    fn too_big() -> Icmpv6Type {
        Icmpv6Type::PacketTooBig { mtu: 1280 }
    }

    #[test]
    fn an_ipv6_quote_identifies_the_connection() {
        let whole = answer_v6(1400);
        for quoted in [44, 48, 1232] {
            let packet = parse_v6(&error_v6(too_big(), VIP6, &whole[..quoted]), 0).unwrap();
            let expected = IpPacket {
                source: CLIENT6,
                destination: VIP6,
                protocol: Protocol::Udp,
                ports: PortPair { source: 40_000, destination: 53 },
                flags: TcpFlags(0),
                bytes: 48 + quoted as u16,
                ttl: 61,
            };
            assert_eq!(packet, expected);
        }
    }

    #[test]
    fn an_ipv6_quote_may_have_extension_headers() {
        // Destination options of 8 bytes, then a first fragment.
        let mut quote = answer_v6(600);
        quote[6] = 60;
        quote.splice(40..40, [44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9]);
        let packet = parse_v6(&error_v6(too_big(), VIP6, &quote), 0).unwrap();
        assert_eq!((packet.source, packet.ports.source, packet.ports.destination), (CLIENT6, 40_000, 53));
        quote[51] = 9; // offset 8
        assert_eq!(parse_v6(&error_v6(too_big(), VIP6, &quote), 0), Err(Malformed::Quote));
        assert_eq!(parse_v6(&error_v6(too_big(), VIP6, &quote[..50]), 0), Err(Malformed::Quote));
    }

    #[test]
    fn other_ipv6_messages_are_refused() {
        let quote = answer_v6(64);
        let echo = Icmpv6Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 });
        assert_eq!(parse_v6(&error_v6(echo, VIP6, &quote), 0), Err(Malformed::Protocol));
        assert_eq!(parse_v6(&quote, 0), Err(Malformed::Protocol));
        assert_eq!(parse_v6(&error_v6(too_big(), CLIENT6, &quote), 0), Err(Malformed::Quote));
        let whole = error_v6(too_big(), VIP6, &quote);
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(parse_v6(&damaged, 0), Err(Malformed::Checksum));
        for at in 0..whole.len() {
            assert!(parse_v6(&whole[..at], 0).is_err());
        }
    }
}
