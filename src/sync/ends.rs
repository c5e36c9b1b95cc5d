//! The three ends of a connection.

use crate::model::IpFamily;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Client, VIP and real server of a connection, each with its port, all of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncEnds {
    client: SocketAddr,
    vip: SocketAddr,
    server: SocketAddr,
}

impl SyncEnds {
    /// `None` if the families differ.
    #[must_use]
    pub fn new(client: SocketAddr, vip: SocketAddr, server: SocketAddr) -> Option<Self> {
        let same = client.is_ipv4() == vip.is_ipv4() && vip.is_ipv4() == server.is_ipv4();
        // Without the scopes of IPv6, which no record has.
        let addresses = [client.ip(), vip.ip(), server.ip()];
        same.then(|| Self::of(addresses, [client.port(), vip.port(), server.port()]))
    }

    pub(super) fn of(addresses: [impl Into<IpAddr>; 3], ports: [u16; 3]) -> Self {
        let [client, vip, server] = addresses.map(Into::into);
        let end = |address: IpAddr, index: usize| SocketAddr::new(address, ports[index]);
        Self { client: end(client, 0), vip: end(vip, 1), server: end(server, 2) }
    }

    /// The VIP of a group's template: the firewall mark in place of an address, of IPv6 in its first four bytes
    /// (`ip_vs_sched_persist` in net/netfilter/ipvs/ip_vs_core.c).
    #[must_use]
    pub fn of_mark(mark: u32, family: IpFamily) -> SocketAddr {
        let address: IpAddr = match family {
            IpFamily::Ipv4 => Ipv4Addr::from_bits(mark).into(),
            IpFamily::Ipv6 => Ipv6Addr::from_bits(u128::from(mark) << 96).into(),
        };
        SocketAddr::new(address, 0)
    }

    /// Client; of a template its network, with port 0.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// VIP with the service's port; of a group's template [`Self::of_mark`].
    #[must_use]
    pub fn vip(&self) -> SocketAddr {
        self.vip
    }

    /// Real server.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Family of all three.
    #[must_use]
    pub fn family(&self) -> IpFamily {
        self.client.ip().into()
    }
}
