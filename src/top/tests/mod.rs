//! The screen without a terminal: keys and samples in, frames as text out.

pub(super) mod fixtures;
mod keys;
mod sampling;
mod screens;
