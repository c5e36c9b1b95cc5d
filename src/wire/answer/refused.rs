//! A refused packet, and the headers of packets to its sender.

use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Time to live and hop limit of an answer.
const TTL: u8 = 64;
/// "Don't fragment": the identification need not be unique (RFC 6864 section 4.1).
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// Bits of the fragment offset in an IPv4 header.
const OFFSET: u16 = 0x1fff;

/// Refused packet, as far as an answer needs it.
pub(super) struct RefusedPacket<'a> {
    /// Ethernet header, with its tags.
    pub(super) link: &'a [u8],
    /// The packet from its IP header on, or its first part.
    pub(super) packet: &'a [u8],
    /// Length of the whole packet in bytes.
    pub(super) len: usize,
    source: IpAddr,
    destination: IpAddr,
    pub(super) protocol: u8,
    /// First part of the payload.
    pub(super) payload: &'a [u8],
    /// Length of the whole payload.
    pub(super) payload_len: usize,
}

impl<'a> RefusedPacket<'a> {
    /// `None` for a packet that must not be answered.
    pub(super) fn parse(head: &'a [u8]) -> Option<Self> {
        let (header, payload) = ethernet::split(head)?;
        let (ethertype, packet) = ethernet::untagged(header.ethertype(), payload)?;
        let link = &head[..head.len() - packet.len()];
        match ethertype {
            ethernet::IPV4 => Self::parse_v4(link, packet),
            ethernet::IPV6 => Self::parse_v6(link, packet),
            _ => None,
        }
    }

    /// The MTU that the packet exceeds: `mtu`, or less by the tags, which a link may not carry beyond it. `None` if it fits.
    pub(super) fn exceeded_mtu(&self, mtu: u32) -> Option<u32> {
        let tags = (self.link.len() - ethernet::HEADER_LEN) as u32; // eight at most
        [mtu, mtu.saturating_sub(tags)].into_iter().find(|mtu| self.len > *mtu as usize)
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
            len: ip.total_len().into(),
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
            len: ip.bytes().into(),
            source: source.into(),
            destination: destination.into(),
            protocol: upper.protocol,
            payload: upper.payload,
            payload_len: upper.payload_len,
        })
    }

    pub(super) fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Length of the answer's IP header.
    pub(super) fn header_len(&self) -> usize {
        if self.is_v4() { ipv4::MIN_HEADER_LEN } else { ipv6::HEADER_LEN }
    }

    /// Writes the IP header of an answer with a payload of `len` bytes.
    pub(super) fn write_header(&self, header: &mut [u8], protocol: u8, len: usize) {
        match (self.destination, self.source) {
            (IpAddr::V4(from), IpAddr::V4(to)) => write_v4(header, protocol, len, [from, to]),
            (IpAddr::V6(from), IpAddr::V6(to)) => write_v6(header, protocol, len, [from, to]),
            _ => unreachable!("a packet has addresses of one family"),
        }
    }

    /// Sum of the pseudo-header of an answer with a payload of `len` bytes.
    pub(super) fn pseudo_header(&self, protocol: u8, len: usize) -> u64 {
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
