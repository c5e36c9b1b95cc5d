//! Bonds and other masters as interfaces of a director.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::doctor::interface_facts::InterfaceFacts;

/// Modes of a bond whose slaves have MAC addresses of their own (linux/if_bonding.h).
const BALANCING: [(u8, &str); 2] = [(5, "balance-tlb"), (6, "balance-alb")];
/// Active-backup: the one mode in which `fail_over_mac` holds.
const ACTIVE_BACKUP: u8 = 1;

/// AF_XDP on a bond: it binds, and no frame arrives.
pub(in crate::doctor) fn master(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client().filter(|_| facts.may_use_xdp()) else { return Judgement::Moot };
    if !client.is_master() {
        return Vec::new().into();
    }
    let kind = if client.kind().is_empty() { "master" } else { client.kind() };
    let what = format!("{} is a {kind}: its frames arrive on other interfaces", client.name());
    if facts.needs_xdp() {
        let effect = "AF_XDP takes frames only there: backend \"xdp\" does not start";
        return Fault::new(FindingLevel::Error, what, effect).advice("use backend = \"packet\"").into();
    }
    Fault::new(FindingLevel::Hint, what, "backend \"auto\" takes AF_PACKET").into()
}

/// A MAC address that changes while the director runs.
pub(in crate::doctor) fn mac(facts: &DirectorFacts) -> Judgement {
    let bonds: Vec<_> = facts.interfaces.iter().filter(|one| one.link.bond.is_some()).collect();
    if bonds.is_empty() {
        return Judgement::Moot;
    }
    bonds.into_iter().filter_map(changing).collect::<Vec<_>>().into()
}

fn changing(one: &InterfaceFacts) -> Option<Fault> {
    let (bond, name) = (one.link.bond?, one.name());
    if let Some((_, mode)) = BALANCING.iter().find(|(mode, _)| *mode == bond.mode) {
        let what = format!("the bond {name} has the mode {mode}");
        let effect = "neighbors see the MAC addresses of several slaves for one host: the VIP's ARP answers contradict each other";
        let remedy = "use mode active-backup or 802.3ad";
        return Some(Fault::new(FindingLevel::Error, what, effect).advice(remedy));
    }
    (bond.mode == ACTIVE_BACKUP && bond.fail_over_mac != 0).then(|| {
        let what = format!("the bond {name} changes its MAC address with the active slave (fail_over_mac)");
        let effect = "the director ends at a failover, as its MAC address is not its own any more";
        let line = format!("ip link set dev {name} type bond fail_over_mac none");
        Fault::new(FindingLevel::Error, what, effect).advice(format!("while the bond has no slave: {line}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::model::BackendChoice;
    use crate::sys::rtnetlink::BondSettings;

    #[test]
    fn a_bond_is_refused_only_for_xdp() {
        let mut facts = sample::sound();
        facts.interfaces[0].link.kind = Some("bond".into());
        assert_eq!(sample::level(master(&facts)), Some(FindingLevel::Hint));
        facts.wanted.backend = BackendChoice::Xdp;
        assert_eq!(sample::level(master(&facts)), Some(FindingLevel::Error));
    }

    #[test]
    fn only_bonds_that_change_their_mac_are_faults() {
        let mut facts = sample::sound();
        assert_eq!(mac(&facts), Judgement::Moot);
        for (mode, fail_over_mac, wanted) in
            [(1, 0, None), (4, 1, None), (1, 1, Some(FindingLevel::Error)), (6, 0, Some(FindingLevel::Error))]
        {
            facts.interfaces[0].link.bond = Some(BondSettings { mode, fail_over_mac });
            assert_eq!(sample::level(mac(&facts)), wanted, "mode {mode}, fail_over_mac {fail_over_mac}");
        }
    }
}
