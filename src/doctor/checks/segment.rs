//! The Ethernet segment: memory of switches, spanning tree, reports of odd packets.

use crate::doctor::conf;
use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// Seconds after which a switch forgets a MAC address that it has not heard (IEEE 802.1Q: the default of the ageing time).
const AGEING: u32 = 300;

/// Silence of the director towards the clients' switch.
pub(in crate::doctor) fn silence(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() || facts.wanted.vips.is_empty() {
        return Judgement::Moot;
    }
    let announce = facts.wanted.announce_seconds;
    // On a single interface, frames to real servers are heard by the same switch.
    let silent =
        if facts.interfaces.len() > 1 { announce } else { announce.min(facts.wanted.refresh_seconds) };
    (silent > AGEING)
        .then(|| {
            let what = format!(
                "{} may be silent for {silent} s (announce_interval, arp_refresh), and switches forget a MAC address after {AGEING} s",
                facts.interfaces[0].name()
            );
            let effect = "a switch that has forgotten it floods the clients' frames to all its ports, or drops them";
            Fault::new(FindingLevel::Warn, what, effect).advice("announce_interval = 60 in the configuration file")
        })
        .into()
}

/// Ports of a bridge of this host that wait for the spanning tree.
pub(in crate::doctor) fn spanning_tree(facts: &DirectorFacts) -> Judgement {
    let bridged: Vec<_> = facts.interfaces.iter().filter(|one| one.is_bridged()).collect();
    if bridged.is_empty() {
        return Judgement::Moot;
    }
    let faults = bridged.iter().filter(|one| !one.waiting_ports.is_empty()).map(|one| {
        let bridge = match one.kind() {
            "bridge" => one.name(),
            _ => one.master.as_ref().map_or("the bridge", |master| master.name.as_str()),
        };
        let ports: Vec<_> =
            one.waiting_ports.iter().map(|(port, state)| format!("{port} is {state}")).collect();
        let what = format!("{bridge} has a spanning tree, and its port {} ", ports.join(", "));
        let effect = "no frame passes such a port: for half a minute after it came up the director hears no other host that has the VIP";
        Fault::new(FindingLevel::Warn, what.trim_end(), effect)
            .command(format!("ip link set dev {bridge} type bridge stp_state 0"))
    });
    faults.collect::<Vec<_>>().into()
}

/// Reports of packets with impossible sources. The setting of all or of the interface suffices.
pub(in crate::doctor) fn martians(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    let all = facts.network.all.log_martians;
    let reporting = facts.interfaces.iter().filter(|one| all || one.settings.log_martians);
    let faults = reporting.map(|one| {
        let name = one.name();
        let what = format!("{name} reports packets with impossible sources (log_martians)");
        let effect = "packets of real servers with the VIP as their source, and of clients behind a wrong route, fill the kernel's log";
        let line = format!("{} && {}", conf::writes(0, "all", "log_martians"), conf::writes(0, name, "log_martians"));
        Fault::new(FindingLevel::Hint, what, effect).command(line)
    });
    faults.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::sys::rtnetlink::LinkInfo;
    use FindingLevel::{Hint, Warn};

    #[test]
    fn silence_counts_on_the_clients_interface() {
        let mut facts = sample::sound();
        for (interfaces, announce, refresh, wanted) in
            [(1, 60, 30, None), (1, 600, 30, None), (1, 600, 301, Some(Warn)), (2, 600, 30, Some(Warn))]
        {
            facts.interfaces = vec![facts.interfaces[0].clone(); interfaces];
            (facts.wanted.announce_seconds, facts.wanted.refresh_seconds) = (announce, refresh);
            assert_eq!(sample::level(silence(&facts)), wanted, "{interfaces} {announce} {refresh}");
        }
        facts.wanted.vips.clear();
        assert_eq!(silence(&facts), Judgement::Moot);
    }

    #[test]
    fn a_waiting_port_names_its_bridge() {
        let mut facts = sample::sound();
        assert_eq!(spanning_tree(&facts), Judgement::Moot);
        facts.interfaces[0].master =
            Some(LinkInfo { name: "br0".into(), kind: Some("bridge".into()), ..LinkInfo::default() });
        assert_eq!(sample::level(spanning_tree(&facts)), None);
        facts.interfaces[0].waiting_ports = vec![("eth0".into(), "learning")];
        assert_eq!(sample::commands(spanning_tree(&facts)), ["ip link set dev br0 type bridge stp_state 0"]);
    }

    #[test]
    fn reports_take_one_of_two_settings() {
        let mut facts = sample::sound();
        assert_eq!(sample::level(martians(&facts)), None);
        facts.network.all.log_martians = true;
        assert_eq!(sample::level(martians(&facts)), Some(Hint));
        (facts.network.all.log_martians, facts.interfaces[0].settings.log_martians) = (false, true);
        assert_eq!(sample::level(martians(&facts)), Some(Hint));
    }
}
