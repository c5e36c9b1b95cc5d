//! Filters below IP: nftables in the families arp, bridge and netdev, and arptables.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::sys::nftables::{BaseChain, FilterLayer};

/// NF_NETDEV_EGRESS of linux/netfilter.h.
const EGRESS: u32 = 1;

/// Chains that see the director's frames. Rules are not read, so a chain with any rule counts.
pub(in crate::doctor) fn frames(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    let mut faults: Vec<_> = match &facts.network.chains {
        Err(reason) => {
            let fault = Fault::unknown(
                "filters of ARP, bridge and device",
                format!("nftables cannot be listed: {reason}"),
            );
            vec![fault.advice("run the doctor as root")]
        }
        Ok(chains) => chains.iter().filter_map(|chain| of_chain(chain, facts)).collect(),
    };
    faults.extend(facts.network.arp_tables.iter().map(|table| {
        let what = format!("the table {table} of arptables is loaded");
        let effect = "a rule of it may drop ARP for the director's own address";
        Fault::new(FindingLevel::Hint, what, effect)
            .advice(format!("look at its rules: arptables-legacy -t {table} -L"))
    }));
    faults.into()
}

fn of_chain(chain: &BaseChain, facts: &DirectorFacts) -> Option<Fault> {
    if !chain.drops && chain.rules == 0 {
        return None;
    }
    let is_on = |name: &&String| facts.interfaces.iter().any(|one| one.name() == **name);
    let effect = match chain.layer {
        FilterLayer::Arp => {
            "it may drop ARP of the kernel: real servers do not find the director's address, and checks do not find real servers"
        }
        FilterLayer::Bridge if facts.interfaces.iter().any(|one| one.is_bridged()) => {
            "it may drop frames between the director and hosts at other ports of the bridge"
        }
        FilterLayer::Netdev if chain.hook == EGRESS && chain.devices.iter().any(|name| is_on(&name)) => {
            "it may drop what the director sends by a packet socket: ARP and neighbor discovery for the VIP"
        }
        _ => return None,
    };
    let BaseChain { table, name, rules, .. } = chain;
    let family = chain.layer.name();
    let (level, policy) =
        if chain.drops { (FindingLevel::Error, "drop") } else { (FindingLevel::Warn, "accept") };
    let what =
        format!("the nftables chain {family} {table} {name} has {rules} rule(s) and the policy {policy}");
    Some(Fault::new(level, what, effect).command(format!("nft delete chain {family} {table} {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use FindingLevel::{Error, Unknown, Warn};

    fn chain(layer: FilterLayer, hook: u32, drops: bool, rules: usize) -> BaseChain {
        let (table, name, devices) = ("t".into(), "c".into(), vec!["eth0".into()]);
        BaseChain { layer, table, name, hook, devices, drops, rules }
    }

    #[test]
    fn only_chains_in_the_way_of_the_director_count() {
        let mut facts = sample::sound();
        for (chain, wanted) in [
            (chain(FilterLayer::Arp, 0, false, 0), None),
            (chain(FilterLayer::Arp, 0, false, 1), Some(Warn)),
            (chain(FilterLayer::Arp, 0, true, 0), Some(Error)),
            (chain(FilterLayer::Netdev, 0, true, 0), None),
            (chain(FilterLayer::Netdev, EGRESS, false, 2), Some(Warn)),
            (chain(FilterLayer::Bridge, 2, true, 0), None),
        ] {
            facts.network.chains = Ok(vec![chain.clone()]);
            assert_eq!(sample::level(frames(&facts)), wanted, "{chain:?}");
        }
        facts.network.chains = Err("EPERM".into());
        assert_eq!(sample::level(frames(&facts)), Some(Unknown));
    }
}
