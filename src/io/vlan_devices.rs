//! VLAN devices of this host: the kernel's receivers of tagged frames.

use super::Interface;
use crate::sys::ethtool;
use crate::sys::rtnetlink::{self, LinkInfo};
use crate::wire::ethernet::{SERVICE_TAG, TAG};
use crate::wire::vlan::{Tag, Vlans};
use std::collections::BTreeSet;

/// The interfaces of the calling thread's network namespace, as receivers of what one of them gets.
pub(super) struct Receivers<'a> {
    interface: &'a Interface,
    /// `None` if rtnetlink fails.
    links: Option<Vec<LinkInfo>>,
}

impl<'a> Receivers<'a> {
    pub(super) fn of(interface: &'a Interface) -> Self {
        Self { interface, links: rtnetlink::links().ok() }
    }

    /// Name of the interface that processes frames of these VLANs in the kernel: a VLAN device, or for none the interface
    /// itself. `None` without such a device in this network namespace: the kernel drops the frames.
    pub(super) fn name(&self, vlans: Vlans) -> Option<&str> {
        match &self.links {
            Some(links) if !vlans.is_none() => device(links, self.interface.index, vlans.tags()),
            _ => Some(&self.interface.name),
        }
    }
}

impl Interface {
    /// The identifiers of the outer tags of `all` whose frames the interface drops: it has a filter for VLANs, and there is no
    /// VLAN device of that tag in this network namespace. None if the devices cannot be listed.
    #[must_use]
    pub fn filtered_vlans(&self, all: &BTreeSet<Vlans>) -> BTreeSet<u16> {
        let filtered =
            [TAG, SERVICE_TAG].map(|protocol| (protocol, ethtool::filters_tags(&self.name, protocol)));
        if filtered.iter().all(|(_, is_filtered)| !is_filtered) {
            return BTreeSet::new();
        }
        let Ok(links) = rtnetlink::links() else { return BTreeSet::new() };
        let has_device = |tag| device(&links, self.index, [tag].into_iter()).is_some();
        let outer = all.iter().filter_map(|vlans| vlans.tags().next());
        let dropped = outer.filter(|tag| filtered.contains(&(tag.protocol, true)) && !has_device(*tag));
        dropped.map(Tag::vlan).collect()
    }
}

/// Name of the VLAN device above the interface with this index that has these tags, the outer one first.
fn device(links: &[LinkInfo], index: u32, mut tags: impl Iterator<Item = Tag>) -> Option<&str> {
    let parent = links.iter().find(|link| link.index == index)?;
    let found = tags.try_fold(parent, |parent, tag| {
        let is_device = |link: &&LinkInfo| {
            link.link == Some(parent.index) && link.link_netns.is_none() && link.tag == Some(tag)
        };
        links.iter().find(is_device)
    });
    found.map(|link| link.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, above: u32, tag: (u16, u16)) -> LinkInfo {
        let tag = Some(Tag { protocol: tag.0, control: tag.1 });
        LinkInfo { index, name: name.into(), link: Some(above), tag, ..LinkInfo::default() }
    }

    #[test]
    fn frames_go_to_the_device_of_their_tags() {
        let links = [
            LinkInfo { index: 2, name: "eth0".into(), ..LinkInfo::default() },
            link(3, "eth0.100", 2, (TAG, 100)),
            link(4, "eth0.100ad", 2, (SERVICE_TAG, 100)),
            link(5, "eth0.100.7", 4, (TAG, 7)),
            link(6, "eth1.9", 1, (TAG, 9)),
            LinkInfo { link_netns: Some(0), ..link(7, "away", 2, (TAG, 9)) },
        ];
        let found = |vlans: Option<Vlans>| device(&links, 2, vlans.unwrap().tags());
        assert_eq!(found(Vlans::new(&[100])), Some("eth0.100"));
        assert_eq!(found(Vlans::new(&[100, 7])), Some("eth0.100.7"));
        assert_eq!([Vlans::new(&[9]), Vlans::new(&[100, 8]), Vlans::q_in_q(100, 7)].map(found), [None; 3]);
    }
}
