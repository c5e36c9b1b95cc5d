//! Frame that a router on the segment must send back: an ICMP echo request (RFC 792) from one of its neighbors to an address
//! of that same neighbor.
//!
//! The router looks up the MAC address of the destination, as for any packet to it. The frame comes back only if that is
//! the sender's. With a time to live of 2 it comes back with 1, and no further host forwards it.

use super::ethernet::{self, HEADER_LEN};
use super::icmp::{ICMP, kind};
use super::ipv4::{Ipv4, MIN_HEADER_LEN};
use super::{MacAddr, checksum};
use std::net::Ipv4Addr;

/// Length of the frame, Ethernet's minimum without the FCS, in bytes.
pub const FRAME_LEN: usize = 60;
/// Offset of [`HairpinFrame::mark`] in a frame without a tag.
pub const MARK_AT: usize = MESSAGE_AT + ICMP_HEADER;

const MESSAGE_AT: usize = HEADER_LEN + MIN_HEADER_LEN;
const ICMP_HEADER: usize = 8;
/// ICMP header, mark and number.
const MESSAGE_LEN: usize = ICMP_HEADER + 8;
const IP_LEN: usize = MIN_HEADER_LEN + MESSAGE_LEN;
/// Time to live at the sender: one for the router, one for the way back.
const TTL: u8 = 2;
/// "Don't fragment" in the flags of the IPv4 header.
const DONT_FRAGMENT: u8 = 0x40;

/// The frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HairpinFrame {
    /// The router's MAC address; that of the receiver in a frame that came back.
    pub to: MacAddr,
    /// MAC address of the station that sent it.
    pub from: MacAddr,
    /// Address of the host that tests.
    pub source: Ipv4Addr,
    /// Address whose entry is tested.
    pub destination: Ipv4Addr,
    /// Number of the process that tests: others on the path do not know it.
    pub mark: u32,
    /// Number of the test.
    pub number: u32,
}

impl HairpinFrame {
    /// Returns the frame as the host that tests sends it.
    #[must_use]
    pub fn emit(&self) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        frame[..6].copy_from_slice(&self.to.0);
        frame[6..12].copy_from_slice(&self.from.0);
        frame[12..14].copy_from_slice(&ethernet::IPV4.to_be_bytes());
        let packet = &mut frame[HEADER_LEN..HEADER_LEN + IP_LEN];
        packet[..2].copy_from_slice(&[0x45, 0]);
        packet[2..4].copy_from_slice(&(IP_LEN as u16).to_be_bytes()); // 36
        packet[6] = DONT_FRAGMENT;
        packet[8..10].copy_from_slice(&[TTL, ICMP]);
        packet[12..16].copy_from_slice(&self.source.octets());
        packet[16..20].copy_from_slice(&self.destination.octets());
        let (header, message) = packet.split_at_mut(MIN_HEADER_LEN);
        let sum = checksum::complement(checksum::sum(header));
        header[10..12].copy_from_slice(&sum);
        message[0] = kind::ECHO_REQUEST;
        message[8..12].copy_from_slice(&self.mark.to_be_bytes());
        message[12..].copy_from_slice(&self.number.to_be_bytes());
        let sum = checksum::complement(checksum::sum(message));
        message[2..4].copy_from_slice(&sum);
        frame
    }

    /// Parses a frame that a router has sent back. `None` for any other.
    #[must_use]
    pub fn parse_returned(frame: &[u8]) -> Option<Self> {
        let (_, packet) =
            ethernet::split(frame).filter(|(header, _)| header.ethertype() == ethernet::IPV4)?;
        let ip = Ipv4::new(packet).ok().filter(Ipv4::checksum_holds)?;
        let is_returned = ip.ttl() == TTL - 1 && ip.protocol() == ICMP && !ip.is_fragment();
        let message: &[u8; MESSAGE_LEN] = ip.payload().try_into().ok()?;
        if !is_returned || message[..2] != [kind::ECHO_REQUEST, 0] || !checksum::holds(message) {
            return None;
        }
        let [.., a, b, c, d, e, f, g, h] = *message;
        Some(Self {
            to: ethernet::destination(frame)?,
            from: ethernet::source(frame)?,
            source: ip.source(),
            destination: ip.destination(),
            mark: u32::from_be_bytes([a, b, c, d]),
            number: u32::from_be_bytes([e, f, g, h]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv4Type, NetSlice, SlicedPacket, TransportSlice};

    const SENT: HairpinFrame = HairpinFrame {
        to: MacAddr([2, 0, 0, 0, 0, 1]),
        from: MacAddr([2, 0, 0, 0, 0, 0xd]),
        source: Ipv4Addr::new(192, 0, 2, 5),
        destination: Ipv4Addr::new(192, 0, 2, 80),
        mark: 0x1234_5678,
        number: 0x9abc_def0,
    };

    /// The frame as a router forwards it to `to`.
    fn forwarded(to: MacAddr) -> [u8; FRAME_LEN] {
        let mut frame = HairpinFrame { to, from: SENT.to, ..SENT }.emit();
        frame[22] -= 1;
        frame[24..26].fill(0);
        let sum = checksum::complement(checksum::sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&sum);
        frame
    }

    #[test]
    fn the_frame_is_a_valid_echo_request() {
        let frame = SENT.emit();
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("{sliced:?}") };
        let header = ip.header().to_header();
        assert_eq!((header.time_to_live, header.header_checksum), (2, header.calc_header_checksum()));
        assert_eq!((header.source, header.destination), ([192, 0, 2, 5], [192, 0, 2, 80]));
        let Some(TransportSlice::Icmpv4(icmp)) = &sliced.transport else { panic!("{sliced:?}") };
        let kind = icmp.icmp_type();
        assert!(matches!(kind, Icmpv4Type::EchoRequest(_)));
        assert_eq!(icmp.checksum(), kind.calc_checksum(icmp.payload()));
        assert_eq!(icmp.payload(), [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0]);
        assert_eq!(frame[MARK_AT..MARK_AT + 4], SENT.mark.to_be_bytes());
    }

    #[test]
    fn only_a_frame_that_was_forwarded_once_came_back() {
        let returned = HairpinFrame { to: SENT.from, from: SENT.to, ..SENT };
        assert_eq!(HairpinFrame::parse_returned(&forwarded(SENT.from)), Some(returned));
        assert_eq!(HairpinFrame::parse_returned(&SENT.emit()), None, "not forwarded");
        for at in [12, 14, 16, 20, 22, 23, 26, 34, 35, 36, 42, 49] {
            let mut other = forwarded(SENT.from);
            other[at] ^= 1;
            assert_eq!(HairpinFrame::parse_returned(&other), None, "byte {at}");
        }
        for len in 0..50 {
            assert_eq!(HairpinFrame::parse_returned(&forwarded(SENT.from)[..len]), None, "{len} bytes");
        }
    }
}
