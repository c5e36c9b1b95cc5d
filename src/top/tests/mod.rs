//! The screen without a terminal: keys and samples in, frames as text out.

pub(super) mod fixtures;
mod keys;
mod panic;
mod sampling;
mod scale;
mod screens;
#[path = "../../../tests/tmux/mod.rs"]
mod tmux;
