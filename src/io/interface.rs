//! What the host says about an interface.

use super::IoError;
use crate::wire::MacAddr;
use std::net::Ipv4Addr;

/// An interface's facts, read once at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, as in `ip link`.
    pub name: String,
    /// Kernel index.
    pub index: u32,
    /// Own address.
    pub mac: MacAddr,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Receive queues, at least 1.
    pub queues: u32,
    /// IPv4 addresses with their prefix lengths, in the kernel's order.
    pub addresses: Vec<(Ipv4Addr, u8)>,
}

impl Interface {
    /// Reads the facts of the interface called `name` in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`IoError`] if there is none of that name (the remedy lists those that exist), it is down,
    /// or it is not Ethernet.
    pub fn lookup(_name: &str) -> Result<Self, IoError> {
        todo!()
    }

    /// The first own address whose network holds `neighbor`: the sender for ARP to it.
    #[must_use]
    pub fn address_towards(&self, neighbor: Ipv4Addr) -> Option<Ipv4Addr> {
        self.addresses
            .iter()
            .find(|(own, prefix)| network(*own, *prefix) == network(neighbor, *prefix))
            .map(|(own, _)| *own)
    }
}

fn network(address: Ipv4Addr, prefix: u8) -> u32 {
    address.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}
