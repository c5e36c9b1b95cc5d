//! The immutable picture of services and servers that workers decide by.

use super::ServiceMap;
use crate::model::{Policy, ServerId, ServiceId, Timeouts};
use crate::schedule::Pool;
use crate::stats::DropReason;
use crate::wire::MacAddr;
use crate::wire::ethernet::Addresses;
use std::net::Ipv4Addr;

/// Which of the director's interfaces: 0 is the client side, 1 the server side of a two-armed
/// director. A one-armed director has arm 0 only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ArmIndex(pub u8);

impl ArmIndex {
    /// The arm on which VIP traffic arrives.
    pub const CLIENT: ArmIndex = ArmIndex(0);
}

/// The most arms that a director has.
pub(super) const ARMS_MAX: usize = 2;

/// What the data path knows of one of the director's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The interface's own address: the source of every frame sent there.
    pub mac: MacAddr,
}

/// How a real server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// The interface that it is behind.
    pub arm: ArmIndex,
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
    /// Out of this arm with these addresses.
    Via(ArmIndex, Addresses),
    /// Likewise, but a SYN is scheduled anew: the server has weight 0, and [`Policy::expire_nodest_conn`]
    /// is set.
    Quiesced(ArmIndex, Addresses),
}

/// Everything that a decision depends on besides the frame, the flow table and the loads.
///
/// Control builds a new one for every change; workers adopt it between batches.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The director's interfaces, by [`ArmIndex`]: one or two.
    pub arms: Vec<Arm>,
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
    /// The arm and the addresses that frames get.
    ///
    /// # Errors
    /// Why there is no way.
    #[inline]
    pub fn way(&self) -> Result<(ArmIndex, &Addresses), DropReason> {
        match self {
            Self::Via(arm, addresses) | Self::Quiesced(arm, addresses) => Ok((*arm, addresses)),
            Self::Unresolved => Err(DropReason::Unresolved),
            Self::Gone => Err(DropReason::ServerGone),
        }
    }

    /// The same way, for a server of weight 0.
    #[must_use]
    pub fn quiesced(self) -> Self {
        match self {
            Self::Via(arm, addresses) => Self::Quiesced(arm, addresses),
            other => other,
        }
    }

    /// The way to `server` from a director with these `arms`; to `None`, which has been removed,
    /// there is none.
    ///
    /// # Panics
    /// If the server is behind an arm that is not there.
    #[must_use]
    pub fn new(arms: &[Arm], server: Option<Server>) -> Self {
        match server {
            None => Self::Gone,
            Some(Server { mac: None, .. }) => Self::Unresolved,
            Some(Server { mac: Some(mac), arm }) => {
                Self::Via(arm, Addresses::new(mac, arms[usize::from(arm.0)].mac))
            }
        }
    }

    /// The ways to `servers`, by [`ServerId`].
    ///
    /// # Panics
    /// As [`Route::new`].
    pub fn to_all(arms: &[Arm], servers: impl IntoIterator<Item = Option<Server>>) -> Vec<Self> {
        servers.into_iter().map(|server| Self::new(arms, server)).collect()
    }
}
