//! The neighbor machine against its rules, and against a simulated segment.

mod rules;
mod simulation;
