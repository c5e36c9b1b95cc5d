//! XDP on the client side.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::doctor::interface_facts::InterfaceFacts;

/// Beginning of the names of directrix's own programs.
const OWN: &str = "directrix_";
/// Name of a program whose name this process may not read.
const NAMELESS: &str = "of unknown name";

/// The interface that AF_XDP would use, if it may be used.
fn xdp_interface(facts: &DirectorFacts) -> Option<&InterfaceFacts> {
    facts.client().filter(|client| facts.may_use_xdp() && !client.is_master())
}

/// Programs in the driver. A veth that has too few queues for its peer reports no XDP, and [`veth_queues`] says so.
pub(in crate::doctor) fn native(facts: &DirectorFacts) -> Judgement {
    let Some(client) = xdp_interface(facts).filter(|client| !lacks_queues(client)) else {
        return Judgement::Moot;
    };
    let name = client.name();
    match &client.features {
        Err(reason) => Fault::unknown(format!("whether the driver of {name} runs XDP programs"), reason).into(),
        Ok(features) if features.is_native() => Vec::new().into(),
        Ok(_) if facts.needs_xdp() => Fault::new(
            FindingLevel::Warn,
            format!("the driver of {name} has no XDP"),
            "backend \"xdp\" runs in the network stack (generic mode): a socket buffer for each frame, and GRO is switched off",
        )
        .advice("use backend = \"packet\", or a NIC whose driver has XDP")
        .into(),
        Ok(_) => Fault::new(
            FindingLevel::Hint,
            format!("the driver of {name} has no XDP"),
            "backend \"auto\" takes AF_PACKET, which forwards less frames a second",
        )
        .into(),
    }
}

/// AF_XDP without a copy.
pub(in crate::doctor) fn zero_copy(facts: &DirectorFacts) -> Judgement {
    let features = xdp_interface(facts).and_then(|client| Some((client, client.features.as_ref().ok()?)));
    match features {
        Some((_, features)) if !features.is_native() => Judgement::Moot,
        Some((client, features)) if !features.has_zero_copy() => Fault::new(
            FindingLevel::Hint,
            format!("the driver of {} has no zero-copy", client.name()),
            "AF_XDP copies each frame; the figures of zero-copy do not hold here",
        )
        .into(),
        Some(_) => Vec::new().into(),
        None => Judgement::Moot,
    }
}

/// XDP programs of others.
pub(in crate::doctor) fn foreign(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client() else { return Judgement::Moot };
    let name = client.name();
    let program = match &client.program {
        Err(reason) => return Fault::unknown(format!("XDP programs on {name}"), reason).into(),
        Ok(program) => program.as_ref().filter(|(_, of)| !of.starts_with(OWN)),
    };
    if let Some((id, NAMELESS)) = program.map(|(id, of)| (id, of.as_str())) {
        let what = format!("an XDP program (id {id}) is attached to {name}");
        return Fault::unknown(what, "its name takes CAP_SYS_ADMIN: it may be directrix's own").into();
    }
    program
        .map(|(id, of)| {
            let (level, effect) = if facts.needs_xdp() {
                (FindingLevel::Error, "there is room for one: backend \"xdp\" does not start (EBUSY)")
            } else {
                (
                    FindingLevel::Warn,
                    "it may take frames before the director, and AF_XDP has no room beside it (EBUSY)",
                )
            };
            let what = format!("the XDP program {of} (id {id}) is attached to {name}");
            Fault::new(level, what, effect).command(format!("ip link set dev {name} xdp off"))
        })
        .into()
}

fn lacks_queues(client: &InterfaceFacts) -> bool {
    let peer = client.peer.as_ref().and_then(|peer| peer.as_ref().ok());
    peer.is_some_and(|peer| peer.transmit_queues > client.interface.queues)
}

/// Queues of a veth and its peer: with fewer the driver refuses XDP (`veth_xdp_set` in drivers/net/veth.c).
pub(in crate::doctor) fn veth_queues(facts: &DirectorFacts) -> Judgement {
    let Some((client, Some(peer))) = xdp_interface(facts).map(|client| (client, &client.peer)) else {
        return Judgement::Moot;
    };
    let (name, receive) = (client.name(), client.interface.queues);
    let peer = match peer {
        Err(reason) => {
            return Fault::unknown(format!("transmit queues of the peer of {name}"), reason).into();
        }
        Ok(_) if !lacks_queues(client) => return Vec::new().into(),
        Ok(peer) => peer,
    };
    let (level, effect) = if facts.needs_xdp() {
        (
            FindingLevel::Warn,
            "the driver refuses XDP, and backend \"xdp\" runs in the network stack (generic mode)",
        )
    } else {
        (FindingLevel::Hint, "the driver refuses XDP, and backend \"auto\" takes AF_PACKET")
    };
    let count = peer.transmit_queues;
    let what = format!("{name} has {receive} receive queue(s), and its peer {} sends on {count}", peer.name);
    let line = match client.channels {
        Some(has) if has.receive_max.min(has.transmit_max) >= count => {
            format!("ethtool -L {name} rx {count} tx {count}")
        }
        _ => peer.command(&format!("ethtool -L {} tx {receive}", peer.name)),
    };
    Fault::new(level, what, effect).command(line).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::model::BackendChoice;
    use crate::sys::netdev::XdpFeatures;
    use FindingLevel::{Hint, Unknown, Warn};

    #[test]
    fn a_driver_without_xdp_weighs_by_the_backend() {
        let mut facts = sample::sound();
        facts.interfaces[0].features = Ok(XdpFeatures(0));
        for (backend, wanted) in [(BackendChoice::Auto, Some(Hint)), (BackendChoice::Xdp, Some(Warn))] {
            facts.wanted.backend = backend;
            assert_eq!(sample::level(native(&facts)), wanted, "{backend:?}");
            assert_eq!(zero_copy(&facts), Judgement::Moot, "one finding is enough");
        }
        facts.wanted.backend = BackendChoice::Packet;
        assert_eq!(native(&facts), Judgement::Moot);
        facts.wanted.backend = BackendChoice::Auto;
        facts.interfaces[0].features = Err("before Linux 6.3".into());
        assert_eq!(sample::level(native(&facts)), Some(Unknown));
    }

    #[test]
    fn programs_of_directrix_itself_are_no_fault() {
        let mut facts = sample::sound();
        facts.interfaces[0].program = Ok(Some((7, "directrix_steer".into())));
        assert_eq!(sample::level(foreign(&facts)), None);
        facts.interfaces[0].program = Ok(Some((7, "filter".into())));
        assert_eq!(sample::level(foreign(&facts)), Some(Warn));
        facts.interfaces[0].program = Ok(Some((7, NAMELESS.into())));
        assert_eq!(sample::level(foreign(&facts)), Some(Unknown));
        facts.interfaces[0].program = Err("EPERM".into());
        assert_eq!(sample::level(foreign(&facts)), Some(Unknown));
    }
}
