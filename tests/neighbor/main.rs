//! The neighbor machine against its rules, and against a simulated segment.

mod bench;
mod conflicts;
mod directors;
mod interfaces;
mod rules;
mod servers;
mod simulation;
