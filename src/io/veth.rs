//! Whether frames that arrive on a veth have finished checksums.
//!
//! A veth hands over frames whose TCP or UDP checksum is left to the sender's device, unfinished. The peer settles
//! that for all frames, also for those that it only passes on as port of a bridge: with transmit checksum offload
//! off there, the kernel finishes them as they leave (`validate_xmit_skb` in net/core/dev.c).

use super::Interface;
use crate::sys::ethtool;
use crate::sys::rtnetlink::{self, LinkInfo};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// What is known of the checksums of frames from a veth's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Transmit checksum offload of the peer is off.
    Finished,
    /// It is on, at the peer of this name.
    Unfinished(String),
    /// The peer cannot be asked.
    Unknown,
}

/// Asks the peer of `interface`; `None` if it is not a veth.
///
/// A peer in another network namespace is found if that is init's or one of `ip netns`, and asking it takes
/// CAP_SYS_ADMIN. The calling thread enters that namespace meanwhile.
pub(super) fn checksums(interface: &Interface) -> Option<Checksums> {
    let link = rtnetlink::link(interface.index).ok().flatten()?;
    (link.kind.as_deref() == Some("veth")).then(|| of_peer(&link))
}

fn of_peer(link: &LinkInfo) -> Checksums {
    let Some(peer) = link.link else { return Checksums::Unknown };
    let answer = match link.link_netns {
        None => Some(ask(peer)),
        Some(id) => namespace(id).and_then(|namespace| within(&namespace, || ask(peer)).ok()),
    };
    answer.flatten().unwrap_or(Checksums::Unknown)
}

/// What the interface with this index does, in the calling thread's network namespace.
fn ask(index: u32) -> Option<Checksums> {
    let LinkInfo { name, .. } = rtnetlink::link(index).ok()??;
    Some(if ethtool::transmit_checksums(&name)? { Checksums::Unfinished(name) } else { Checksums::Finished })
}

/// The network namespace that has this number here, if it can be found.
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
