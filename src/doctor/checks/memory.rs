//! Huge pages, and tables of the kernel that fill.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// Huge pages: reserved ones for packet memory, transparent ones for connection tables.
pub(in crate::doctor) fn huge_pages(facts: &DirectorFacts) -> Judgement {
    if facts.host.huge_pages.is_none() && !facts.wanted.huge_pages {
        return Judgement::Moot;
    }
    let mut faults = Vec::new();
    if facts.host.huge_pages.as_deref() == Some("never") {
        let effect = "large connection tables take pages of 4 KiB: each look-up misses the translation cache of the processor";
        let fault = Fault::new(FindingLevel::Hint, "transparent huge pages are off (never)", effect);
        faults.push(fault.command("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"));
    }
    let none_free = facts.host.free_huge_pages == Some(0) && facts.running.is_none();
    if facts.wanted.huge_pages && none_free && facts.may_use_xdp() {
        let (level, effect) = match facts.needs_xdp() {
            true => (FindingLevel::Error, "packet memory is refused: backend \"xdp\" does not start"),
            false => (FindingLevel::Warn, "packet memory is refused: backend \"auto\" takes AF_PACKET"),
        };
        let queues = facts.interfaces.iter().map(|one| one.interface.queues).sum::<u32>().max(1);
        let what = "huge_pages = true, and this host has no free huge page reserved";
        // 2 MiB each: packet memory of a queue is 16 MiB at most.
        let line = format!("echo {} > /proc/sys/vm/nr_hugepages", 8 * queues);
        faults.push(Fault::new(level, what, effect).command(line));
    }
    faults.into()
}

/// Connection tracking. The director's frames take no entry: without its guard program it starts only where the kernel
/// neither takes nor forwards them, and such an entry is never confirmed.
pub(in crate::doctor) fn tracking(facts: &DirectorFacts) -> Judgement {
    let Some((count, max)) = facts.host.tracked.filter(|(_, max)| *max > 0) else { return Judgement::Moot };
    (count.saturating_mul(10) >= max.saturating_mul(9))
        .then(|| {
            let what = format!("connection tracking of the kernel has {count} of {max} entries");
            let effect =
                "when it is full the kernel drops new connections of this host: health checks, metrics, ssh";
            let line = format!("echo {} > /proc/sys/net/netfilter/nf_conntrack_max", max.saturating_mul(2));
            Fault::new(FindingLevel::Warn, what, effect).command(line)
        })
        .into()
}

/// Groups that may open ping sockets.
pub(in crate::doctor) fn ping_groups(facts: &DirectorFacts) -> Judgement {
    let Some((first, last)) = facts.host.ping_groups.filter(|_| facts.wanted.has_pings) else {
        return Judgement::Moot;
    };
    let running = facts.running.as_ref().map(|running| &running.groups).filter(|groups| !groups.is_empty());
    let groups = running.unwrap_or(&facts.wanted.groups);
    if groups.is_empty() || groups.iter().any(|group| (first..=last).contains(group)) {
        return Vec::new().into();
    }
    let permitted = match first <= last {
        true => format!("the groups from {first} to {last}"),
        false => "no group".to_owned(),
    };
    let what = format!(
        "ping sockets are for {permitted} (net.ipv4.ping_group_range), and the director has the group {}",
        groups[0]
    );
    let effect = "health checks of the type ping have no result: their servers stay up";
    let line = "echo \"0 2147483647\" > /proc/sys/net/ipv4/ping_group_range";
    Fault::new(FindingLevel::Warn, what, effect).command(line).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::running_facts::RunningFacts;
    use crate::doctor::sample;
    use crate::model::BackendChoice;
    use FindingLevel::{Error, Hint, Warn};

    #[test]
    fn huge_pages_are_judged_by_their_use() {
        let mut facts = sample::sound();
        for (setting, wanted) in [("always", None), ("madvise", None), ("never", Some(Hint))] {
            facts.host.huge_pages = Some(setting.into());
            assert_eq!(sample::level(huge_pages(&facts)), wanted, "{setting}");
        }
        (facts.host.huge_pages, facts.host.free_huge_pages) = (None, Some(0));
        assert_eq!(huge_pages(&facts), Judgement::Moot, "they are not used");
        facts.wanted.huge_pages = true;
        assert_eq!(sample::level(huge_pages(&facts)), Some(Warn));
        facts.wanted.backend = BackendChoice::Xdp;
        assert_eq!(sample::level(huge_pages(&facts)), Some(Error));
        assert_eq!(sample::commands(huge_pages(&facts)), ["echo 8 > /proc/sys/vm/nr_hugepages"]);
        facts.running = Some(RunningFacts::default());
        assert_eq!(sample::level(huge_pages(&facts)), None, "the running director has them");
    }

    #[test]
    fn a_nearly_full_table_is_enlarged() {
        let mut facts = sample::sound();
        assert_eq!(tracking(&facts), Judgement::Moot);
        facts.host.tracked = Some((89, 100));
        assert_eq!(sample::level(tracking(&facts)), None);
        facts.host.tracked = Some((90, 100));
        assert_eq!(
            sample::commands(tracking(&facts)),
            ["echo 200 > /proc/sys/net/netfilter/nf_conntrack_max"]
        );
    }

    #[test]
    fn ping_sockets_are_judged_by_the_director_s_groups() {
        let mut facts = sample::sound();
        facts.host.ping_groups = Some((1, 0));
        facts.wanted.groups = vec![998];
        assert_eq!(ping_groups(&facts), Judgement::Moot, "no check pings");
        facts.wanted.has_pings = true;
        assert_eq!(sample::level(ping_groups(&facts)), Some(Warn));
        facts.host.ping_groups = Some((900, 999));
        assert_eq!(sample::level(ping_groups(&facts)), None);
        facts.running = Some(RunningFacts { groups: vec![5, 6], ..RunningFacts::default() });
        assert_eq!(sample::level(ping_groups(&facts)), Some(Warn), "that of the process counts");
        facts.running = Some(RunningFacts { groups: vec![5, 901], ..RunningFacts::default() });
        assert_eq!(sample::level(ping_groups(&facts)), None);
    }
}
