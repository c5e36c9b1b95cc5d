//! Events of the screen, and the actions that follow from them.

use super::director::{DrainRequest, Sample};
use super::keys::KeyPress;
use crate::model::Diagnostic;
use std::time::Duration;

/// Input of the screen.
#[derive(Clone, Debug)]
pub(super) enum ScreenEvent {
    /// The time since the start of the program.
    Time(Duration),
    /// An answer of the director.
    Sample(Sample),
    /// A failed request, with the reason.
    NoAnswer(String),
    /// The result of a drain request.
    Drained(DrainRequest, Result<(), Diagnostic>),
    /// A pressed key.
    Key(KeyPress),
}

/// Result of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScreenAction {
    /// Send a drain request; the result arrives as [`ScreenEvent::Drained`].
    Drain(DrainRequest),
    /// Quit the program.
    Quit,
}
