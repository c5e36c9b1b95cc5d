//! Frames in and out: AF_XDP, AF_PACKET, memory. Nothing here decides anything.
//!
//! Every backend gives each worker one [`Ports`]. Every frame of a received batch is disposed of
//! exactly once, by [`Ports::finish`], so no frame can be lost or sent twice.

pub mod claim;
