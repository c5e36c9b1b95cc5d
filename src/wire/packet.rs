//! Slow path of the frame parser: header by header, with the reason if a frame cannot be forwarded.

use super::ethernet;
use super::ipv4::{Ipv4, Ipv4Error};
use super::ipv6::{Ipv6, Ipv6Error};
use super::transport::{self, PortPair, TcpFlags};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// TransportHeader protocol of a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
}

impl Protocol {
    /// Protocol number in the IP header.
    pub const TCP: u8 = Self::Tcp as u8;
    /// Protocol number in the IP header.
    pub const UDP: u8 = Self::Udp as u8;

    /// The protocol with this number in the IP header, if services have it.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            Self::TCP => Some(Self::Tcp),
            Self::UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Parsed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// IPv4 with TCP or UDP.
    V4(IpPacket<Ipv4Addr>),
    /// IPv6 with TCP or UDP.
    V6(IpPacket<Ipv6Addr>),
}

/// Fields of an IP frame that the decision reads, with addresses of type `A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPacket<A> {
    /// Source address: the client.
    pub source: A,
    /// Destination address: the VIP, if the frame is for a service.
    pub destination: A,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Both ports, host order.
    pub ports: PortPair,
    /// TCP control bits; none for UDP.
    pub flags: TcpFlags,
    /// Length in bytes from the IP header on: IPv4's total length, or IPv6's payload length and 40.
    pub bytes: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

/// Reason why a frame cannot be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The frame is shorter than the lengths in its headers.
    Truncated,
    /// Header fields contradict each other.
    Header,
    /// The IPv4 header checksum is wrong.
    Checksum,
    /// IPv6 extension headers that no host sends, or that route by source.
    Extension,
    /// The EtherType is neither IPv4 nor IPv6.
    EtherType,
    /// Neither TCP nor UDP.
    Protocol,
    /// A fragment of a datagram.
    Fragment,
    /// The quote of an ICMP error does not identify a connection of its destination.
    Quote,
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
            return Err(Malformed::Fragment);
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
            return Err(Malformed::Fragment);
        }
        let TransportHeader { protocol, ports, flags } =
            TransportHeader::parse(upper.protocol, upper.payload, upper.payload_len)?;
        let (source, destination) = (ip.source(), ip.destination());
        Ok(Self { source, destination, protocol, ports, flags, bytes: ip.bytes(), ttl: ip.hop_limit() })
    }
}

/// Fields of the transport header.
struct TransportHeader {
    protocol: Protocol,
    ports: PortPair,
    flags: TcpFlags,
}

impl TransportHeader {
    /// Parses the header of protocol `number` in front of a payload of `len` bytes, of which `payload` is the
    /// first part.
    fn parse(number: u8, payload: &[u8], len: usize) -> Result<Self, Malformed> {
        let (protocol, flags) = match number {
            Protocol::TCP => (Protocol::Tcp, transport::tcp(payload)),
            Protocol::UDP => (Protocol::Udp, transport::udp(payload, len)),
            _ => return Err(Malformed::Protocol),
        };
        let (Some(flags), Some(ports)) = (flags, PortPair::of(payload)) else {
            return Err(Malformed::Header);
        };
        Ok(Self { protocol, ports, flags })
    }
}

impl From<Ipv4Error> for Malformed {
    fn from(error: Ipv4Error) -> Self {
        match error {
            Ipv4Error::Truncated => Self::Truncated,
            Ipv4Error::Malformed => Self::Header,
        }
    }
}

impl From<Ipv6Error> for Malformed {
    fn from(error: Ipv6Error) -> Self {
        match error {
            Ipv6Error::Truncated => Self::Truncated,
            Ipv6Error::Malformed => Self::Header,
            Ipv6Error::Extension => Self::Extension,
        }
    }
}
