//! Waiting for input with ppoll(2).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::time::Duration;

/// A poll entry that waits for nothing.
pub(crate) const NOTHING: libc::pollfd = libc::pollfd { fd: -1, events: 0, revents: 0 };

/// A poll entry that waits for input on `fd`.
pub(crate) fn for_input(fd: impl AsFd) -> libc::pollfd {
    libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// Sleeps until an entry has an event or `timeout` has passed. A signal ends the wait early, without an error.
///
/// # Errors
/// EINVAL or ENOMEM, as ppoll(2) reports them.
pub(crate) fn wait(entries: &mut [libc::pollfd], timeout: Duration) -> io::Result<()> {
    let seconds = timeout.as_secs().min(i64::MAX.cast_unsigned()).cast_signed();
    let time = libc::timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() };
    // SAFETY: `entries` is that many pollfd, borrowed mutably until after the call; a timespec with
    // less than 10⁹ ns and a null signal mask are what ppoll(2) allows.
    let ready = unsafe {
        libc::ppoll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, &raw const time, ptr::null())
    };
    match io::Error::last_os_error() {
        error if ready < 0 && error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Waits as [`wait`] does; returns which of `inputs` have an event.
///
/// # Errors
/// As [`wait`].
pub(crate) fn readable<const N: usize>(inputs: [&dyn AsFd; N], timeout: Duration) -> io::Result<[bool; N]> {
    let mut entries = inputs.map(|input| for_input(input.as_fd()));
    wait(&mut entries, timeout)?;
    Ok(entries.map(|entry| entry.revents != 0))
}
