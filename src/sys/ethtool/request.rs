//! The call itself.

use crate::sys::uapi::SIOCETHTOOL;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

/// A structure that starts with the ethtool command that fills it in.
///
/// # Safety
/// It must have the size and layout of the structure that linux/ethtool.h names for each command
/// that is put into it.
pub(super) unsafe trait Request {}

/// Sends a request about the interface `name`, which the kernel fills in.
pub(super) fn ioctl(name: &str, request: &mut impl Request) -> io::Result<()> {
    // The ioctl acts on the device, not on the socket: any family will do.
    let socket = UnixDatagram::unbound()?;
    // SAFETY: an all-zero ifreq is a valid one: an empty name and null pointers.
    let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= ifreq.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    ifreq.ifr_ifru.ifru_data = (&raw mut *request).cast();
    // SAFETY: SIOCETHTOOL reads a terminated name (the array was zero and one byte is left), then
    // reads and writes the structure of the command that ifru_data starts with; by the contract
    // of `Request` that is what is there, borrowed mutably until after the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
