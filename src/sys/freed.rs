//! Locks and names that a test gives up and takes again. A child that another test of this process has forked holds copies of all
//! descriptors until it executes its program, so that they are free a moment later.

use std::time::{Duration, Instant};

/// Tries until there is a result.
pub(crate) fn when_free<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        match attempt() {
            Some(result) => return result,
            None => assert!(begin.elapsed() < Duration::from_secs(10), "it is never free"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
