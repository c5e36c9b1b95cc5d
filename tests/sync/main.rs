//! Connection sync: messages recorded from kernels, and messages made by hand with what a kernel made of each.
#![allow(missing_docs, unreachable_pub)]

mod backup;
mod golden;
#[path = "../support/netns.rs"]
mod netns;
mod recorded;
mod simulation;
mod sockets;
