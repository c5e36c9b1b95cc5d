//! The immutable picture of services and servers that workers decide by.

use super::ServiceMap;
use crate::model::{ServerId, ServiceId, Timeouts};
use crate::schedule::Pool;
use crate::wire::MacAddr;

/// Which of the director's interfaces: 0 is the client side, 1 the server side of a two-armed
/// director. A one-armed director has arm 0 only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ArmIndex(pub u8);

impl ArmIndex {
    /// The arm on which VIP traffic arrives.
    pub const CLIENT: ArmIndex = ArmIndex(0);
}

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

/// Everything that a decision depends on besides the frame, the flow table and the loads.
///
/// Control builds a new one for every change; workers adopt it between batches.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The director's interfaces, by [`ArmIndex`].
    pub arms: Vec<Arm>,
    /// Which service an address belongs to.
    pub services: ServiceMap,
    /// By [`ServiceId`]: the servers that take new connections.
    pub pools: Vec<Pool>,
    /// By [`ServerId`]: where connections go; `None` where a server has been removed.
    pub servers: Vec<Option<Server>>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
}

impl Snapshot {
    /// The pool of a service; `None` if the service is gone.
    #[inline]
    #[must_use]
    pub fn pool(&self, service: ServiceId) -> Option<&Pool> {
        self.pools.get(usize::from(service.0))
    }

    /// A real server; `None` if it has been removed.
    #[inline]
    #[must_use]
    pub fn server(&self, server: ServerId) -> Option<&Server> {
        self.servers.get(usize::from(server.0))?.as_ref()
    }
}
