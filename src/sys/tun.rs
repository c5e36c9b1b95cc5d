//! TUN devices: /dev/net/tun, linux/if_tun.h, Documentation/networking/tuntap.rst of the kernel.
#![allow(unsafe_code)]

use super::rtnetlink;
use std::ffi::{CStr, c_int, c_ulong};
use std::fs::OpenOptions;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Path of the clone device.
pub(crate) const CLONE_DEVICE: &str = "/dev/net/tun";

/// Creates a TUN device of this name, and returns its only queue. The device ends with the queue.
///
/// # Errors
/// Errors of open(2) on [`CLONE_DEVICE`]. EPERM without CAP_NET_ADMIN, EBUSY if there is a device of this name.
pub(crate) fn create(name: &str) -> io::Result<OwnedFd> {
    let queue =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(CLONE_DEVICE)?;
    let mut request = empty_request();
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_TUN_EXCL; // 0x9001, an unsigned short of the kernel
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    exchange(&queue, libc::TUNSETIFF as c_ulong, &mut request)?;
    Ok(queue.into())
}

/// Name of the device of this queue.
///
/// # Errors
/// ENOTTY for another file, EBADFD for a queue without a device.
pub(crate) fn name(queue: BorrowedFd<'_>) -> io::Result<String> {
    let mut request = empty_request();
    exchange(&queue, libc::TUNGETIFF as c_ulong, &mut request)?;
    let bytes = request.ifr_name.map(|byte| byte as u8);
    let name = CStr::from_bytes_until_nul(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(name.to_string_lossy().into_owned())
}

/// Switches the carrier (TUNSETCARRIER, Linux 5.0). Takes no capability.
///
/// # Errors
/// EINVAL before Linux 5.0.
pub(crate) fn set_carrier(queue: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let value = c_int::from(on);
    // SAFETY: TUNSETCARRIER reads one int, which lives until after the call. On another file than a TUN queue the
    // number is not that of any command that writes, as its direction is _IOW.
    match unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETCARRIER, &raw const value) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets a device up, without an IPv6 link-local address. Takes CAP_NET_ADMIN.
///
/// # Errors
/// Errors of rtnetlink.
pub(crate) fn set_up(name: &str) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(name)?;
    let _ = rtnetlink::without_link_local(index); // the kernel may have no IPv6
    rtnetlink::set_up(index)
}

fn empty_request() -> libc::ifreq {
    // SAFETY: an all-zero ifreq is a valid one: an empty name and a union of zeros.
    unsafe { mem::zeroed() }
}

/// Carries out an ioctl that reads and writes a `struct ifreq`.
fn exchange(queue: &impl AsRawFd, command: c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: both commands that this file passes, TUNSETIFF and TUNGETIFF, read and write one ifreq
    // (`__tun_chr_ioctl` in drivers/net/tun.c), which is borrowed mutably until after the call.
    match unsafe { libc::ioctl(queue.as_raw_fd(), command as _, &raw mut *request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn other_files_are_no_queues() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(name(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert!(set_carrier(file.as_fd(), true).is_err());
    }

    #[test]
    fn impossible_names_are_refused() {
        for name in ["", "a-name-of-16-byt"] {
            assert_eq!(create(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
