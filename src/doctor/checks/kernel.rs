//! Settings of the kernel's IP beside the director.

use crate::doctor::conf;
use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// rp_filter: strict (RFC 3704).
const STRICT: i32 = 1;

/// ICMP redirects, which a kernel sends while it forwards. The setting of all or of the interface suffices.
pub(in crate::doctor) fn redirects(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    let all = facts.network.all.send_redirects;
    let sending =
        facts.interfaces.iter().filter(|one| one.settings.forwarding && (all || one.settings.send_redirects));
    let faults = sending.map(|one| {
        let name = one.name();
        let what = format!("{name} forwards, and sends redirects");
        let effect = "the kernel tells hosts of that network to bypass the director where it routes for them";
        let line = format!(
            "{} && {}",
            conf::writes(0, "all", "send_redirects"),
            conf::writes(0, name, "send_redirects")
        );
        Fault::new(FindingLevel::Warn, what, effect).command(line)
    });
    faults.collect::<Vec<_>>().into()
}

/// Strict reverse path filtering on a director with two interfaces. The larger of all and the interface holds.
pub(in crate::doctor) fn reverse_path(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.len() < 2 {
        return Judgement::Moot;
    }
    let strict = facts
        .interfaces
        .iter()
        .filter(|one| facts.network.all.rp_filter.max(one.settings.rp_filter) == STRICT);
    let faults = strict.map(|one| {
        let what = format!("rp_filter is {STRICT} on {} of a director with two interfaces", one.name());
        let effect = "the kernel drops packets whose way back is the other interface: answers to its own requests, checks of real servers";
        Fault::new(FindingLevel::Warn, what, effect).command(conf::writes(2, one.name(), "rp_filter"))
    });
    faults.collect::<Vec<_>>().into()
}

/// Filters of IP that see bridged frames.
pub(in crate::doctor) fn bridge_filters(facts: &DirectorFacts) -> Judgement {
    let Some(one) = facts.interfaces.iter().find(|one| one.is_bridged()) else { return Judgement::Moot };
    let faults = facts.network.bridge_filters.iter().map(|setting| {
        let what = format!("{setting} is 1, and frames of {} pass a bridge", one.name());
        let effect = "rules of iptables and nftables, and connection tracking, see frames between other hosts: those of direct \
                      routing have only one direction there, and may be dropped as invalid";
        Fault::new(FindingLevel::Warn, what, effect).command(format!("echo 0 > /proc/sys/net/bridge/{setting}"))
    });
    faults.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;

    #[test]
    fn redirects_take_forwarding_and_one_of_two_settings() {
        let mut facts = sample::sound();
        facts.network.all.send_redirects = true;
        assert_eq!(sample::level(redirects(&facts)), None, "it does not forward");
        facts.interfaces[0].settings.forwarding = true;
        assert_eq!(sample::level(redirects(&facts)), Some(FindingLevel::Warn));
        facts.network.all.send_redirects = false;
        assert_eq!(sample::level(redirects(&facts)), None);
    }

    #[test]
    fn the_larger_rp_filter_holds_and_loose_is_no_fault() {
        let mut facts = sample::sound();
        assert_eq!(reverse_path(&facts), Judgement::Moot);
        facts.interfaces.push(facts.interfaces[0].clone());
        facts.network.all.rp_filter = 1;
        assert_eq!(sample::commands(reverse_path(&facts)).len(), 2);
        facts.interfaces.iter_mut().for_each(|one| one.settings.rp_filter = 2);
        assert_eq!(sample::level(reverse_path(&facts)), None);
    }
}
