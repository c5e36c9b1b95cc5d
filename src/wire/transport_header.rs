//! Transport header of any protocol of services: TCP, UDP, SCTP.

use super::sctp::SctpEvent;
use super::transport::{PortPair, TcpFlags, tcp, udp};
use super::{Malformed, Protocol};

/// Fields of the transport header that the decision reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportHeader {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Both ports, host order.
    pub ports: PortPair,
    /// TCP control bits; none for UDP; the [event](SctpEvent::flags) of SCTP.
    pub flags: TcpFlags,
}

impl TransportHeader {
    /// Parses the header of protocol `number` in front of a payload of `len` bytes, of which `payload` is the
    /// first part.
    ///
    /// # Errors
    /// [`Malformed::Protocol`] and [`Malformed::Header`].
    pub fn parse(number: u8, payload: &[u8], len: usize) -> Result<Self, Malformed> {
        let (protocol, flags) = match number {
            Protocol::TCP => (Protocol::Tcp, tcp(payload)),
            Protocol::UDP => (Protocol::Udp, udp(payload, len)),
            Protocol::SCTP => (Protocol::Sctp, SctpEvent::of(payload).map(SctpEvent::flags)),
            _ => return Err(Malformed::Protocol),
        };
        let (Some(flags), Some(ports)) = (flags, PortPair::of(payload)) else {
            return Err(Malformed::Header);
        };
        Ok(Self { protocol, ports, flags })
    }
}
