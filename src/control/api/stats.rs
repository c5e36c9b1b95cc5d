//! Totals and averages of services and real servers.

use serde::{Deserialize, Serialize};

/// Totals as `ipvsadm --stats` has them. Out is 0: replies bypass the director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Connections opened.
    pub connections: u64,
    /// Packets in.
    pub in_packets: u64,
    /// Packets out.
    pub out_packets: u64,
    /// IP bytes in.
    pub in_bytes: u64,
    /// IP bytes out.
    pub out_bytes: u64,
}

impl std::ops::Add for Stats {
    type Output = Self;

    /// Wraps, as the counters that go on from a former process.
    fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections.wrapping_add(other.connections),
            in_packets: self.in_packets.wrapping_add(other.in_packets),
            out_packets: self.out_packets.wrapping_add(other.out_packets),
            in_bytes: self.in_bytes.wrapping_add(other.in_bytes),
            out_bytes: self.out_bytes.wrapping_add(other.out_bytes),
        }
    }
}

impl std::ops::Sub for Stats {
    type Output = Self;

    /// Returns the increase since `earlier`, which may lie below 0: at the start of a process that goes on from another.
    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections.wrapping_sub(earlier.connections),
            in_packets: self.in_packets.wrapping_sub(earlier.in_packets),
            out_packets: self.out_packets.wrapping_sub(earlier.out_packets),
            in_bytes: self.in_bytes.wrapping_sub(earlier.in_bytes),
            out_bytes: self.out_bytes.wrapping_sub(earlier.out_bytes),
        }
    }
}

/// Averages per second as `ipvsadm --rate` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Connections.
    pub connections: u64,
    /// Packets in.
    pub in_packets: u64,
    /// Packets out.
    pub out_packets: u64,
    /// IP bytes in.
    pub in_bytes: u64,
    /// IP bytes out.
    pub out_bytes: u64,
}
