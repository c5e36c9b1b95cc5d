//! The auditor on a simulated segment: its rules, and random hosts over virtual time.

mod gateway;
mod rules;
mod simulation;
mod world;
