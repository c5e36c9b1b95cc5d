//! Credentials of the peer of a Unix socket, as the kernel recorded them.

#![allow(unsafe_code)]

use nix::sys::socket::{getsockopt, sockopt};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Supplementary groups in the first request: more than most users have.
const GROUPS: usize = 64;

/// Credentials of a process at the time it connected (SO_PEERCRED and SO_PEERGROUPS, unix(7)). They stay the
/// same when the descriptor is passed on or the process changes its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Effective user id.
    pub user: u32,
    /// Effective group id: the primary group.
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Process id in the reader's pid namespace; 0 for a process outside of it.
    pub process: i32,
}

impl PeerCredentials {
    /// Reads the credentials of the process that connected to this end.
    ///
    /// # Errors
    /// Errors of getsockopt(2). Before Linux 4.13, which lacks SO_PEERGROUPS, there are no supplementary groups
    /// and no error.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let process = getsockopt(&socket, sockopt::PeerCredentials)?;
        let groups = groups(socket.as_fd())?;
        Ok(Self { user: process.uid(), group: process.gid(), groups, process: process.pid() })
    }

    /// True if the group is its primary or a supplementary one.
    #[must_use]
    pub fn is_in(&self, group: u32) -> bool {
        self.group == group || self.groups.contains(&group)
    }
}

/// Reads the supplementary groups. The credentials never change, so a second request of the reported size
/// suffices.
fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; GROUPS];
    loop {
        let (outcome, count) = peer_groups(socket, &mut groups);
        match outcome {
            Ok(()) => {
                groups.truncate(count);
                return Ok(groups);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads SO_PEERGROUPS (`sk_getsockopt` in net/core/sock.c). Returns the number of groups, also with ERANGE.
fn peer_groups(socket: BorrowedFd<'_>, groups: &mut [u32]) -> (io::Result<()>, usize) {
    const GROUP: usize = size_of::<libc::gid_t>();
    let mut length = size_of_val(groups) as libc::socklen_t; // 4 bytes for each of 65,536 at most
    // SAFETY: `groups` is writable for `length` bytes, the length that the kernel receives and keeps to; gid_t is
    // u32, of which every value is valid. `length` is a socklen_t of this frame, and the descriptor is borrowed
    // for the call.
    let returned = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let outcome = if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    (outcome, length as usize / GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{getegid, geteuid, getgroups};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn own_credentials_are_reported() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let groups = getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        let process = std::process::id().cast_signed();
        let peer = PeerCredentials { user: geteuid().as_raw(), group: getegid().as_raw(), groups, process };
        assert_eq!(PeerCredentials::of(&ours).unwrap(), peer);
    }

    /// Gives the calling thread alone these groups: without glibc, which has every thread follow.
    fn become_member(group: u32, groups: &[u32]) {
        // SAFETY: the list is readable for as many gid_t as its length; the other call takes numbers only.
        let returned = unsafe {
            [
                libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()),
                libc::syscall(libc::SYS_setresgid, group, group, group),
            ]
        };
        assert_eq!(returned, [0, 0], "{}: tests run as root", io::Error::last_os_error());
    }

    #[test]
    fn groups_beyond_the_first_request_are_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        for count in [0, 1, GROUPS as u32, GROUPS as u32 + 1, 65_536] {
            let groups: Vec<u32> = (5000..5000 + count).collect();
            let connect = || {
                become_member(4711, &groups);
                UnixStream::connect(&path).unwrap()
            };
            let _theirs = std::thread::scope(|scope| scope.spawn(connect).join().unwrap());
            let peer = PeerCredentials::of(listener.accept().unwrap().0).unwrap();
            assert!(peer.is_in(4711) && !peer.is_in(4999) && (count == 0 || peer.is_in(4999 + count)));
            let process = std::process::id().cast_signed();
            assert_eq!(peer, PeerCredentials { user: geteuid().as_raw(), group: 4711, groups, process });
        }
    }

    #[test]
    fn unconnected_descriptor_is_an_error() {
        assert!(PeerCredentials::of(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
