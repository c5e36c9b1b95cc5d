//! The atomics of this layer, all used in one order (SeqCst), and how loom is to model them.

#[cfg(not(loom_model))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

#[cfg(loom_model)]
pub(super) use {loom::sync::atomic::Ordering::SeqCst, modelled::AtomicBool, modelled::AtomicU64};

/// loom takes SeqCst for AcqRel, and would let a load miss a store that comes before it in the one
/// order. If all accesses are SeqCst, every load reads the latest store: as a read-modify-write does.
#[cfg(loom_model)]
mod modelled {
    use loom::sync::atomic::{self, Ordering};

    #[derive(Debug)]
    pub(in crate::schedule) struct AtomicU64(atomic::AtomicU64);

    impl AtomicU64 {
        pub(in crate::schedule) fn new(value: u64) -> Self {
            Self(atomic::AtomicU64::new(value))
        }

        pub(in crate::schedule) fn load(&self, order: Ordering) -> u64 {
            self.0.fetch_add(0, order)
        }

        pub(in crate::schedule) fn store(&self, value: u64, order: Ordering) {
            self.0.swap(value, order);
        }

        pub(in crate::schedule) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_add(value, order)
        }

        pub(in crate::schedule) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_sub(value, order)
        }

        pub(in crate::schedule) fn compare_exchange(
            &self,
            current: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            self.0.compare_exchange(current, new, success, failure)
        }
    }

    #[derive(Debug)]
    pub(in crate::schedule) struct AtomicBool(atomic::AtomicBool);

    impl AtomicBool {
        pub(in crate::schedule) fn new(value: bool) -> Self {
            Self(atomic::AtomicBool::new(value))
        }

        pub(in crate::schedule) fn load(&self, order: Ordering) -> bool {
            self.0.fetch_or(false, order)
        }

        pub(in crate::schedule) fn store(&self, value: bool, order: Ordering) {
            self.0.swap(value, order);
        }
    }
}
