//! Sleep of one thread in poll(2), which others end by an eventfd(2).
//!
//! A sleeper announces its sleep, looks for work once more, and polls. A waker adds work, and then looks whether a sleep
//! is announced. With a full fence between the two steps of each, one of them sees the other: no work waits for the end
//! of a sleep. A waker makes a system call only while a sleep is announced, one for each sleep.
#![allow(unsafe_code)] // registration with tokio

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst, fence};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The sleep of one thread.
#[derive(Debug)]
pub struct Sleeper {
    /// True from the announcement of a sleep until it ends or one waker ends it.
    asleep: AtomicBool,
    /// Readable once a waker has ended the sleep.
    event: EventFd,
}

impl Sleeper {
    /// Creates a sleeper that is awake.
    ///
    /// # Errors
    /// Errors of eventfd(2).
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self { asleep: AtomicBool::new(false), event: EventFd::from_flags(flags)? })
    }

    /// Announces a sleep. The thread has to look for work once more, then to poll [`Sleeper::as_fd`] for input, and in
    /// any case to call [`Sleeper::wake_up`] afterwards.
    pub fn announce(&self) {
        self.asleep.store(true, Relaxed);
        fence(SeqCst);
    }

    /// Ends the sleep of this thread. A waker that has seen the announcement may write afterwards; the next sleep then
    /// ends early, and its end takes that event.
    pub fn wake_up(&self) {
        self.asleep.store(false, Relaxed);
        let _ = self.event.read(); // fails without an event
    }

    /// Ends the sleep of the other thread, if one is announced. To be called after the work has been added.
    pub fn wake(&self) {
        fence(SeqCst);
        if self.asleep.load(Relaxed) && self.asleep.swap(false, SeqCst) {
            let _ = self.event.write(1); // only fails at 2⁶⁴ − 2 unread events
        }
    }
}

impl AsFd for Sleeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl AsRawFd for Sleeper {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_fd().as_raw_fd()
    }
}

/// A [`Sleeper`] whose thread runs a tokio runtime.
#[derive(Debug)]
pub struct AsyncSleeper {
    // Never borrowed mutably outside: see the proof in `new`.
    watched: AsyncFd<Arc<Sleeper>>,
}

impl AsyncSleeper {
    /// Registers `sleeper` with the current runtime.
    ///
    /// # Errors
    /// Errors of epoll(7).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(sleeper: Arc<Sleeper>) -> io::Result<Self> {
        // SAFETY: the sleeper owns its descriptor, always returns that one, and closes it only when it is dropped.
        // `AsyncFd` owns a reference to the sleeper, and no code can replace it: the field is private and no method
        // returns it mutably.
        let watched = unsafe { AsyncFd::register_with_interest(sleeper, Interest::READABLE) };
        Ok(Self { watched: watched.map_err(io::Error::from)? })
    }

    /// Announces a sleep, and waits until it ends, unless `has_work`. May end early.
    ///
    /// Events are not read: the runtime polls for edges, and each wake-up is one. An error of epoll(7) ends no wait:
    /// other sockets report it.
    pub async fn sleep_unless(&self, has_work: impl FnOnce() -> bool) {
        self.watched.get_ref().announce();
        if has_work() {
            return;
        }
        match self.watched.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll;
    use std::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};

    /// True if a poll ends at once.
    fn is_woken(sleeper: &Sleeper) -> bool {
        poll::readable([sleeper], Duration::ZERO).unwrap()[0]
    }

    #[test]
    fn a_waker_ends_an_announced_sleep_once() {
        let sleeper = Sleeper::new().unwrap();
        sleeper.announce();
        assert!(!is_woken(&sleeper));
        sleeper.wake();
        sleeper.wake();
        assert!(is_woken(&sleeper));
        sleeper.wake_up();
        assert!(!is_woken(&sleeper), "one event for one sleep");
    }

    #[test]
    fn an_awake_thread_is_not_signalled() {
        let sleeper = Sleeper::new().unwrap();
        sleeper.wake();
        assert!(!is_woken(&sleeper));
        sleeper.announce();
        sleeper.wake_up();
        sleeper.wake();
        assert!(!is_woken(&sleeper));
    }

    #[test]
    fn a_late_event_ends_one_later_sleep_early() {
        let sleeper = Sleeper::new().unwrap();
        sleeper.announce();
        assert!(sleeper.asleep.swap(false, SeqCst), "a waker sees the announcement");
        sleeper.wake_up();
        sleeper.event.write(1).unwrap();
        let ends_early = || {
            sleeper.announce();
            let woken = is_woken(&sleeper);
            sleeper.wake_up();
            woken
        };
        assert_eq!([ends_early(), ends_early()], [true, false]);
    }

    #[tokio::test]
    async fn a_runtime_sleeps_until_each_wake_up() {
        let sleeper = Arc::new(Sleeper::new().unwrap());
        let waiting = AsyncSleeper::new(Arc::clone(&sleeper)).unwrap();
        waiting.sleep_unless(|| true).await;
        for _ in 0..3 {
            let sleep = waiting.sleep_unless(|| false);
            let sleep = tokio::time::timeout(Duration::from_millis(20), sleep);
            assert!(sleep.await.is_err(), "nothing has woken it");
            sleeper.wake();
            waiting.sleep_unless(|| false).await;
        }
    }

    #[test]
    fn no_work_waits_for_the_end_of_a_sleep() {
        const PIECES: u32 = 20_000;
        let (sleeper, added) = (Sleeper::new().unwrap(), AtomicU32::new(0));
        let begin = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for piece in 0..PIECES {
                    added.fetch_add(1, Relaxed);
                    sleeper.wake();
                    (0..piece % 64).for_each(|_| std::hint::spin_loop());
                }
            });
            let mut seen = 0;
            while seen < PIECES {
                sleeper.announce();
                if added.load(Relaxed) == seen {
                    poll::readable([&sleeper], Duration::from_secs(60)).unwrap();
                }
                sleeper.wake_up();
                seen = added.load(Relaxed);
            }
        });
        assert!(begin.elapsed() < Duration::from_secs(60), "a wake-up was lost");
    }
}
