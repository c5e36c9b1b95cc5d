//! Virtual services and their real servers.

use crate::wire::{MacAddr, Protocol};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A virtual service's place in the tables: stable while the service lives, reused afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

/// A real server's place in the tables, one per (service, server) pair: stable while the server
/// or a connection to it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u16);

/// A server's share of new connections relative to its siblings; 0 quiesces it. 0..=65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u16);

impl Default for Weight {
    fn default() -> Self {
        Weight(1)
    }
}

/// What identifies a virtual service: protocol, VIP and port.
///
/// Ordered as ipvsadm lists: family, then protocol, address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ServiceAddress {
    /// Transport protocol.
    pub protocol: Protocol,
    /// VIP and port.
    pub address: SocketAddr,
}

impl ServiceAddress {
    fn rank(&self) -> (bool, Protocol, IpAddr, u16) {
        (self.address.is_ipv6(), self.protocol, self.address.ip(), self.address.port())
    }
}

impl Ord for ServiceAddress {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for ServiceAddress {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.address)
    }
}

/// The rule that picks a real server for a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// Weighted least connection.
    #[default]
    Wlc,
}

impl Scheduler {
    /// Every scheduler, by name.
    pub const NAMES: &'static [&'static str] = &["wlc"];

    /// The name that ipvsadm uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wlc => "wlc",
        }
    }
}

impl FromStr for Scheduler {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "wlc" => Ok(Self::Wlc),
            _ => Err(()),
        }
    }
}

/// A virtual service as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualService {
    /// Protocol, VIP and port.
    pub address: ServiceAddress,
    /// How new connections are spread.
    pub scheduler: Scheduler,
    /// In the order of the file. No address twice.
    pub servers: Vec<RealServer>,
}

/// A real server as configured. Its port is the service's: direct routing cannot change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// RIP, of the VIP's address family.
    pub address: IpAddr,
    /// Share of new connections.
    pub weight: Weight,
    /// A fixed MAC address; otherwise ARP finds it.
    pub mac: Option<MacAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_sort_as_ipvsadm_lists_them() {
        let service =
            |protocol, address: &str| ServiceAddress { protocol, address: address.parse().unwrap() };
        let sorted = [
            service(Protocol::Tcp, "192.168.195.150:80"),
            service(Protocol::Tcp, "192.168.195.150:443"),
            service(Protocol::Udp, "192.168.195.150:53"),
            service(Protocol::Tcp, "[2001:db8::1]:80"),
        ];
        let mut shuffled = [sorted[3], sorted[2], sorted[0], sorted[1]];
        shuffled.sort();
        assert_eq!(shuffled, sorted);
    }
}
