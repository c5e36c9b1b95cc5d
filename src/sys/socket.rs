//! Options of sockets that nix lacks.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// asm-generic/socket.h, as of Linux 6.18.
const SO_BINDTOIFINDEX: libc::c_int = 62;

/// Binds a socket to an interface: it sends and receives there alone. Takes no capability for a socket that has none yet
/// (Linux 5.7).
pub(crate) fn bind_to_interface(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let index = index.cast_signed();
    let length = size_of_val(&index) as libc::socklen_t; // 4
    // SAFETY: setsockopt(2) reads `length` bytes at the pointer, which are those of `index`, a live local.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_BINDTOIFINDEX,
            (&raw const index).cast(),
            length,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
