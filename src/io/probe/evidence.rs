//! Evidence of a probe: the counts of the programs.

use crate::wire::MacAddr;
use std::net::IpAddr;

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

/// An ICMP error about a packet to the VIP; ICMPv6 if the sender has an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeIcmp {
    /// Type (RFC 792, RFC 4443).
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Sender.
    pub sender: IpAddr,
}
