//! Tests of the screen, mostly without a terminal.

pub(super) mod fixtures;
mod keys;
mod panic;
mod sampling;
mod scale;
mod screens;
#[path = "../../../tests/tmux/mod.rs"]
mod tmux;
