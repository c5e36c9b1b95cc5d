//! Check of the answers to refused packets: etherparse reads them, and they go back to the sender.

use super::packet::{dressed, ip_at};
use directrix::io::HEAD_MAX;
use directrix::wire::answer::{ANSWER_MAX, Answer, write};
use directrix::wire::{Packet, Protocol};
use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::net::IpAddr;

/// Longest answer without its Ethernet header (RFC 1812 section 4.3.2.3).
const PACKET_MAX: usize = 576;
const TCP_RST: u8 = 4;

/// Builds a frame as the parser's check does, and checks all answers to it.
pub fn check_dressed(input: &[u8]) {
    check(&dressed(input));
}

/// Checks all answers to one frame.
pub fn check(frame: &[u8]) {
    let head = &frame[..frame.len().min(HEAD_MAX)];
    let mtu = u32::from(head.first().copied().unwrap_or_default()) * 8;
    for kind in [Answer::PortUnreachable, Answer::TimeExceeded, Answer::Reset, Answer::TooBig { mtu }] {
        let mut buffer = [0xee; ANSWER_MAX];
        let written = write(kind, head, &mut buffer);
        if let Some(written) = written {
            is_right(&buffer[..written.len], head, written.kind == Answer::Reset);
            assert!(written.kind != Answer::Reset || !is_reset(frame), "{frame:02x?}");
            let is_whole =
                written.len <= ANSWER_MAX && buffer[written.len..].iter().all(|byte| *byte == 0xee);
            assert!(is_whole, "{written:?}: {frame:02x?}");
        } else if kind == Answer::TimeExceeded {
            assert!(!is_from_a_client(frame), "no answer: {frame:02x?}");
        }
    }
}

/// True for a packet of a service from a host.
fn is_from_a_client(frame: &[u8]) -> bool {
    match Packet::parse(frame) {
        Ok(Packet::V4(packet)) => {
            let source = packet.source.octets()[0];
            packet.source != packet.destination && source != 0 && source != 127 && source < 224
        }
        Ok(Packet::V6(packet)) => {
            let source = packet.source;
            let is_special = source.is_multicast() || source.is_unspecified() || source.is_loopback();
            !is_special && source.to_ipv4_mapped().is_none() && source != packet.destination
        }
        Err(_) => false,
    }
}

fn is_right(answer: &[u8], head: &[u8], is_reset: bool) {
    assert_eq!((&answer[..6], &answer[6..12]), (&head[6..12], &head[..6]));
    let at = ip_at(head);
    assert_eq!(answer[12..at], head[12..at], "tags");
    assert!(answer.len() - at <= PACKET_MAX);
    let seen = SlicedPacket::from_ethernet(answer).unwrap_or_else(|error| panic!("{error}: {answer:02x?}"));
    let (ends, ttl) = match seen.net.as_ref().expect("an IP header") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(Sum16BitWords::new().add_slice(header.slice()).ones_complement(), 0, "{answer:02x?}");
            assert_eq!(usize::from(header.total_len()), answer.len() - at);
            ([IpAddr::from(header.source_addr()), header.destination_addr().into()], header.ttl())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!(usize::from(header.payload_length()), answer.len() - at - 40);
            ([IpAddr::from(header.source_addr()), header.destination_addr().into()], header.hop_limit())
        }
        NetSlice::Arp(_) => panic!("an answer by ARP: {answer:02x?}"),
    };
    let [source, destination] = ends_of(&head[at..]);
    assert_eq!((ends, ttl), ([destination, source], 64));
    assert!(!destination_is_group(ends[1]), "{answer:02x?}");
    match seen.transport.expect("a header behind IP's") {
        TransportSlice::Tcp(tcp) if is_reset => {
            assert!(tcp.rst() && tcp.payload().is_empty());
            assert_eq!(sum(ends, Protocol::TCP, tcp.slice()), 0, "{answer:02x?}");
        }
        TransportSlice::Icmpv4(icmp) if !is_reset => {
            assert_eq!(Sum16BitWords::new().add_slice(icmp.slice()).ones_complement(), 0, "{answer:02x?}");
            quotes(&icmp.slice()[8..], &head[at..]);
        }
        TransportSlice::Icmpv6(icmp) if !is_reset => {
            assert_eq!(sum(ends, 58, icmp.slice()), 0, "{answer:02x?}");
            quotes(&icmp.slice()[8..], &head[at..]);
        }
        other => panic!("another answer: {other:?}"),
    }
}

/// Checks that the answer quotes the beginning of a packet that may be answered.
fn quotes(quoted: &[u8], packet: &[u8]) {
    assert!(quoted.len() >= 20 && packet.starts_with(quoted), "{quoted:02x?} of {packet:02x?}");
    let is_icmp = packet[0] >> 4 == 4 && packet[9] == 1;
    let is_later = packet[0] >> 4 == 4 && u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff != 0;
    assert!(!is_icmp && !is_later, "{packet:02x?}");
}

fn destination_is_group(address: IpAddr) -> bool {
    address.is_multicast() || address.is_unspecified() || address == IpAddr::from([255; 4])
}

/// Source and destination in an IP header.
fn ends_of(packet: &[u8]) -> [IpAddr; 2] {
    if packet[0] >> 4 == 4 {
        [12, 16].map(|at| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).expect("four bytes")))
    } else {
        [8, 24].map(|at| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).expect("sixteen bytes")))
    }
}

/// The checksum with the pseudo-header, 0 if it is right.
fn sum(ends: [IpAddr; 2], protocol: u8, message: &[u8]) -> u16 {
    let words = ends.into_iter().fold(Sum16BitWords::new(), |mut words, end| match end {
        IpAddr::V4(end) => words.add_4bytes(end.octets()),
        IpAddr::V6(end) => words.add_16bytes(end.octets()),
    });
    let words = words.add_2bytes((message.len() as u16).to_be_bytes()).add_2bytes([0, protocol]);
    words.add_slice(message).ones_complement()
}

/// True for a TCP reset.
fn is_reset(frame: &[u8]) -> bool {
    SlicedPacket::from_ethernet(frame).is_ok_and(
        |seen| matches!(seen.transport, Some(TransportSlice::Tcp(tcp)) if tcp.slice()[13] & TCP_RST != 0),
    )
}
