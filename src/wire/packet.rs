//! Slow path of the frame parser: header by header, with the reason if a frame cannot be forwarded.

use super::ethernet;
use super::ipv4::{Ipv4, Ipv4Error};
use super::transport::{self, PortPair, TcpFlags};
use std::fmt;
use std::net::Ipv4Addr;

/// Transport protocol of a virtual service.
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
    /// IP total length in bytes.
    pub bytes: u16,
    /// Time to live.
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
    /// The EtherType is not IPv4.
    EtherType,
    /// Neither TCP nor UDP.
    Protocol,
    /// A fragment of a datagram.
    Fragment,
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
            _ => Err(Malformed::EtherType),
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
        let (protocol, flags) = transport_of(&ip)?;
        let ports = PortPair::of(ip.payload()).ok_or(Malformed::Header)?;
        let (source, destination) = (ip.source(), ip.destination());
        Ok(Self { source, destination, protocol, ports, flags, bytes: ip.total_len(), ttl: ip.ttl() })
    }
}

fn transport_of(ip: &Ipv4<'_>) -> Result<(Protocol, TcpFlags), Malformed> {
    let (protocol, flags) = match ip.protocol() {
        Protocol::TCP => (Protocol::Tcp, transport::tcp(ip.payload())),
        Protocol::UDP => (Protocol::Udp, transport::udp(ip.payload(), ip.payload_len())),
        _ => return Err(Malformed::Protocol),
    };
    Ok((protocol, flags.ok_or(Malformed::Header)?))
}

impl From<Ipv4Error> for Malformed {
    fn from(error: Ipv4Error) -> Self {
        match error {
            Ipv4Error::Truncated => Self::Truncated,
            Ipv4Error::Malformed => Self::Header,
        }
    }
}
