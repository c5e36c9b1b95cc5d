//! Lower devices of an interface, recursively: ports of a bridge, slaves of a bond, the parent of a VLAN.

use crate::sys::rtnetlink::{self, LinkInfo};
use std::collections::BTreeSet;
use std::io;

/// Lower devices of an interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LowerInterfaces {
    /// Names of the interfaces in this network namespace.
    pub(super) names: Vec<String>,
    /// Names of those, or of the interface itself, whose lower device is in another network namespace.
    pub(super) leading_elsewhere: Vec<String>,
}

/// Finds the lower devices of the interface with this index, in the calling thread's network namespace.
pub(super) fn lower_interfaces(index: u32) -> io::Result<LowerInterfaces> {
    Ok(among(&rtnetlink::links()?, index))
}

fn among(links: &[LinkInfo], index: u32) -> LowerInterfaces {
    let (mut below, mut seen, mut next) = (LowerInterfaces::default(), BTreeSet::from([index]), vec![index]);
    while let Some(index) = next.pop() {
        let Some(link) = links.iter().find(|link| link.index == index) else { continue };
        if link.link_netns.is_some() && !is_pair(link) {
            below.leading_elsewhere.push(link.name.clone());
        }
        for lower in links.iter().filter(|lower| carries(lower, link)) {
            if seen.insert(lower.index) {
                below.names.push(lower.name.clone());
                next.push(lower.index);
            }
        }
    }
    below
}

/// True if frames of `upper` arrive on `lower`.
fn carries(lower: &LinkInfo, upper: &LinkInfo) -> bool {
    let is_parent = upper.link == Some(lower.index) && upper.link_netns.is_none() && !is_pair(upper);
    is_parent || lower.master == Some(upper.index)
}

/// True if IFLA_LINK names the peer, not a lower device.
fn is_pair(link: &LinkInfo) -> bool {
    matches!(link.kind.as_deref(), Some("veth" | "netkit" | "vxcan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: Option<&str>) -> LinkInfo {
        LinkInfo { index, name: name.into(), kind: kind.map(str::to_owned), ..LinkInfo::default() }
    }

    #[test]
    fn ports_and_parents_are_below_down_to_the_hardware() {
        let links = [
            link(2, "eth1", None),
            LinkInfo { master: Some(5), ..link(3, "eth2", None) },
            LinkInfo { master: Some(5), ..link(4, "eth3", None) },
            LinkInfo { is_master: true, ..link(5, "bond0", Some("bond")) },
            LinkInfo { link: Some(5), master: Some(7), ..link(6, "bond0.100", Some("vlan")) },
            link(7, "br0", Some("bridge")),
            LinkInfo { link: Some(7), ..link(8, "mv0", Some("macvlan")) },
        ];
        let names = |index| {
            let mut names = among(&links, index).names;
            names.sort();
            names
        };
        assert_eq!(names(8), ["bond0", "bond0.100", "br0", "eth2", "eth3"]);
        assert_eq!(names(6), ["bond0", "eth2", "eth3"]);
        assert!(names(2).is_empty());
    }

    #[test]
    fn a_peer_is_not_below_its_veth() {
        let here = LinkInfo { link: Some(3), ..link(2, "eth0", Some("veth")) };
        let away = LinkInfo { link: Some(9), link_netns: Some(0), ..link(3, "eth1", Some("veth")) };
        assert_eq!(among(&[here, away.clone()], 2), LowerInterfaces::default());
        assert_eq!(among(&[away], 3), LowerInterfaces::default());
    }

    #[test]
    fn parent_in_another_namespace_is_named() {
        let mv0 = LinkInfo { link: Some(2), link_netns: Some(0), ..link(4, "mv0", Some("macvlan")) };
        let same_index = link(2, "eth0", None);
        let below = among(&[mv0, same_index], 4);
        assert_eq!(below, LowerInterfaces { names: Vec::new(), leading_elsewhere: vec!["mv0".into()] });
    }
}
