//! Immutable snapshot of services and servers that control publishes to workers.

use super::{Beside, RealServerAddresses, ServiceMap, VlanServices};
use crate::model::{InterfaceIndex, MatchId, Policy, ServerId, ServiceId, Timeouts};
use crate::schedule::Pool;
use crate::stats::DropReason;
use crate::wire::MacAddr;
use crate::wire::ethernet::Addresses;
use std::net::IpAddr;
use std::sync::Arc;

/// Most interfaces that a director has.
pub(super) const INTERFACES_MAX: usize = 2;

/// Next hop to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Egress interface.
    pub interface: InterfaceIndex,
    /// MAC address of the server; `None` until ARP has resolved it.
    pub mac: Option<MacAddr>,
}

/// Route to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(16))]
pub enum Route {
    /// The server has been removed.
    Removed,
    /// The MAC address is not yet known.
    Unresolved,
    /// Send on this interface with these addresses.
    Via(InterfaceIndex, Addresses),
    /// Likewise, but a SYN is scheduled again: the server's health checks fail, or it has weight 0 and
    /// [`Policy::expire_nodest_conn`] is set.
    Quiesced(InterfaceIndex, Addresses),
    /// The server is down, and its connections are cut: a frame that may open one is scheduled again, others are dropped.
    Cut,
}

/// All inputs of a decision besides the frame, the flow tables and the loads.
///
/// Control publishes a new one for every change (RCU-like); workers adopt it between batches.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// MAC addresses of the director's interfaces, by [`InterfaceIndex`]: one or two.
    pub own_macs: Vec<MacAddr>,
    /// Matches by address, for frames without a VLAN.
    pub services: ServiceMap,
    /// Matches of tagged frames.
    pub vlans: VlanServices,
    /// Services, by [`MatchId`].
    pub matches: Vec<ServiceId>,
    /// Pools, by [`ServiceId`].
    pub pools: Vec<Pool>,
    /// Routes, by [`ServerId`].
    pub routes: Vec<Route>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// Source addresses that no client outside VLANs has: the director's own, and the broadcast addresses of its networks.
    pub reserved: Vec<IpAddr>,
    /// Addresses of the real servers, which are no clients of their own services.
    pub real_servers: Arc<RealServerAddresses>,
    /// Options for connections that IPVS has as sysctls.
    pub policy: Policy,
}

/// A virtual service as connections refer to it.
#[derive(Clone, Copy, Debug)]
pub struct ServicePool<'a> {
    /// Its id, as templates have it.
    pub id: ServiceId,
    /// Its real servers.
    pub pool: &'a Pool,
}

impl Snapshot {
    /// The service of a match; `None` if it has been removed.
    #[inline]
    #[must_use]
    pub fn service(&self, id: MatchId) -> Option<ServicePool<'_>> {
        let id = *self.matches.get(usize::from(id.0))?;
        self.pool(id).map(|pool| ServicePool { id, pool })
    }

    /// The pool of a service; `None` if the service has been removed.
    #[inline]
    #[must_use]
    pub fn pool(&self, service: ServiceId) -> Option<&Pool> {
        self.pools.get(usize::from(service.0))
    }

    /// See [`ServiceMap::beside`].
    #[must_use]
    pub fn beside(&self, of: MatchId) -> Option<Beside> {
        self.services.beside(of).or_else(|| self.vlans.beside(of))
    }

    /// The route to a real server.
    #[inline]
    #[must_use]
    pub fn route(&self, server: ServerId) -> &Route {
        self.routes.get(usize::from(server.0)).unwrap_or(&Route::Removed)
    }
}

impl Route {
    /// The egress interface and the addresses to write.
    ///
    /// # Errors
    /// The drop reason if the server is removed or not resolved.
    #[inline]
    pub fn egress(&self) -> Result<(InterfaceIndex, &Addresses), DropReason> {
        match self {
            Self::Via(interface, addresses) | Self::Quiesced(interface, addresses) => {
                Ok((*interface, addresses))
            }
            Self::Unresolved => Err(DropReason::Unresolved),
            Self::Removed => Err(DropReason::ServerRemoved),
            Self::Cut => Err(DropReason::ServerDown),
        }
    }

    /// The same route, for a server of weight 0.
    #[must_use]
    pub fn quiesced(self) -> Self {
        match self {
            Self::Via(interface, addresses) => Self::Quiesced(interface, addresses),
            other => other,
        }
    }

    /// The route by `next_hop` from a director with these MAC addresses; `None` for a removed server.
    ///
    /// # Panics
    /// If `own_macs` does not have the interface.
    #[must_use]
    pub fn new(own_macs: &[MacAddr], next_hop: Option<NextHop>) -> Self {
        match next_hop {
            None => Self::Removed,
            Some(NextHop { mac: None, .. }) => Self::Unresolved,
            Some(NextHop { mac: Some(mac), interface }) => {
                Self::Via(interface, Addresses::new(mac, own_macs[usize::from(interface.0)]))
            }
        }
    }
}
