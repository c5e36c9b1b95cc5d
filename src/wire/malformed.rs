//! Reasons of the frame parsers.

use super::ipv4::Ipv4Error;
use super::ipv6::Ipv6Error;

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
    /// A fragment of a packet, which [`Fragment::parse`](super::Fragment::parse) takes.
    Fragment,
    /// A first fragment without its whole transport header, or one that would overwrite it (RFC 1858).
    TinyFragment,
    /// The quote of an ICMP error does not identify a connection of its destination.
    Quote,
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
