//! The atomics of the stripes, and loom's in its model.

#[cfg(not(loom_model))]
pub(super) use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

#[cfg(loom_model)]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
