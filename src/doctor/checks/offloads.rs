//! Offloads of the interface that change received frames.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// Features that merge received frames: LRO in the NIC, GRO of datagrams for forwarding.
pub(in crate::doctor) fn merging(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client() else { return Judgement::Moot };
    let name = client.name();
    let faults = client.merging.iter().map(|feature| {
        let (level, effect) = match *feature {
            "rx-lro" if facts.needs_xdp() => {
                (FindingLevel::Error, "drivers refuse XDP with it, or frames are longer than a buffer")
            }
            "rx-lro" => {
                (FindingLevel::Warn, "merged frames are longer than the MTU: they are dropped as too_long")
            }
            _ => (
                FindingLevel::Warn,
                "datagrams of one flow arrive merged, longer than the MTU: they are dropped as too_long",
            ),
        };
        Fault::new(level, format!("{feature} is on at {name}"), effect)
            .command(format!("ethtool -K {name} {feature} off"))
    });
    faults.collect::<Vec<_>>().into()
}

/// Unfinished checksums from the peer of a veth, which XDP does not see.
pub(in crate::doctor) fn checksums(facts: &DirectorFacts) -> Judgement {
    let Some((client, Some(peer))) =
        facts.client().filter(|_| facts.may_use_xdp()).map(|one| (one, &one.peer))
    else {
        return Judgement::Moot;
    };
    let name = client.name();
    let unknown =
        |reason: &str| Fault::unknown(format!("checksums of frames from the peer of {name}"), reason);
    let peer = match peer {
        Err(reason) => {
            return unknown(reason)
                .advice("at the peer: ethtool -K PEER tx off; backend \"auto\" takes AF_PACKET until then")
                .into();
        }
        Ok(peer) => peer,
    };
    match peer.unfinished_checksums {
        None => unknown("the driver does not report transmit checksum offload").into(),
        Some(false) => Vec::new().into(),
        Some(true) => {
            let what = format!("{name} is a veth, and its peer {} leaves checksums unfinished", peer.name);
            let (level, effect) = if facts.needs_xdp() {
                (
                    FindingLevel::Error,
                    "pings work, TCP and UDP do not: real servers drop the frames for their checksums",
                )
            } else {
                (FindingLevel::Hint, "backend \"auto\" takes AF_PACKET, which carries them")
            };
            Fault::new(level, what, effect)
                .command(peer.command(&format!("ethtool -K {} tx off", peer.name)))
                .into()
        }
    }
}

/// VLAN tags that the NIC takes out of the frame.
pub(in crate::doctor) fn tags(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client().filter(|_| facts.may_use_xdp()) else { return Judgement::Moot };
    if !client.strips_tags {
        return Vec::new().into();
    }
    let name = client.name();
    let what = format!("{name} takes VLAN tags out of received frames");
    let (level, effect) = match (facts.wanted.has_vlans, facts.needs_xdp()) {
        (true, true) => (
            FindingLevel::Error,
            "XDP does not see the tag: backend \"xdp\" does not start with services in VLANs",
        ),
        (true, false) => (
            FindingLevel::Hint,
            "XDP does not see the tag: backend \"auto\" takes AF_PACKET for services in VLANs",
        ),
        (false, _) => (
            FindingLevel::Hint,
            "over AF_XDP a frame of a VLAN for a VIP's address is taken for one without a tag",
        ),
    };
    Fault::new(level, what, effect).command(format!("ethtool -K {name} rxvlan off")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::model::BackendChoice;

    #[test]
    fn lro_is_an_error_only_for_xdp() {
        let mut facts = sample::sound();
        facts.interfaces[0].merging = vec!["rx-lro"];
        assert_eq!(sample::level(merging(&facts)), Some(FindingLevel::Warn));
        assert_eq!(sample::commands(merging(&facts)), ["ethtool -K eth0 rx-lro off"]);
        facts.wanted.backend = BackendChoice::Xdp;
        assert_eq!(sample::level(merging(&facts)), Some(FindingLevel::Error));
    }

    #[test]
    fn stripped_tags_weigh_by_services_within_vlans() {
        let mut facts = sample::sound();
        facts.interfaces[0].strips_tags = true;
        assert_eq!(sample::level(tags(&facts)), Some(FindingLevel::Hint));
        (facts.wanted.has_vlans, facts.wanted.backend) = (true, BackendChoice::Xdp);
        assert_eq!(sample::level(tags(&facts)), Some(FindingLevel::Error));
    }

    #[test]
    fn a_peer_out_of_reach_is_unknown() {
        let mut facts = sample::sound();
        assert_eq!(checksums(&facts), Judgement::Moot, "it is no veth");
        facts.interfaces[0].peer = Some(Err("it is elsewhere".into()));
        assert_eq!(sample::level(checksums(&facts)), Some(FindingLevel::Unknown));
    }
}
