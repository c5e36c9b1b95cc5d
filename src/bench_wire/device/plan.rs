//! The plan of a measurement with an external generator.

use crate::bench_wire::trial::Dut;
use serde::{Deserialize, Serialize};

/// DUTs, number of rounds and length of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DevicePlan {
    /// In turn.
    pub duts: Vec<Dut>,
    /// Rounds; each has a trial of every DUT. At least 1.
    pub rounds: u32,
    /// Length of one trial, in seconds.
    pub seconds: f64,
    /// Connections that directors have room for, and some.
    pub flows: u32,
    /// Real servers; all have the station's MAC address.
    pub servers: u16,
}
