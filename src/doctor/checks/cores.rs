//! Cores of the workers of a running director.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::files::list;
use crate::doctor::finding::FindingLevel;
use std::collections::BTreeSet;

/// Cores of the workers; `None` without a running director that has pinned them.
fn workers(facts: &DirectorFacts) -> Option<&BTreeSet<usize>> {
    facts.running.as_ref().map(|running| &running.cores).filter(|cores| !cores.is_empty())
}

/// Interrupts of the NIC on cores of workers, while other cores are free.
pub(in crate::doctor) fn interrupts(facts: &DirectorFacts) -> Judgement {
    let (Some(workers), Some(client)) = (workers(facts), facts.client()) else { return Judgement::Moot };
    let free: Vec<_> = facts.host.cores.online.difference(workers).collect();
    if client.nic.interrupts.is_empty() || free.is_empty() {
        return Judgement::Moot;
    }
    let mut faults = Vec::new();
    let beside: Vec<_> = client.nic.interrupts.iter().filter(|one| !one.cores.is_disjoint(workers)).collect();
    if !beside.is_empty() {
        let numbers: Vec<_> = beside.iter().map(|one| one.number as usize).collect();
        let what = format!("interrupts {} of {} run on cores of workers", list(&numbers), client.name());
        let effect =
            "receiving and forwarding take turns on one core: about half the frames a second, and jitter";
        let lines = beside
            .iter()
            .zip(free.iter().cycle())
            .map(|(one, core)| format!("echo {core} > /proc/irq/{}/smp_affinity_list", one.number));
        let line = lines.collect::<Vec<_>>().join(" && ");
        faults.push(Fault::new(FindingLevel::Hint, what, effect).command(line));
    }
    if facts.host.has_balancer {
        let what = "irqbalance moves interrupts between cores".to_owned();
        let effect = "it undoes such a setting, and puts interrupts on cores of workers";
        let advice =
            format!("IRQBALANCE_BANNED_CPULIST={} in /etc/default/irqbalance, and restart it", list(workers));
        faults.push(Fault::new(FindingLevel::Hint, what, effect).advice(advice));
    }
    faults.into()
}

/// Cores that workers share with other programs or with a second hardware thread.
pub(in crate::doctor) fn isolation(facts: &DirectorFacts) -> Judgement {
    let Some(workers) = workers(facts) else { return Judgement::Moot };
    let cores = &facts.host.cores;
    let mut faults = Vec::new();
    let shared: BTreeSet<_> = workers.difference(&cores.isolated).copied().collect();
    if facts.wanted.is_busy && !shared.is_empty() {
        let cores = list(&shared);
        let what = format!(
            "workers that never sleep run on the cores {cores}, which the scheduler gives to others as well"
        );
        let effect = "another program on such a core stops its worker for milliseconds, and frames are lost";
        let advice = format!("boot with isolcpus={cores} nohz_full={cores} rcu_nocbs={cores}");
        faults.push(Fault::new(FindingLevel::Hint, what, effect).advice(advice));
    }
    let paired = cores.siblings.iter().filter(|pair| !pair.is_disjoint(workers));
    let idle = |pair: &&BTreeSet<usize>| {
        pair.difference(workers).all(|core| cores.isolated.contains(core))
            && pair.intersection(workers).count() < 2
    };
    let paired: BTreeSet<_> = paired.filter(|pair| !idle(pair)).flatten().copied().collect();
    if facts.wanted.is_busy && !paired.is_empty() {
        let what =
            format!("workers share processor cores with second hardware threads, among {}", list(&paired));
        let effect = "what runs on the other thread takes part of the worker's time";
        let advice = "CPUAffinity= with one thread of each core, and isolate the others";
        faults.push(Fault::new(FindingLevel::Hint, what, effect).advice(advice));
    }
    faults.into()
}

