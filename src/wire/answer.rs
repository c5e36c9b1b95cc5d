//! Answers of the director to the sender of a refused packet: ICMP errors (RFC 792, RFC 4443) and TCP resets
//! (RFC 9293 section 3.10.7.1).
//!
//! They come from the VIP, as IPVS's do: a client accepts no error from another address, and filters at the border of
//! a network drop a private one.

mod error;
mod refused;
mod reset;

use super::ethernet;
use super::protocol::Protocol;
use refused::RefusedPacket;

/// Longest answer in bytes: Ethernet header with two tags, and the IPv4 minimum datagram, which no error exceeds.
pub const ANSWER_MAX: usize =
    ethernet::HEADER_LEN + ethernet::TAGS_MAX * ethernet::TAG_LEN + error::PACKET_MAX;

/// Content of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ICMP "port unreachable".
    PortUnreachable,
    /// ICMP "time exceeded in transit".
    TimeExceeded,
    /// TCP reset, and "port unreachable" for other protocols.
    Reset,
    /// ICMP "fragmentation needed" (RFC 1191), ICMPv6 "packet too big".
    TooBig {
        /// MTU of the next link, in bytes.
        mtu: u32,
    },
}

/// A written answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenAnswer {
    /// Content. That of [`Answer::Reset`] depends on the protocol.
    pub kind: Answer,
    /// Length of the frame in bytes.
    pub len: usize,
}

/// Writes the answer to the frame that begins with `head` to `answer`.
///
/// `None` for packets that must not be answered (RFC 1122 section 3.2.2, RFC 4443 section 2.4): those from an
/// address of no single host or from their own destination, later fragments, resets (for [`Answer::Reset`]), packets that
/// fit the MTU with their tags (for [`Answer::TooBig`]), and other protocols than those of services, ICMP errors among them.
#[must_use]
pub fn write(kind: Answer, head: &[u8], answer: &mut [u8; ANSWER_MAX]) -> Option<WrittenAnswer> {
    let refused = RefusedPacket::parse(head)?;
    let (link, packet) = answer.split_at_mut(refused.link.len());
    write_link(refused.link, link);
    let protocol = Protocol::of(refused.protocol)?;
    let kind = match kind {
        Answer::Reset if protocol != Protocol::Tcp => Answer::PortUnreachable,
        Answer::TooBig { mtu } => Answer::TooBig { mtu: refused.exceeded_mtu(mtu)? },
        kind => kind,
    };
    let len = match kind {
        Answer::Reset => reset::write(&refused, packet)?,
        Answer::PortUnreachable => error::write(&refused, &error::PORT_UNREACHABLE, packet),
        Answer::TimeExceeded => error::write(&refused, &error::TIME_EXCEEDED, packet),
        Answer::TooBig { mtu } => error::write(&refused, &error::too_big(mtu), packet),
    };
    Some(WrittenAnswer { kind, len: refused.link.len() + len })
}

/// The same header, in the other direction.
fn write_link(received: &[u8], link: &mut [u8]) {
    link.copy_from_slice(received);
    link[..6].copy_from_slice(&received[6..12]);
    link[6..12].copy_from_slice(&received[..6]);
}

#[cfg(test)]
mod tests;
