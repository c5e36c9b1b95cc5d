//! Differential check of the parsers of ICMP errors and echo requests, and of echo replies, against etherparse.

use super::packet::{has_ports, ip_at};
use super::packet_v6::Chain;
use directrix::wire::echo::EchoRequest;
use directrix::wire::{Packet, ethernet, icmp_error};
use etherparse::checksum::Sum16BitWords;
use etherparse::{
    EtherType, Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice,
};
use std::net::IpAddr;

const ETHERNET: usize = 14;

/// Builds a frame; the bits of the first byte make fields right, which random bytes rarely are.
pub fn check_dressed(input: &[u8]) {
    let Some((&dress, bytes)) = input.split_first() else { return };
    let mut frame = bytes.to_vec();
    if dress & 1 == 0 {
        dress_v4(&mut frame, dress)
    } else {
        dress_v6(&mut frame, dress)
    }
    if dress & 16 != 0 && frame.len() >= ETHERNET {
        frame.splice(12..12, [0x81, 0x00, 0xa0, 0]);
    }
    check(&frame);
}

fn dress_v4(frame: &mut [u8], dress: u8) {
    const TYPES: [u8; 8] = [8, 0, 3, 4, 11, 5, 3, 8];
    if frame.len() < ETHERNET + 28 {
        return;
    }
    frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    let len = (frame.len() - ETHERNET) as u16;
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    (frame[20], frame[21], frame[23]) = (frame[20] & 0x40, 0, 1);
    frame[34] = TYPES[usize::from(frame[34] & 7)];
    frame[35] &= 3;
    if dress & 2 != 0 && frame.len() >= 70 {
        frame[42] = 0x40 | (frame[42] & 7).max(5);
        (frame[48], frame[49], frame[51]) =
            (frame[48] & 0x60, frame[49] & dress & 1, [6, 17][usize::from(dress >> 7)]);
        frame.copy_within(30..34, 54);
    }
    if dress & 12 != 12 {
        let sum = |bytes: &[u8]| Sum16BitWords::new().add_slice(bytes).ones_complement().to_ne_bytes();
        frame[24..26].fill(0);
        let header = sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&header);
        frame[36..38].fill(0);
        let message = sum(&frame[34..]);
        frame[36..38].copy_from_slice(&message);
    }
}

fn dress_v6(frame: &mut [u8], dress: u8) {
    const TYPES: [u8; 8] = [128, 129, 1, 2, 3, 4, 2, 128];
    const NUMBERS: [u8; 8] = [6, 17, 6, 17, 44, 60, 0, 43];
    if frame.len() < ETHERNET + 48 {
        return;
    }
    frame[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
    let len = (frame.len() - ETHERNET - 40) as u16;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame[20] = 58;
    frame[54] = TYPES[usize::from(frame[54] & 7)];
    frame[55] &= 3;
    if dress & 2 != 0 && frame.len() >= 110 {
        frame[62] = 0x60;
        frame[66] &= 5;
        frame[68] = NUMBERS[usize::from(frame[68] & 7)];
        frame.copy_within(38..54, 70);
        frame[102] = NUMBERS[usize::from(frame[102] & 3)];
        frame[103] &= 1;
    }
    if dress & 12 != 12 {
        frame[56..58].fill(0);
        let sum = Sum16BitWords::new().add_slice(&frame[22..54]).add_slice(&frame[54..]);
        let sum = sum.add_2bytes(len.to_be_bytes()).add_2bytes([0, 58]).ones_complement();
        frame[56..58].copy_from_slice(&sum.to_ne_bytes());
    }
}

/// Checks one frame.
pub fn check(frame: &[u8]) {
    let seen = frame.get(ip_at(frame)..).and_then(|packet| {
        let ethertype = EtherType(u16::from_be_bytes([frame[ip_at(frame) - 2], frame[ip_at(frame) - 1]]));
        match ethertype {
            EtherType::IPV4 => Message::v4(packet),
            EtherType::IPV6 => Message::v6(packet),
            _ => None,
        }
    });
    check_echo(frame, seen.as_ref());
    check_error(frame, seen.as_ref());
}

/// Message with right checksums, in a whole packet.
struct Message<'a> {
    source: IpAddr,
    destination: IpAddr,
    /// From the ICMP header on.
    bytes: &'a [u8],
    /// Nothing is between IP and ICMP header.
    is_plain: bool,
    len: usize,
    ttl: u8,
}

impl<'a> Message<'a> {
    fn v4(packet: &'a [u8]) -> Option<Self> {
        let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
        let bytes = packet.get(ip.slice().len()..usize::from(ip.total_len()))?;
        let is_whole = !ip.is_fragmenting_payload() && ip.protocol() == IpNumber::ICMP;
        let holds = |bytes| Sum16BitWords::new().add_slice(bytes).ones_complement() == 0;
        Icmpv4Slice::from_slice(bytes).ok().filter(|_| is_whole && holds(ip.slice()) && holds(bytes))?;
        Some(Self {
            source: ip.source_addr().into(),
            destination: ip.destination_addr().into(),
            bytes,
            is_plain: ip.slice().len() == 20,
            len: ip.total_len().into(),
            ttl: ip.ttl(),
        })
    }

