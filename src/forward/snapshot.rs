//! The immutable picture of services and servers that workers decide by.

use super::ServiceMap;
use crate::model::{InterfaceIndex, Policy, ServerId, ServiceId, Timeouts};
use crate::schedule::Pool;
use crate::stats::DropReason;
use crate::wire::MacAddr;
use crate::wire::ethernet::Addresses;
use std::net::Ipv4Addr;

/// Most interfaces that a director has.
pub(super) const INTERFACES_MAX: usize = 2;

/// How a real server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface that it is behind.
    pub interface: InterfaceIndex,
    /// Its address; `None` until ARP has found it.
    pub mac: Option<MacAddr>,
}

/// What becomes of a frame for a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(16))]
pub enum Route {
    /// The server has been removed.
    Gone,
    /// Its MAC address is not known yet.
    Unresolved,
    /// Out of this interface with these addresses.
    Via(InterfaceIndex, Addresses),
    /// Likewise, but a SYN is scheduled anew: the server has weight 0, and [`Policy::expire_nodest_conn`]
    /// is set.
    Quiesced(InterfaceIndex, Addresses),
}

/// Everything that a decision depends on besides the frame, the flow table and the loads.
///
/// Control builds a new one for every change; workers adopt it between batches.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// MAC addresses of the director's interfaces, by [`InterfaceIndex`]: one or two.
    pub own_macs: Vec<MacAddr>,
    /// Which service an address belongs to.
    pub services: ServiceMap,
    /// By [`ServiceId`]: the servers that take new connections.
    pub pools: Vec<Pool>,
    /// By [`ServerId`]: where the frames of its connections go.
    pub routes: Vec<Route>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// Addresses that are no client's: the director's own, and the broadcast addresses of its networks.
    pub reserved: Vec<Ipv4Addr>,
    /// What becomes of connections where IPVS leaves the choice.
    pub policy: Policy,
}

impl Snapshot {
    /// The pool of a service; `None` if the service is gone.
    #[inline]
    #[must_use]
    pub fn pool(&self, service: ServiceId) -> Option<&Pool> {
        self.pools.get(usize::from(service.0))
    }

    /// The way to a real server.
    #[inline]
    #[must_use]
    pub fn route(&self, server: ServerId) -> &Route {
        self.routes.get(usize::from(server.0)).unwrap_or(&Route::Gone)
    }
}

impl Route {
    /// The interface and the addresses that frames get.
    ///
    /// # Errors
    /// Why there is no way.
    #[inline]
    pub fn way(&self) -> Result<(InterfaceIndex, &Addresses), DropReason> {
        match self {
            Self::Via(interface, addresses) | Self::Quiesced(interface, addresses) => {
                Ok((*interface, addresses))
            }
            Self::Unresolved => Err(DropReason::Unresolved),
            Self::Gone => Err(DropReason::ServerGone),
        }
    }

    /// The same way, for a server of weight 0.
    #[must_use]
    pub fn quiesced(self) -> Self {
        match self {
            Self::Via(interface, addresses) => Self::Quiesced(interface, addresses),
            other => other,
        }
    }

    /// The way to `server` from a director with these MAC addresses; to `None`, which has been removed,
    /// there is none.
    ///
    /// # Panics
    /// If the server is behind an interface that is not there.
    #[must_use]
    pub fn new(own_macs: &[MacAddr], server: Option<NextHop>) -> Self {
        match server {
            None => Self::Gone,
            Some(NextHop { mac: None, .. }) => Self::Unresolved,
            Some(NextHop { mac: Some(mac), interface }) => {
                Self::Via(interface, Addresses::new(mac, own_macs[usize::from(interface.0)]))
            }
        }
    }

    /// The ways to `servers`, by [`ServerId`].
    ///
    /// # Panics
    /// As [`Route::new`].
    pub fn to_all(own_macs: &[MacAddr], servers: impl IntoIterator<Item = Option<NextHop>>) -> Vec<Self> {
        servers.into_iter().map(|server| Self::new(own_macs, server)).collect()
    }
}
