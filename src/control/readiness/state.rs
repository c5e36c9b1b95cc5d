//! Readiness with everything around it.

use super::first_results::FirstResults;
use super::signals::ReadySignals;
use super::verdict::TrafficReadiness;
use std::time::Instant;

/// Readiness with its inputs and its outputs.
#[derive(Debug, Default)]
pub(in crate::control) struct ReadyState {
    pub(in crate::control) readiness: TrafficReadiness,
    pub(in crate::control) signals: ReadySignals,
    pub(in crate::control) first_results: FirstResults,
    /// The director has been told to stop.
    pub(in crate::control) stopping: bool,
    /// Its end awaits that keepalived makes another director master.
    pub(in crate::control) hands_over: bool,
    /// Time of the end, while it forwards what still arrives.
    pub(in crate::control) stop_at: Option<Instant>,
}
