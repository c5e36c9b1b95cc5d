//! A server as a pool is given it.

use super::thresholds::Thresholds;
use crate::model::ServerId;
use std::net::{Ipv4Addr, SocketAddr};

/// A server that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub server: ServerId,
    /// Its weight. A quiesced server has weight 0: it is never picked, but keeps its slots in hash
    /// tables, so that clients of the other servers stay on them.
    pub weight: u16,
    /// Connections at which it becomes overloaded and stops being so.
    pub thresholds: Thresholds,
    /// RIP and port: the input of mh's table.
    pub address: SocketAddr,
    /// True if clients with a persistence template for it may open more connections there. A quiesced
    /// server still accepts them unless expire_quiescent_template is set; a draining one does not.
    pub accepts_persistent: bool,
    /// During slow start: the part of its weight that counts, of [`Candidate::WHOLE`]. The server gets
    /// that share of the new connections, whatever its load. Ignored by schedulers without
    /// [slow start](crate::model::Scheduler::starts_slowly).
    pub part: Option<u16>,
}

impl Candidate {
    /// All of a weight, see [`Candidate::part`].
    pub const WHOLE: u16 = 10_000;

    /// A server without thresholds and without an address, which only mh reads.
    #[must_use]
    pub fn new(server: ServerId, weight: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let thresholds = Thresholds::default();
        Self { server, weight, thresholds, address, accepts_persistent: true, part: None }
    }
}
