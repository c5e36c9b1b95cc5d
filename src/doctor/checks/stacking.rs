//! Interfaces on others, and below others: bridge ports, macvlan, ipvlan.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::doctor::interface_facts::InterfaceFacts;

/// MACVLAN_MODE_PRIVATE of linux/if_link.h.
const PRIVATE: u32 = 1;

/// Ports of a bridge, slaves of a bond.
pub(in crate::doctor) fn bridge_port(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    facts.interfaces.iter().filter_map(port).collect::<Vec<_>>().into()
}

fn port(one: &InterfaceFacts) -> Option<Fault> {
    let (name, master) = (one.name(), one.master.as_ref()?);
    let (of, kind) = (&master.name, master.kind.as_deref().unwrap_or("master"));
    let effect = match kind {
        "bridge" => format!(
            "only what comes in by {name} reaches the director: hosts at other ports of {of} do not, and {of} has the address, \
             not {name}"
        ),
        "vrf" => return None,
        _ => format!("only what comes in by {name} reaches the director, and {of} has the address"),
    };
    let what = format!("{name} is a port of the {kind} {of}");
    let fault = Fault::new(FindingLevel::Warn, what, effect);
    Some(fault.advice(format!(
        "name the {kind}: interface = \"{of}\"; or take {name} out of it: ip link set dev {name} nomaster"
    )))
}

/// MAC addresses that other devices share, and segments that hide neighbors.
pub(in crate::doctor) fn shared_mac(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    facts.interfaces.iter().filter_map(sharing).collect::<Vec<_>>().into()
}

fn sharing(one: &InterfaceFacts) -> Option<Fault> {
    let name = one.name();
    let (level, what, effect) = match (one.kind(), one.link.macvlan_mode, &one.above) {
        ("ipvlan", ..) => (
            FindingLevel::Error,
            format!("{name} is an ipvlan"),
            "it shares the MAC address of its parent, which takes every frame by its IP address: none for a VIP arrives",
        ),
        ("macvlan", Some(PRIVATE), _) => (
            FindingLevel::Error,
            format!("{name} is a macvlan in private mode"),
            "devices beside it on the same parent do not hear it: real servers and clients there have no answer",
        ),
        (_, _, Some(above)) => (
            FindingLevel::Hint,
            format!("{name} carries {above}"),
            "frames between the director and that device stay within this host: it cannot be a client or a real server",
        ),
        _ => return None,
    };
    let fault = Fault::new(level, what, effect);
    Some(if level == FindingLevel::Error {
        fault.advice("use a NIC, a veth, or a macvlan in bridge mode")
    } else {
        fault
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::sys::rtnetlink::LinkInfo;

    #[test]
    fn a_bridge_port_names_its_bridge() {
        let mut facts = sample::sound();
        let bridge = LinkInfo { name: "br0".into(), kind: Some("bridge".into()), ..LinkInfo::default() };
        facts.interfaces[0].master = Some(bridge.clone());
        let Judgement::Examined(faults) = bridge_port(&facts) else { panic!("there is an interface") };
        assert!(faults[0].what.contains("eth0 is a port of the bridge br0"), "{faults:?}");
        facts.interfaces[0].master = Some(LinkInfo { kind: Some("vrf".into()), ..bridge });
        assert_eq!(sample::level(bridge_port(&facts)), None);
    }

    #[test]
    fn virtual_devices_weigh_by_what_they_hide() {
        let mut facts = sample::sound();
        for (kind, mode, above, wanted) in [
            ("macvlan", Some(4), None, None),
            ("macvlan", Some(1), None, Some(FindingLevel::Error)),
            ("ipvlan", None, None, Some(FindingLevel::Error)),
            ("", None, Some("mv0"), Some(FindingLevel::Hint)),
        ] {
            let link = LinkInfo { kind: Some(kind.into()), macvlan_mode: mode, ..LinkInfo::default() };
            (facts.interfaces[0].link, facts.interfaces[0].above) = (link, above.map(str::to_owned));
            assert_eq!(sample::level(shared_mac(&facts)), wanted, "{kind} {mode:?}");
        }
    }
}
