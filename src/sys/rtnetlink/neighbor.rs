//! The kernel's neighbor table (RTM_GETNEIGH of linux/rtnetlink.h).

use super::message::{Attributes, dump, u16_at, u32_at};
use super::route::ip_of;
use crate::wire::MacAddr;
use std::io;
use std::net::IpAddr;

/// `struct ndmsg` of linux/neighbour.h, in bytes.
const NEIGHBOR_HEADER: usize = 12;

/// A neighbor with a known MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeighborEntry {
    /// Index of the interface.
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddr,
}

/// Lists the neighbors of both families, without failed entries (dump of RTM_GETNEIGH).
pub(crate) fn neighbors() -> io::Result<Vec<NeighborEntry>> {
    let mut entries = Vec::new();
    dump(libc::RTM_GETNEIGH, &[0; NEIGHBOR_HEADER], |payload| entries.extend(entry_of(payload)))?;
    Ok(entries)
}

fn entry_of(payload: &[u8]) -> Option<NeighborEntry> {
    let (header, attributes) = payload.split_at_checked(NEIGHBOR_HEADER)?;
    let unusable = libc::NUD_INCOMPLETE | libc::NUD_FAILED | libc::NUD_NOARP;
    if u16_at(header, 8)? & unusable != 0 {
        return None;
    }
    let find = |wanted| Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let mac = find(libc::NDA_LLADDR)?.try_into().ok().map(MacAddr)?;
    Some(NeighborEntry { index: u32_at(header, 4)?, address: ip_of(find(libc::NDA_DST)?)?, mac })
}
