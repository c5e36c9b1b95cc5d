//! The rules of a director: everything that can change while it runs.

use super::{Policy, Timeouts, VirtualService};

/// The rules: all that `ipvsadm -S` saves, with timeouts and connection switches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order in which they were added. No address twice.
    pub services: Vec<VirtualService>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// IPVS's switches for connections.
    pub policy: Policy,
}
