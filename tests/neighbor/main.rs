//! The neighbor machine against its rules, and on a simulated segment of each family.

mod bench;
mod conflicts;
mod directors;
mod interfaces;
mod ndp;
mod roles;
mod rules;
mod servers;
mod simulation;
