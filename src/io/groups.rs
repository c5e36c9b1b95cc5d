//! Solicited-node groups of VIPs: memberships that the kernel reports to switches by MLD.

use super::frames::FrameSocket;
use crate::wire::ndp::{multicast_mac, solicited_node};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv6Addr, UdpSocket};

/// Memberships on one interface, one for all VIPs that share a group. They end with their sockets.
#[derive(Debug)]
pub struct MulticastGroups {
    /// Kernel index of the interface.
    interface: u32,
    /// Sockets of IPv6 that hold memberships. The kernel limits the memory of each (net.core.optmem_max), which is
    /// enough for some hundred groups.
    sockets: Vec<UdpSocket>,
    groups: BTreeMap<Ipv6Addr, Membership>,
}

#[derive(Debug)]
struct Membership {
    vips: BTreeSet<Ipv6Addr>,
    /// Index of the socket in [`MulticastGroups::sockets`] that holds the reported membership; `None` if none does.
    reported: Option<usize>,
}

/// Outcome of [`MulticastGroups::join`].
#[derive(Debug)]
pub enum GroupChange {
    /// Nothing to report: the membership is as it should be.
    Done,
    /// Joined at the interface only, for this reason: no report of the membership is sent.
    Unreported(io::Error),
    /// Not joined: solicitations of the VIP arrive only by chance.
    Failed(io::Error),
}

impl MulticastGroups {
    /// Creates an empty set of memberships on the interface with this index.
    #[must_use]
    pub fn new(interface: u32) -> Self {
        Self { interface, sockets: Vec::new(), groups: BTreeMap::new() }
    }

    /// Joins the group of `vip`. `packets` is the interface's socket: it receives the group while IPv6 is off, too.
    pub fn join(&mut self, vip: Ipv6Addr, packets: &FrameSocket) -> GroupChange {
        let group = solicited_node(vip);
        if self.groups.contains_key(&group) {
            return self.join_another(vip, group);
        }
        let received = packets.receive_group(multicast_mac(group));
        let (reported, change) = match (self.report_membership(group), received) {
            (Ok(index), _) => (Some(index), GroupChange::Done),
            (Err(reason), Ok(())) => (None, GroupChange::Unreported(reason)),
            (Err(_), Err(error)) => return GroupChange::Failed(error),
        };
        self.groups.insert(group, Membership { vips: BTreeSet::from([vip]), reported });
        change
    }

    /// Joins a group that another VIP has. Reports it if that failed before.
    fn join_another(&mut self, vip: Ipv6Addr, group: Ipv6Addr) -> GroupChange {
        let reported = self.groups.get(&group).and_then(|membership| membership.reported);
        let reported = reported.map_or_else(|| self.report_membership(group), Ok);
        if let Some(membership) = self.groups.get_mut(&group) {
            membership.vips.insert(vip);
            membership.reported = reported.as_ref().ok().copied();
        }
        reported.map_or_else(GroupChange::Unreported, |_| GroupChange::Done)
    }

    /// Reports all memberships anew. Those of an interface end with its IPv6, as when its MTU falls below 1,280 bytes, and
    /// do not return with it. Returns the number of groups.
    ///
    /// # Errors
    /// The last error of setsockopt(2): some memberships are not reported.
    pub fn renew(&mut self) -> io::Result<usize> {
        self.sockets.clear(); // ends what is left of them
        let groups: Vec<_> = self.groups.keys().copied().collect();
        let mut outcome = Ok(groups.len());
        for group in groups {
            let joined = self.report_membership(group);
            if let Some(membership) = self.groups.get_mut(&group) {
                membership.reported = joined.as_ref().ok().copied();
            }
            outcome = joined.and(outcome);
        }
        outcome
    }

    /// Leaves the group of `vip`, unless another VIP shares it.
    pub fn leave(&mut self, vip: Ipv6Addr, packets: &FrameSocket) {
        let group = solicited_node(vip);
        let Some(membership) = self.groups.get_mut(&group) else { return };
        membership.vips.remove(&vip);
        if !membership.vips.is_empty() {
            return;
        }
        // An error leaves a membership too many, which harms nothing.
        let _ = packets.ignore_group(multicast_mac(group));
        if let Some(index) = membership.reported {
            let _ = self.sockets[index].leave_multicast_v6(&group, self.interface);
        }
        self.groups.remove(&group);
    }

    /// Joins by the last socket, or by a new one if that has no memory left. Returns its index.
    fn report_membership(&mut self, group: Ipv6Addr) -> io::Result<usize> {
        if let Some(last) = self.sockets.last() {
            match last.join_multicast_v6(&group, self.interface) {
                Err(error) if is_full(&error) => {}
                joined => return joined.map(|()| self.sockets.len() - 1),
            }
        }
        let socket = open()?;
        socket.join_multicast_v6(&group, self.interface)?;
        self.sockets.push(socket);
        Ok(self.sockets.len() - 1)
    }
}

/// Opens a socket that is not bound: it holds memberships and receives nothing.
fn open() -> io::Result<UdpSocket> {
    Ok(socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?.into())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS))
}
