//! The ARP machine against its rules, and on a simulated segment.

mod bench;
mod conflicts;
mod directors;
mod interfaces;
mod ndp;
mod rules;
mod servers;
mod simulation;