/// Workers on another NUMA node than their NIC.
pub(in crate::doctor) fn numa(facts: &DirectorFacts) -> Judgement {
    let (Some(workers), Some(client)) = (workers(facts), facts.client()) else { return Judgement::Moot };
    let Some(node) = client.nic.numa_node.filter(|_| facts.host.cores.nodes.len() > 1) else {
        return Judgement::Moot;
    };
    let is_far = |core: &&usize| facts.host.cores.node_of(**core).is_some_and(|of| of != node);
    let far: Vec<_> = workers.iter().filter(is_far).collect();
    let near = facts.host.cores.nodes.iter().find(|(of, _)| *of == node).map(|(_, cores)| list(cores));
    (!far.is_empty())
        .then(|| {
            let cores = list(far);
            let what = format!(
                "{} is at NUMA node {node}, and workers run on the cores {cores} of another",
                client.name()
            );
            let effect = "each frame crosses the link between the nodes: a third fewer frames a second";
            let near = near.unwrap_or_default();
            Fault::new(FindingLevel::Hint, what, effect)
                .advice(format!("CPUAffinity={near} in the unit: systemctl edit directrix"))
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::nic_facts::NicInterrupt;
    use crate::doctor::running_facts::RunningFacts;
    use crate::doctor::sample;
    use FindingLevel::Hint;

    /// Four cores, of which workers have 0 and 1.
    fn running() -> DirectorFacts {
        let mut facts = sample::sound();
        facts.host.cores.online = (0..4).collect();
        facts.running = Some(RunningFacts { cores: BTreeSet::from([0, 1]), ..RunningFacts::default() });
        facts
    }

    #[test]
    fn interrupts_move_to_cores_without_workers() {
        let mut facts = running();
        assert_eq!(interrupts(&facts), Judgement::Moot, "a veth has none");
        let interrupt = |number, core| NicInterrupt { number, cores: BTreeSet::from([core]) };
        facts.interfaces[0].nic.interrupts = vec![interrupt(30, 2), interrupt(31, 3)];
        assert_eq!(sample::level(interrupts(&facts)), None);
        facts.interfaces[0].nic.interrupts = vec![interrupt(30, 0), interrupt(31, 1), interrupt(32, 2)];
        assert_eq!(
            sample::commands(interrupts(&facts)),
            ["echo 2 > /proc/irq/30/smp_affinity_list && echo 3 > /proc/irq/31/smp_affinity_list"]
        );
        facts.host.cores.online = BTreeSet::from([0, 1]);
        assert_eq!(interrupts(&facts), Judgement::Moot, "there is no other core");
    }

    #[test]
    fn a_program_that_moves_interrupts_is_named() {
        let mut facts = running();
        facts.interfaces[0].nic.interrupts = vec![NicInterrupt { number: 30, cores: BTreeSet::from([2]) }];
        facts.host.has_balancer = true;
        let Judgement::Examined(faults) = interrupts(&facts) else { panic!("a director runs") };
        assert!(faults.len() == 1 && faults[0].what.contains("irqbalance"), "{faults:?}");
    }

    #[test]
    fn busy_workers_want_cores_of_their_own() {
        let mut facts = running();
        facts.host.cores.siblings = BTreeSet::from([BTreeSet::from([0, 2]), BTreeSet::from([1, 3])]);
        assert_eq!(sample::level(isolation(&facts)), None, "workers that sleep share");
        facts.wanted.is_busy = true;
        assert_eq!(sample::level(isolation(&facts)), Some(Hint));
        facts.host.cores.isolated = BTreeSet::from([0, 1, 2, 3]);
        assert_eq!(sample::level(isolation(&facts)), None);
        facts.host.cores.siblings = BTreeSet::from([BTreeSet::from([0, 1])]);
        assert_eq!(sample::level(isolation(&facts)), Some(Hint), "two workers on one processor core");
        facts.running = None;
        assert_eq!(isolation(&facts), Judgement::Moot);
    }

    #[test]
    fn workers_far_from_the_nic_are_found() {
        let mut facts = running();
        facts.host.cores.nodes = vec![(0, BTreeSet::from([0, 2])), (1, BTreeSet::from([1, 3]))];
        assert_eq!(numa(&facts), Judgement::Moot, "the NIC has no node");
        facts.interfaces[0].nic.numa_node = Some(0);
        let Judgement::Examined(faults) = numa(&facts) else { panic!("there are two nodes") };
        assert!(faults[0].what.contains("cores 1 of another"), "{faults:?}");
        facts.running.as_mut().unwrap().cores = BTreeSet::from([0, 2]);
        assert_eq!(sample::level(numa(&facts)), None);
    }
}
