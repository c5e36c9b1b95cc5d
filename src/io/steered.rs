//! Services as the kernel selects their frames.

use crate::model::{Match, PortRange, ServiceAddress};
use crate::wire::Protocol;
use crate::wire::vlan::Vlans;
use std::net::IpAddr;

/// A service whose frames the kernel selects: a frame is selected if one service contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SteeredService {
    /// VLANs of the frames.
    pub vlan: Vlans,
    /// VIP.
    pub vip: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination ports.
    pub ports: PortRange,
}

impl SteeredService {
    /// VLANs, VIP and protocol.
    #[must_use]
    pub fn target(&self) -> (Vlans, IpAddr, Protocol) {
        (self.vlan, self.vip, self.protocol)
    }

    /// The frames of both; `None` if there are none.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let first = self.ports.first.max(other.ports.first);
        let last = self.ports.last.min(other.ports.last);
        let ports = PortRange { first, last };
        (self.target() == other.target() && first <= last).then_some(Self { ports, ..*self })
    }
}

impl From<Match> for SteeredService {
    fn from(Match { protocol, vip, ports }: Match) -> Self {
        Self { vlan: Vlans::NONE, vip, protocol, ports }
    }
}

impl From<ServiceAddress> for SteeredService {
    fn from(service: ServiceAddress) -> Self {
        Match::from(service).into()
    }
}
