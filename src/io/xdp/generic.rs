//! Preconditions of generic XDP, which runs in the network stack after the receive offloads.

use crate::io::Interface;
use crate::io::lower::{LowerInterfaces, lower_interfaces};
use crate::sys::ethtool::{self, GroOff};
use crate::sys::rtnetlink;
use tracing::warn;

/// Switches GRO off on an interface and its lower devices, until the result is dropped. Merged frames exceed
/// both chunk and MTU.
pub(super) fn forbid_merging(interface: &Interface) -> Vec<GroOff> {
    let name = &interface.name;
    let LowerInterfaces { names, leading_elsewhere } =
        lower_interfaces(interface.index).unwrap_or_else(|error| {
            let error = crate::sys::errno(&error);
            warn!(interface = %name, error, "the lower interfaces are unknown: switch GRO off on them");
            LowerInterfaces::default()
        });
    for upper in &leading_elsewhere {
        warn!(
            interface = %upper,
            "the lower interface is in another network namespace, and frames that GRO merges there are lost; \
             there: ethtool -K INTERFACE gro off lro off"
        );
    }
    for name in std::iter::once(name).chain(&names) {
        warn_of_checksums(name);
    }
    std::iter::once(name).chain(&names).filter_map(|name| gro_off(name)).collect()
}

/// Kind of an interface that gets its frames from lower devices, as a bridge does: `skb_vlan_untag` in
/// `__netif_receive_skb_core` (net/core/dev.c) comes before. A VLAN device sees an inner tag.
pub(super) fn hides_tags(interface: &Interface) -> Option<String> {
    const KINDS: [&str; 8] =
        ["bridge", "bond", "team", "macvlan", "macvtap", "ipvlan", "ipvtap", "openvswitch"];
    let kind = rtnetlink::link(interface.index).ok()??.kind?;
    KINDS.contains(&kind.as_str()).then_some(kind)
}

fn gro_off(name: &str) -> Option<GroOff> {
    GroOff::new(name).unwrap_or_else(|error| {
        let error = crate::sys::errno(&error);
        let remedy = format!("ethtool -K {name} gro off");
        warn!(interface = %name, error, remedy, "GRO cannot be switched off");
        None
    })
}

/// Warns of unfinished checksums on a virtio interface: they come from guests of the same host, and XDP does not see
/// the flag that marks them.
fn warn_of_checksums(name: &str) {
    let is_virtio = ethtool::driver(name).is_some_and(|driver| driver == "virtio_net");
    if is_virtio && ethtool::receive_checksums(name) == Some(true) {
        let remedy = format!("set backend = \"packet\", or try ethtool -K {name} rx off");
        warn!(
            interface = %name, remedy,
            "frames from guests of the same host have unfinished checksums, and real servers will drop them"
        );
    }
}
