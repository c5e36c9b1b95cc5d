//! The report of a run, as it is written to `report.json`.

use super::conditions::Conditions;
use super::plan::TrialPlan;
use super::results::Results;
use serde::{Deserialize, Serialize};

/// The version of `report.json`'s schema. It rises when a field changes its meaning or goes away;
/// fields may be added without.
pub const SCHEMA: u32 = 2;

/// Everything that a run has found, and under which conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where and when.
    pub conditions: Conditions,
    /// What was measured, how often.
    pub plan: TrialPlan,
    /// What was found, by traffic.
    pub results: Vec<Results>,
}
