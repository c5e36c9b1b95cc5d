//! Inputs of a pick besides the servers: the service's parameters, and the client.

use crate::model::{Persistence, Scheduler, SchedulerFlags};
use std::net::{IpAddr, Ipv4Addr};

/// The scheduling parameters of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// Its flags.
    pub flags: SchedulerFlags,
    /// The service's address, which dh hashes.
    pub vip: IpAddr,
    /// One-packet scheduling (`ipvsadm -o`): each datagram is scheduled by itself and opens no connection.
    /// UDP only.
    pub one_packet: bool,
    /// Persistence: later connections of a client go to the server of its first one.
    pub persistence: Option<Persistence>,
    /// Generation of the persistence templates; see [`TemplateKey`](super::TemplateKey).
    pub generation: u8,
}

impl Default for Params {
    /// Weighted least connection, which reads no address.
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

/// The client of a new connection, as schedulers read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientAddr {
    /// Folded: see [`fold`].
    pub(super) address: u32,
    pub(super) port: u16,
}

impl ClientAddr {
    /// The client at `address`:`port`, the port in host order.
    #[inline]
    #[must_use]
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address: fold(address), port }
    }
}

/// An address as a word for IPVS's hashes: the four words of an IPv6 address are combined by XOR.
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
