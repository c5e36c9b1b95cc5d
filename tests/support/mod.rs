//! What several tests need.

#![allow(unreachable_pub)]

pub mod netns;
pub mod wire;
