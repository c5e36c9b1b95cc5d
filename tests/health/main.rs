//! The health machine against its rules, and over virtual time against a naive model.

mod detection;
mod naive;
mod passive;
mod random;
mod reports;
mod rules;
mod simulation;
mod trouble;
mod weights;
mod world;
