//! The report of a run, as it is written to `report.json`.

use super::conditions::Conditions;
use super::plan::TrialPlan;
use super::results::Results;
use serde::{Deserialize, Serialize};

/// Version of `report.json`'s schema. Changed when a field changes its meaning or is removed; new fields keep it.
pub const SCHEMA: u32 = 2;

/// All figures of a run, with its conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Machine, system and testbed.
    pub conditions: Conditions,
    /// Plan of the trials.
    pub plan: TrialPlan,
    /// Results by traffic pattern.
    pub results: Vec<Results>,
}
