//! What a pick depends on besides the servers: the service's rule, and the client.

use crate::model::{Persistence, Scheduler, SchedulerFlags};
use std::net::{IpAddr, Ipv4Addr};

/// How the servers of one service are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose rule.
    pub scheduler: Scheduler,
    /// Its flags.
    pub flags: SchedulerFlags,
    /// The service's address, by which dh goes.
    pub vip: IpAddr,
    /// Whether each datagram gets a pick of its own, and no connection. UDP only.
    pub one_packet: bool,
    /// Whether a client's later connections go where its first one went.
    pub persistence: Option<Persistence>,
    /// Of the templates that say where; see [`TemplateKey`](super::TemplateKey).
    pub generation: u8,
}

impl Default for Rule {
    /// Weighted least connection, which asks for no address.
    fn default() -> Self {
        let (scheduler, flags) = (Scheduler::default(), SchedulerFlags::default());
        Self {
            scheduler,
            flags,
            vip: Ipv4Addr::UNSPECIFIED.into(),
            one_packet: false,
            persistence: None,
            generation: 0,
        }
    }
}

/// Who opens a connection, as far as schedulers ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Folded: see [`fold`].
    pub(super) address: u32,
    pub(super) port: u16,
}

impl Client {
    /// The client at `address`:`port`, the port in host order.
    #[inline]
    #[must_use]
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address: fold(address), port }
    }
}

/// An address as IPVS's hashes take it: IPv6's four words lie on top of each other.
#[inline]
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits ^ bits >> 32 ^ bits >> 64 ^ bits >> 96) as u32
        }
    }
}
