//! How many queues of an interface are in use, by the ethtool ioctl.

#![allow(unsafe_code)]

use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

/// linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// linux/ethtool.h.
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// Queues in use, by direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) receive: u32,
    pub(super) transmit: u32,
}

/// `struct ethtool_channels` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct Request {
    command: u32,
    max: [u32; 4],
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// The queues of the interface called `name`; `None` if its driver does not tell.
pub(super) fn of(name: &str) -> Option<Channels> {
    let mut request = Request { command: ETHTOOL_GCHANNELS, ..Request::default() };
    ask(name, &mut request)?;
    let Request { receive, transmit, combined, .. } = request;
    Some(Channels { receive: receive + combined, transmit: transmit + combined })
}

fn ask(name: &str, request: &mut Request) -> Option<()> {
    // Any socket will do; this one needs no address, not even that of a loopback that is up.
    let socket = UnixDatagram::unbound().ok()?;
    // SAFETY: an all-zero ifreq is a valid one: an empty name and null pointers.
    let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= ifreq.ifr_name.len() {
        return None;
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    ifreq.ifr_ifru.ifru_data = (&raw mut *request).cast();
    // SAFETY: SIOCETHTOOL reads a terminated name (the array was zero and one byte is left) and
    // writes a struct ethtool_channels, for that is the command in it, through ifru_data; that
    // points to one, borrowed mutably until after the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
    (result == 0).then_some(())
}
