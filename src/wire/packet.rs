//! Slow path of the frame parser: header by header, with the reason if a frame cannot be forwarded.

use super::ethernet;
use super::ip_fragment::{FragmentPart, IpFragment};
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::transport::{PortPair, TcpFlags};
use super::transport_header::TransportHeader;
use super::{Malformed, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Parsed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// IPv4 with the protocol of a service.
    V4(IpPacket<Ipv4Addr>),
    /// IPv6 with the protocol of a service.
    V6(IpPacket<Ipv6Addr>),
}

/// Fields of an IP frame that the decision reads, with addresses of type `A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPacket<A> {
    /// Source address: the client.
    pub source: A,
    /// Destination address: the VIP, if the frame is for a service.
    pub destination: A,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Both ports, host order.
    pub ports: PortPair,
    /// TCP control bits; none for UDP; the [event](super::sctp::SctpEvent::flags) of SCTP.
    pub flags: TcpFlags,
    /// Length in bytes from the IP header on: IPv4's total length, or IPv6's payload length and 40.
    pub bytes: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

impl Packet {
    /// Parses an Ethernet frame.
    ///
    /// # Errors
    /// The reason of the outermost header that is wrong.
    pub fn parse(frame: &[u8]) -> Result<Packet, Malformed> {
        let (header, payload) = ethernet::split(frame).ok_or(Malformed::Truncated)?;
        Self::within(header.ethertype(), payload, 0)
    }

    /// Parses `payload`, which follows an Ethernet header with `ethertype`: a priority tag or the packet.
    /// Another `rest` bytes, without headers, belong to it.
    ///
    /// # Errors
    /// As [`Packet::parse`].
    pub fn within(ethertype: u16, payload: &[u8], rest: usize) -> Result<Packet, Malformed> {
        match ethernet::untagged(ethertype, payload).ok_or(Malformed::Truncated)? {
            (ethernet::IPV4, payload) => IpPacket::<Ipv4Addr>::parse(payload, rest).map(Packet::V4),
            (ethernet::IPV6, payload) => IpPacket::<Ipv6Addr>::parse(payload, rest).map(Packet::V6),
            _ => Err(Malformed::EtherType),
        }
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        match self {
            Self::V4(packet) => packet.destination.into(),
            Self::V6(packet) => packet.destination.into(),
        }
    }
}

impl IpPacket<Ipv4Addr> {
    fn parse(bytes: &[u8], rest: usize) -> Result<Self, Malformed> {
        let ip = Ipv4::beginning(bytes, rest)?;
        if !ip.checksum_holds() {
            return Err(Malformed::Checksum);
        }
        if ip.is_fragment() {
            return Err(IpFragment::<Ipv4Addr>::of(&ip).map_or_else(|reason| reason, |_| Malformed::Fragment));
        }
        let TransportHeader { protocol, ports, flags } =
            TransportHeader::parse(ip.protocol(), ip.payload(), ip.payload_len())?;
        let (source, destination) = (ip.source(), ip.destination());
        Ok(Self { source, destination, protocol, ports, flags, bytes: ip.total_len(), ttl: ip.ttl() })
    }
}

impl IpPacket<Ipv6Addr> {
    fn parse(bytes: &[u8], rest: usize) -> Result<Self, Malformed> {
        let ip = Ipv6::beginning(bytes, rest)?;
        let upper = ip.upper()?;
        if upper.is_fragment() {
            return Err(
                IpFragment::<Ipv6Addr>::of(&ip, &upper).map_or_else(|reason| reason, |_| Malformed::Fragment)
            );
        }
        let TransportHeader { protocol, ports, flags } =
            TransportHeader::parse(upper.protocol, upper.payload, upper.payload_len)?;
        let (source, destination) = (ip.source(), ip.destination());
        Ok(Self { source, destination, protocol, ports, flags, bytes: ip.bytes(), ttl: ip.hop_limit() })
    }
}

impl<A: Copy> IpPacket<A> {
    /// The packet for which a first fragment stands when its connection is looked up, with the length of that
    /// fragment alone; `None` for a later one.
    #[must_use]
    pub fn of_first(fragment: &IpFragment<A>) -> Option<Self> {
        let FragmentPart::First(TransportHeader { protocol, ports, flags }) = fragment.part else {
            return None;
        };
        let IpFragment { source, destination, bytes, ttl, .. } = *fragment;
        Some(Self { source, destination, protocol, ports, flags, bytes, ttl })
    }
}
