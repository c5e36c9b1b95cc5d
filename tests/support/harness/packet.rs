//! Differential check of the frame parsers against etherparse, an independent parser.
//!
//! Both must read the same fields from an accepted frame, and etherparse must confirm the reason of each refusal.

use super::{fragment, packet_v6};
use directrix::wire::arp::{self, ArpPacket, FRAME_LEN, PACKET_LEN};
use directrix::wire::sctp::SctpEvent;
use directrix::wire::{IpPacket, Malformed, Packet, Protocol, checksum, fast_path};
use etherparse::checksum::Sum16BitWords;
use etherparse::err::packet::SliceError;
use etherparse::{
    ArpHardwareId, ArpPacketSlice, EtherType, Ethernet2Slice, IpNumber, Ipv4Header, Ipv4HeaderSlice,
    LaxSlicedPacket, NetSlice, SingleVlanSlice, SlicedPacket, TransportSlice,
};
use std::net::Ipv4Addr;

const ETHERNET: usize = 14;

/// Checks a [`dressed`] frame.
pub fn check_dressed(input: &[u8]) {
    check(&dressed(input));
}

/// Builds a frame; the first byte selects the method, as random bytes rarely have a valid checksum.
pub fn dressed(input: &[u8]) -> Vec<u8> {
    let Some((&dress, bytes)) = input.split_first() else { return Vec::new() };
    let mut frame = bytes.to_vec();
    if dress & 1 != 0 && frame.len() >= ETHERNET {
        frame[12..14].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
    }
    if dress & 2 != 0 && frame.len() >= ETHERNET + Ipv4Header::MIN_LEN {
        frame[14] = 0x40 | (frame[14] & 0x0f).max(5);
        frame[20] &= if dress & 64 == 0 { 0x40 } else { 0x60 };
        frame[21] = if dress & 64 == 0 { 0 } else { frame[21] & 3 }; // a fragment's offset, in units of 8 bytes
    }
    if dress & 4 != 0 {
        make_checksum_right(&mut frame);
    }
    if dress & 32 != 0 {
        packet_v6::dress(&mut frame, dress & 64 != 0);
    }
    if dress & 8 != 0 && frame.len() >= ETHERNET {
        let tag = |byte: u8| [[0x81, 0x00], [0x88, 0xa8]][usize::from(byte & 1)];
        let (first, second) = (tag(frame[1]), tag(frame[1] >> 1));
        frame.splice(12..12, [first[0], first[1], frame[0] & 0xf0, frame[1] >> 7]);
        if dress & 16 != 0 {
            frame.splice(12..12, [second[0], second[1], frame[2], frame[3]]);
        }
    }
    frame
}

/// Checks one frame.
pub fn check(frame: &[u8]) {
    match Packet::parse(frame) {
        Ok(Packet::V4(packet)) => {
            agrees(&packet, frame);
            ends_with_its_datagram(packet, frame);
        }
        parsed if ethertype(frame) == Some(EtherType::IPV6) => packet_v6::check(parsed, frame),
        Ok(Packet::V6(packet)) => panic!("not IPv6: {packet:?}"),
        Err(reason) => assert!(is_right(reason, frame), "{reason:?}: {frame:02x?}"),
    }
    fragment::check(frame);
    check_fast_path(frame);
    check_checksum(frame);
    check_arp(frame);
}

/// Checks that the fast soundness test is never true where the slow one is false.
fn check_checksum(frame: &[u8]) {
    if let Ok(Packet::V4(packet)) = Packet::parse(frame)
        && fast_path::is_sound(frame)
    {
        assert_ne!(packet.source, packet.destination, "{frame:02x?}");
        assert!(!checksum::is_unfinished(frame), "{frame:02x?}");
    }
}

/// Checks that the fast path parses every plain frame as the slow path does.
fn check_fast_path(frame: &[u8]) {
    let parsed = Packet::parse(frame).ok();
    let plain = frame.len() >= 54 && frame[12..15] == [8, 0, 0x45] && frame[23] != IpNumber::SCTP.0;
    assert_eq!(fast_path::parse(frame).map(Packet::V4), parsed.filter(|_| plain), "{frame:02x?}");
}

