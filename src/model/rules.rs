//! The rules of a director: everything that can change while it runs.

use super::{FirewallMark, Match, Policy, Timeouts, VirtualService};
use crate::wire::vlan::Vlans;
use std::collections::BTreeMap;

/// The rules: all that `ipvsadm -S` saves, with timeouts and connection switches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order in which they were added. No identity twice.
    pub services: Vec<VirtualService>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// IPVS's switches for connections.
    pub policy: Policy,
    /// Marks with known matches and without a service, which a command may add: of removed groups, and of `[[mark]]` tables.
    pub marks: BTreeMap<FirewallMark, KnownGroup>,
}

/// The part of a group that commands of ipvsadm do not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGroup {
    /// Its matches, at least one.
    pub matches: Vec<Match>,
    /// VLANs of its VIPs.
    pub vlan: Vlans,
}
