//! Checksum state of frames received on a veth.
//!
//! A veth delivers frames with an offloaded TCP, UDP or SCTP checksum unfinished (CHECKSUM_PARTIAL). Transmit
//! checksum offload of the peer decides for all frames, also those of a bridge that the peer is a port of: if
//! it is off, the kernel finishes checksums on transmission (`validate_xmit_skb` in net/core/dev.c).

use super::Interface;
use crate::sys::ethtool;
use crate::sys::rtnetlink::{self, LinkInfo};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Checksum state of frames from a veth's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Transmit checksum offload of the peer is off.
    Finished,
    /// It is on, at the peer of this name.
    Unfinished(String),
    /// The peer is not accessible.
    Unknown,
}

/// Determines the state for `interface`; `None` if it is not a veth.
///
/// A peer in another network namespace is found if that is init's or one of `ip netns`. This takes
/// CAP_SYS_ADMIN, and the calling thread enters that namespace meanwhile.
pub(super) fn checksums(interface: &Interface) -> Option<Checksums> {
    let link = rtnetlink::link(interface.index).ok().flatten()?;
    (link.kind.as_deref() == Some("veth")).then(|| of_peer(&link))
}

fn of_peer(link: &LinkInfo) -> Checksums {
    let Some(peer) = link.link else { return Checksums::Unknown };
    let answer = match link.link_netns {
        None => Some(checksums_here(peer)),
        Some(id) => namespace(id).and_then(|namespace| within(&namespace, || checksums_here(peer)).ok()),
    };
    answer.flatten().unwrap_or(Checksums::Unknown)
}

/// State by the offload setting of the interface with this index, in the calling thread's network namespace.
fn checksums_here(index: u32) -> Option<Checksums> {
    let LinkInfo { name, .. } = rtnetlink::link(index).ok()??;
    Some(if ethtool::transmit_checksums(&name)? { Checksums::Unfinished(name) } else { Checksums::Finished })
}

/// Opens the network namespace with this id, if it can be found.
fn namespace(id: i32) -> Option<File> {
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files = named.chain([PathBuf::from("/proc/1/ns/net")]).filter_map(|path| File::open(path).ok());
    files.find(|file| rtnetlink::netns_id(file.as_fd()).ok().flatten() == Some(id))
}

/// Calls `f` in another network namespace.
///
/// # Panics
/// If there is no way back: nothing that follows would be done where it should.
fn within<T>(namespace: &File, f: impl FnOnce() -> T) -> io::Result<T> {
    let home = File::open("/proc/thread-self/ns/net")?;
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let value = f();
    setns(home, CloneFlags::CLONE_NEWNET).expect("a thread may go back to where it came from");
    Ok(value)
}
