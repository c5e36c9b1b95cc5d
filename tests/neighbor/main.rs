//! The neighbor machine against its rules, and against a simulated segment.

mod links;
mod rules;
mod simulation;
