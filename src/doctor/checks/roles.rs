//! keepalived as the source of the role.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// Owner and mode of keepalived's FIFO.
pub(in crate::doctor) fn fifo(facts: &DirectorFacts) -> Judgement {
    let Some(fifo) = &facts.ha.fifo else { return Judgement::Moot };
    let unreadable = fifo.node.filter(|_| !fifo.is_readable());
    unreadable
        .map(|(owner, group, mode)| {
            let mode = mode & 0o7777;
            let what = format!(
                "{} belongs to user {owner} and group {group} with mode {mode:04o}, which the director may not read",
                fifo.path
            );
            let effect = "the director hears nothing of keepalived: its role stays as it is, backup after a start";
            let remedy = "name user and group of the director behind the path of vrrp_notify_fifo in keepalived.conf, remove \
                          the FIFO, and restart keepalived";
            Fault::new(FindingLevel::Error, what, effect).advice(remedy)
        })
        .into()
}

/// Intervals of adverts: those of VRRP version 2 are whole seconds (RFC 3768, section 5.3.7).
pub(in crate::doctor) fn interval(facts: &DirectorFacts) -> Judgement {
    if facts.ha.instances.is_empty() {
        return Judgement::Moot;
    }
    let is_part = |interval: &f64| interval.fract() != 0.0;
    let rounded = facts.ha.instances.iter().filter(|one| one.version == 2);
    let faults = rounded.filter_map(|one| {
        let interval = one.interval.filter(is_part)?;
        let what = format!("{} of keepalived has advert_int {interval} with VRRP version 2", one.name);
        let effect = "version 2 has whole seconds: keepalived rounds it, and a takeover takes seconds";
        Some(
            Fault::new(FindingLevel::Warn, what, effect)
                .advice("version 3 in the vrrp_instance, on each director"),
        )
    });
    faults.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::ha_facts::{FifoFacts, VrrpInstance};
    use crate::doctor::sample;

    #[test]
    fn a_fifo_of_another_user_is_an_error() {
        let mut facts = sample::sound();
        assert_eq!(fifo(&facts), Judgement::Moot);
        let mut of = FifoFacts { path: "/run/f".into(), reader: Some((100, vec![100])), node: None };
        facts.ha.fifo = Some(of.clone());
        assert_eq!(sample::level(fifo(&facts)), None, "keepalived has not made it yet");
        of.node = Some((0, 0, 0o10_600));
        facts.ha.fifo = Some(of);
        assert_eq!(sample::level(fifo(&facts)), Some(FindingLevel::Error));
    }

    #[test]
    fn parts_of_a_second_take_version_3() {
        let mut facts = sample::sound();
        let level = |facts: &mut DirectorFacts, version, interval| {
            facts.ha.instances = vec![VrrpInstance { name: "VI_1".into(), version, interval }];
            sample::level(super::interval(facts))
        };
        assert_eq!(super::interval(&facts), Judgement::Moot);
        assert_eq!(level(&mut facts, 2, Some(0.4)), Some(FindingLevel::Warn));
        for (version, interval) in [(3, Some(0.4)), (2, Some(1.0)), (2, None)] {
            assert_eq!(level(&mut facts, version, interval), None);
        }
    }
}
