//! Address of a virtual service: protocol, VIP and port.

use crate::wire::Protocol;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Address of a virtual service: protocol, VIP and port.
///
/// Ordered as ipvsadm lists: family, then protocol, address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ServiceAddress {
    /// Transport protocol.
    pub protocol: Protocol,
    /// VIP and port. Port 0 is the wildcard port: every port of the VIP without a service of its own.
    pub address: SocketAddr,
}

impl ServiceAddress {
    /// True if its port is the wildcard port.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.address.port() == 0
    }

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
