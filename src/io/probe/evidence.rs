//! Evidence of a probe: the counts of the programs.

use crate::health::ProbeIcmp;
use crate::wire::MacAddr;

/// Counts of the programs for one probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeEvidence {
    /// Packets that left for the VIP.
    pub sent: u64,
    /// Packets from the VIP by the expected MAC address, without ICMP errors.
    pub replies: u64,
    /// Packets from the VIP, or ICMP errors, by another MAC address; dropped.
    pub foreign: u64,
    /// The last such MAC address.
    pub foreign_mac: Option<MacAddr>,
    /// Packets from the RIP in the place of the VIP; dropped.
    pub from_rip: u64,
    /// ICMP errors about packets to the VIP.
    pub errors: u64,
    /// The last of them.
    pub icmp: Option<ProbeIcmp>,
}

impl ProbeEvidence {
    /// True if packets left, and nothing came back from anywhere.
    pub(super) fn is_quiet(&self) -> bool {
        self.sent > 0 && self.foreign + self.from_rip + self.errors == 0
    }
}
