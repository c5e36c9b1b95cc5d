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

/// The other end of a veth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VethPeer {
    /// Its name, in its network namespace.
    pub name: String,
    /// File of its network namespace; `None` if it is in the same one.
    pub namespace: Option<PathBuf>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its transmit queues, at least 1.
    pub transmit_queues: u32,
    /// Whether it leaves checksums unfinished; `None` if the driver does not report that.
    pub unfinished_checksums: Option<bool>,
}

impl VethPeer {
    /// Finds the peer of `interface`; `None` if it is not accessible, or `interface` is not a veth.
    ///
    /// A peer in another network namespace is found if that is init's or one of `ip netns`. This takes
    /// CAP_SYS_ADMIN, and the calling thread enters that namespace meanwhile.
    #[must_use]
    pub fn of(interface: &Interface) -> Option<Self> {
        let link = rtnetlink::link(interface.index).ok().flatten()?;
        if link.kind.as_deref() == Some("veth") { of_peer(&link) } else { None }
    }

    /// A shell command that runs in the network namespace of the peer.
    #[must_use]
    pub fn command(&self, words: &str) -> String {
        match &self.namespace {
            Some(file) => format!("nsenter --net={} {words}", file.display()),
            None => words.to_owned(),
        }
    }
}

/// Determines the state for `interface`, as [`VethPeer::of`] finds the peer; `None` if it is not a veth.
pub(super) fn checksums(interface: &Interface) -> Option<Checksums> {
    let link = rtnetlink::link(interface.index).ok().flatten()?;
    (link.kind.as_deref() == Some("veth")).then(|| match of_peer(&link) {
        Some(VethPeer { name, unfinished_checksums: Some(true), .. }) => Checksums::Unfinished(name),
        Some(VethPeer { unfinished_checksums: Some(false), .. }) => Checksums::Finished,
        _ => Checksums::Unknown,
    })
}

fn of_peer(link: &LinkInfo) -> Option<VethPeer> {
    let peer = link.link?;
    let Some(id) = link.link_netns else { return peer_here(peer, None) };
    let (path, file) = namespace(id)?;
    within(&file, || peer_here(peer, Some(path))).ok().flatten()
}

/// The interface with this index in the calling thread's network namespace, whose file is `namespace`.
fn peer_here(index: u32, namespace: Option<PathBuf>) -> Option<VethPeer> {
    let LinkInfo { name, mtu, transmit_queues, .. } = rtnetlink::link(index).ok()??;
    let transmit_queues =
        ethtool::channels(&name).map_or(transmit_queues, |channels| channels.transmit).max(1);
    let unfinished_checksums = ethtool::transmit_checksums(&name);
    Some(VethPeer { name, namespace, mtu, transmit_queues, unfinished_checksums })
}

/// Opens the network namespace with this id, if it can be found.
fn namespace(id: i32) -> Option<(PathBuf, File)> {
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.path());
    let files = named.chain([PathBuf::from("/proc/1/ns/net")]);
    let mut files = files.filter_map(|path| File::open(&path).ok().map(|file| (path, file)));
    files.find(|(_, file)| rtnetlink::netns_id(file.as_fd()).ok().flatten() == Some(id))
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