    fn v6(packet: &'a [u8]) -> Option<Self> {
        let ip = Ipv6HeaderSlice::from_slice(packet).ok().filter(|ip| ip.payload_length() > 0)?;
        let len = 40 + usize::from(ip.payload_length());
        let chain = Chain::of(ip.next_header(), packet.get(40..len)?).ok().filter(|_| len <= 65_535)?;
        let is_whole = !chain.fragment.is_some_and(|fragment| fragment.offset > 0 || fragment.more);
        let icmp = Icmpv6Slice::from_slice(chain.rest).ok()?;
        let is_right = is_whole && chain.number == IpNumber::IPV6_ICMP;
        (is_right && icmp.is_checksum_valid(ip.source(), ip.destination())).then_some(Self {
            source: ip.source_addr().into(),
            destination: ip.destination_addr().into(),
            bytes: chain.rest,
            is_plain: chain.rest.len() + 40 == len,
            len,
            ttl: ip.hop_limit(),
        })
    }

    fn is_request(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => {
                let icmp = Icmpv4Slice::from_slice(self.bytes).expect("parsed before");
                matches!(icmp.icmp_type(), Icmpv4Type::EchoRequest(_))
            }
            IpAddr::V6(_) => {
                let icmp = Icmpv6Slice::from_slice(self.bytes).expect("parsed before");
                matches!(icmp.icmp_type(), Icmpv6Type::EchoRequest(_))
            }
        }
    }

    /// Protocol, client, and the ports of client and VIP, if this is an error about a packet of its destination.
    fn quoted(&self) -> Option<(u8, IpAddr, u16, u16)> {
        let quote = &self.bytes[8..];
        let (number, source, destination, transport) = match self.source {
            IpAddr::V4(_) => {
                let ip = Ipv4HeaderSlice::from_slice(quote).ok()?;
                let transport = quote.get(ip.slice().len()..).filter(|transport| transport.len() >= 8)?;
                let is_first = ip.fragments_offset().value() == 0;
                let is_error = matches!(self.bytes[0], 3 | 4 | 11) && is_first;
                let ends = (IpAddr::from(ip.source_addr()), IpAddr::from(ip.destination_addr()));
                is_error.then_some((ip.protocol(), ends.0, ends.1, transport))?
            }
            IpAddr::V6(_) => {
                let ip = Ipv6HeaderSlice::from_slice(quote).ok()?;
                let len = usize::from(ip.payload_length());
                let end = quote.len().min(40 + len);
                let chain = Chain::of(ip.next_header(), &quote[40..end]).ok()?;
                let is_first = chain.fragment.is_none_or(|fragment| fragment.offset == 0);
                let is_error = self.bytes[0] < 128 && is_first && len > 0 && len <= 65_495;
                let ends = (IpAddr::from(ip.source_addr()), IpAddr::from(ip.destination_addr()));
                is_error.then_some((chain.number, ends.0, ends.1, chain.rest))?
            }
        };
        let [a, b, c, d] = *transport.first_chunk()?;
        let is_known = has_ports(number) && source == self.destination;
        is_known.then_some((number.0, destination, u16::from_be_bytes([c, d]), u16::from_be_bytes([a, b])))
    }
}

fn check_error(frame: &[u8], seen: Option<&Message<'_>>) {
    let parsed = ethernet::split(frame)
        .and_then(|(header, payload)| icmp_error::parse(header.ethertype(), payload, 0).ok());
    let parsed = parsed.map(|packet| match packet {
        Packet::V4(packet) => {
            let ends = (IpAddr::from(packet.source), IpAddr::from(packet.destination));
            (ends, packet.protocol, packet.ports, usize::from(packet.bytes), packet.ttl)
        }
        Packet::V6(packet) => {
            let ends = (IpAddr::from(packet.source), IpAddr::from(packet.destination));
            (ends, packet.protocol, packet.ports, usize::from(packet.bytes), packet.ttl)
        }
    });
    let parsed = parsed.map(|(ends, protocol, ports, len, ttl)| {
        (ends, (protocol as u8, ports.source, ports.destination), len, ttl)
    });
    let expected = seen.and_then(|seen| {
        let (number, client, client_port, port) = seen.quoted()?;
        Some(((client, seen.destination), (number, client_port, port), seen.len, seen.ttl))
    });
    assert_eq!(parsed, expected, "{frame:02x?}");
}

fn check_echo(frame: &[u8], seen: Option<&Message<'_>>) {
    let parsed = EchoRequest::parse(frame);
    let is_host = |address: IpAddr| match address {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => !(address.is_multicast() || address.is_loopback() || address.is_unspecified()),
    };
    let expected = seen.filter(|seen| {
        let are_hosts = is_host(seen.source) && is_host(seen.destination) && seen.source != seen.destination;
        seen.is_request() && seen.is_plain && are_hosts
    });
    assert_eq!(
        parsed.ok().map(|request| (request.source, request.destination)),
        expected.map(|seen| (seen.source, seen.destination)),
        "{parsed:?}: {frame:02x?}"
    );
    let (Ok(request), Some(seen)) = (parsed, expected) else { return };
    let mut buffer = frame.to_vec();
    let reply = request.reply(&mut buffer).expect("the frame of the request");
    assert_eq!((&reply[..6], &reply[6..12]), (&frame[6..12], &frame[..6]));
    assert_eq!(reply[12..ip_at(frame)], frame[12..ip_at(frame)]);
    let packet = &reply[ip_at(frame)..];
    let answer = if seen.source.is_ipv4() { Message::v4(packet) } else { Message::v6(packet) };
    let answer = answer.expect("checksums are right");
    assert_eq!((answer.source, answer.destination), (seen.destination, seen.source));
    assert_eq!((answer.ttl, answer.len), (64, seen.len));
    assert_eq!(answer.bytes[0], if seen.source.is_ipv4() { 0 } else { 129 });
    assert_eq!(answer.bytes[4..], seen.bytes[4..]);
}