/// Writes the valid IPv4 header checksum, if there is a header.
pub fn make_checksum_right(frame: &mut [u8]) {
    let Some(Ok((header, _))) = frame.get(ETHERNET..).map(Ipv4Header::from_slice) else { return };
    frame[24..26].fill(0);
    let sum = Sum16BitWords::new().add_slice(&frame[ETHERNET..ETHERNET + header.header_len()]);
    frame[24..26].copy_from_slice(&sum.ones_complement().to_ne_bytes());
}

fn agrees(packet: &IpPacket<Ipv4Addr>, frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).expect("etherparse accepts it too");
    let lax = LaxSlicedPacket::from_ethernet(frame).expect("it has an Ethernet header");
    assert_eq!((&lax.transport, &lax.stop_err), (&sliced.transport, &None));
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4: {sliced:?}") };
    let header = ip.header();
    assert_eq!(packet.source, header.source_addr());
    assert_eq!(packet.destination, header.destination_addr());
    assert_eq!((packet.bytes, packet.ttl), (header.total_len(), header.ttl()));
    assert!(checksum_holds(&header) && !header.is_fragmenting_payload());
    let (protocol, source, destination, flags) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            (Protocol::Tcp, tcp.source_port(), tcp.destination_port(), tcp.header_slice()[13])
        }
        Some(TransportSlice::Udp(udp)) => (Protocol::Udp, udp.source_port(), udp.destination_port(), 0),
        None if ip.payload_ip_number() == IpNumber::SCTP => {
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
fn ends_with_its_datagram(packet: IpPacket<Ipv4Addr>, frame: &[u8]) {
    let end = ip_at(frame) + usize::from(packet.bytes);
    let padded = [frame, &[0xee; 18]].concat();
    for alike in [&frame[..end], &padded] {
        assert_eq!(Packet::parse(alike), Ok(Packet::V4(packet)));
    }
    assert_eq!(Packet::parse(&frame[..end - 1]), Err(Malformed::Truncated));
}

/// EtherType behind the tags, two at most.
fn ethertype(frame: &[u8]) -> Option<EtherType> {
    let inner = frame.get(ip_at(frame) - 2..)?.first_chunk()?;
    Some(EtherType(u16::from_be_bytes(*inner)))
}

/// Offset of the IP header, behind two tags at most.
pub fn ip_at(frame: &[u8]) -> usize {
    ETHERNET + 4 * tags(frame)
}

/// Number of tags by etherparse, two at most.
fn tags(frame: &[u8]) -> usize {
    let Ok(ethernet) = Ethernet2Slice::from_slice_without_fcs(frame) else { return 0 };
    let is_tag = |kind| matches!(kind, EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING);
    let (mut kind, mut rest, mut count) = (ethernet.ether_type(), ethernet.payload_slice(), 0);
    while count < 2
        && is_tag(kind)
        && let Ok(tag) = SingleVlanSlice::from_slice(rest)
    {
        (kind, rest, count) = (tag.ether_type(), &rest[4..], count + 1);
    }
    count
}

/// True if etherparse confirms the reason of the refusal.
fn is_right(reason: Malformed, frame: &[u8]) -> bool {
    if Ethernet2Slice::from_slice_without_fcs(frame).is_err() {
        return reason == Malformed::Truncated;
    }
    let packet = frame.get(ip_at(frame)..).unwrap_or_default();
    if is_fragment(packet) && ethertype(frame) == Some(EtherType::IPV4) {
        return reason == fragment::reason(packet);
    }
    let whole = SlicedPacket::from_ethernet(frame);
    match (reason, Ipv4HeaderSlice::from_slice(packet)) {
        (Malformed::EtherType, _) => ethertype(frame) != Some(EtherType::IPV4),
        (Malformed::Truncated, _) => matches!(whole, Err(SliceError::Len(_))),
        (Malformed::Header, _) => whole.is_err() || is_udp_of_no_length(&whole) || is_short_sctp(&whole),
        (Malformed::Checksum, Ok(ip)) => !checksum_holds(&ip),
        (Malformed::Protocol, Ok(ip)) => !has_ports(ip.protocol()),
        (Malformed::Quote, _) => false, // of ICMP errors alone
        (Malformed::Extension | Malformed::Fragment | Malformed::TinyFragment, _) | (_, Err(_)) => false,
    }
}

/// Fragment of IPv4 whose header is right.
fn is_fragment(packet: &[u8]) -> bool {
    let Ok(ip) = Ipv4HeaderSlice::from_slice(packet) else { return false };
    let lengths = ip.slice().len()..=packet.len();
    lengths.contains(&ip.total_len().into()) && checksum_holds(&ip) && ip.is_fragmenting_payload()
}

/// etherparse takes a length of 0 as "the rest", which RFC 768 does not have.
pub fn is_udp_of_no_length(whole: &Result<SlicedPacket<'_>, SliceError>) -> bool {
    let Ok(SlicedPacket { transport: Some(TransportSlice::Udp(udp)), .. }) = whole else { return false };
    udp.length() == 0
}

/// True for a protocol of services.
pub fn has_ports(number: IpNumber) -> bool {
    matches!(number, IpNumber::TCP | IpNumber::UDP | IpNumber::SCTP)
}

/// SCTP that ends within the header of its first chunk.
pub fn is_short_sctp(whole: &Result<SlicedPacket<'_>, SliceError>) -> bool {
    let payload = whole.as_ref().ok().and_then(SlicedPacket::ip_payload);
    payload.is_some_and(|payload| payload.ip_number == IpNumber::SCTP && sctp(payload.payload).is_none())
}

/// Ports and event of an SCTP packet (RFC 9260 section 3), which etherparse does not read; `None` if it is too short.
pub fn sctp(packet: &[u8]) -> Option<(u16, u16, u8)> {
    const ABORT: u8 = 6;
    let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let (source, destination, length) = (word(0)?, word(2)?, usize::from(word(14)?));
    let next = if length < 4 { usize::MAX } else { 12 + length + (4 - length % 4) % 4 };
    let aborts = packet.len() >= next.saturating_add(4) && packet[next] == ABORT;
    let event = match packet[12] {
        10 | 11 if aborts => SctpEvent::Abort,
        1 => SctpEvent::Init,
        2 => SctpEvent::InitAck,
        ABORT => SctpEvent::Abort,
        7 => SctpEvent::Shutdown,
        8 => SctpEvent::ShutdownAck,
        9 => SctpEvent::Error,
        10 => SctpEvent::CookieEcho,
        11 => SctpEvent::CookieAck,
        14 => SctpEvent::ShutdownComplete,
        _ => SctpEvent::Data,
    };
    Some((source, destination, event as u8))
}

fn checksum_holds(ip: &Ipv4HeaderSlice<'_>) -> bool {
    Sum16BitWords::new().add_slice(ip.slice()).ones_complement() == 0
}

fn check_arp(frame: &[u8]) {
    let Ok(packet) = ArpPacket::parse(frame) else {
        return assert!(!is_arp(frame), "refused: {frame:02x?}");
    };
    assert!(is_arp(frame), "accepted: {frame:02x?}");
    let mut emitted = [0xee; FRAME_LEN];
    packet.emit(&mut emitted);
    assert_eq!(emitted[..PACKET_LEN], frame[..PACKET_LEN]);
    assert_eq!(emitted[PACKET_LEN..], [0; FRAME_LEN - PACKET_LEN]);
    let arp = ArpPacketSlice::from_slice(&frame[ETHERNET..]).expect("it is ARP");
    assert_eq!(packet.sender_mac.0, arp.sender_hw_addr());
    assert_eq!(packet.sender_ip.octets(), arp.sender_protocol_addr());
    assert_eq!(packet.target_mac.0, arp.target_hw_addr());
    assert_eq!(packet.target_ip.octets(), arp.target_protocol_addr());
    assert_eq!(packet.operation == arp::Operation::Reply, arp.operation().0 == 2);
}

/// ARP by etherparse: a request or reply for IPv4 over Ethernet.
fn is_arp(frame: &[u8]) -> bool {
    let Ok(ethernet) = Ethernet2Slice::from_slice_without_fcs(frame) else { return false };
    let Ok(arp) = ArpPacketSlice::from_slice(ethernet.payload_slice()) else { return false };
    ethernet.ether_type() == EtherType::ARP
        && (arp.hw_addr_type(), arp.proto_addr_type()) == (ArpHardwareId::ETHERNET, EtherType::IPV4)
        && (arp.hw_addr_size(), arp.proto_addr_size()) == (6, 4)
        && matches!(arp.operation().0, 1 | 2)
}
