//! Queues and workers.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::doctor::interface_facts::InterfaceFacts;
use crate::sys::ethtool::Channels;
use std::collections::BTreeSet;

/// Queues for every worker: AF_XDP receives and sends on one of its own.
pub(in crate::doctor) fn workers(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client().filter(|_| facts.may_use_xdp()) else { return Judgement::Moot };
    let (setting, workers) = match facts.wanted.workers {
        Some(workers) => (format!("workers = {workers}"), workers),
        None => {
            let count = client.interface.queues.min(facts.kernel.cores);
            (format!("there are {count} workers"), count)
        }
    };
    let short = facts.interfaces.iter().map(|one| (one, queues(one))).filter(|(_, has)| *has < workers);
    let faults = short.map(|(one, has)| {
        let what = format!("{setting}, and {} has {has} queue(s)", one.name());
        let (level, effect) = match facts.needs_xdp() {
            true => (FindingLevel::Error, "a worker would have no queue: backend \"xdp\" does not start"),
            false => (FindingLevel::Warn, "a worker would have no queue: backend \"auto\" takes AF_PACKET"),
        };
        with_queues(Fault::new(level, what, effect), one, workers, &format!("set workers = {has}"))
    });
    faults.collect::<Vec<_>>().into()
}

/// Queues of both directions.
fn queues(one: &InterfaceFacts) -> u32 {
    let transmit = one.channels.map_or(one.link.transmit_queues, |channels| channels.transmit).max(1);
    one.interface.queues.min(transmit)
}

/// Queues from which a running director does not receive: they came after its start.
pub(in crate::doctor) fn unserved(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client() else { return Judgement::Moot };
    let name = client.name();
    let served = match &facts.served {
        Ok(None) => return Judgement::Moot,
        Err(reason) => {
            return Fault::unknown(format!("queues of {name} that a running director serves"), reason).into();
        }
        Ok(Some(all)) => {
            all.iter().filter(|(of, _)| of == name).map(|(_, queue)| *queue).collect::<BTreeSet<_>>()
        }
    };
    let (count, has) = (served.len() as u32, client.interface.queues); // a few hundred
    if served.is_empty() || (0..has).all(|queue| served.contains(&queue)) {
        return Vec::new().into();
    }
    let what = format!("{name} has {has} receive queues, and the running director receives from {count}");
    let effect =
        "frames on the others go to the kernel: no VIP answers the clients whose frames arrive there";
    with_queues(Fault::new(FindingLevel::Error, what, effect), client, count, "restart the director").into()
}

/// A single queue in use, although there are more.
pub(in crate::doctor) fn single(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client() else { return Judgement::Moot };
    let wanted = facts.wanted.workers.unwrap_or(u32::MAX).min(facts.kernel.cores);
    let spare =
        client.channels.filter(|channels| channels.receive == 1 && channels.receive_max > 1 && wanted > 1);
    spare
        .map(|channels| {
            let (name, most) = (client.name(), channels.receive_max);
            let what = format!(
                "{name} uses one of its {most} receive queues, on a machine with {} cores",
                facts.kernel.cores
            );
            let effect = "one core receives every frame";
            let count = most.min(wanted);
            with_queues(Fault::new(FindingLevel::Warn, what, effect), client, count, "")
        })
        .into()
}

/// The fault with the command that gives an interface so many queues, or the other remedy if its driver has not so many.
fn with_queues(fault: Fault, one: &InterfaceFacts, count: u32, other: &str) -> Fault {
    let fits = |channels: &Channels| channels.receive_max >= count && channels.transmit_max >= count;
    let name = one.name();
    match one.channels.filter(fits) {
        Some(Channels { is_combined: true, .. }) => {
            fault.command(format!("ethtool -L {name} combined {count}"))
        }
        Some(_) => fault.command(format!("ethtool -L {name} rx {count} tx {count}")),
        None => fault.advice(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::model::BackendChoice;

    fn channels(now: u32, most: u32, is_combined: bool) -> Channels {
        Channels { receive: now, transmit: now, receive_max: most, transmit_max: most, is_combined }
    }

    #[test]
    fn more_workers_than_queues_name_the_command_or_the_key() {
        let mut facts = sample::sound();
        (facts.wanted.workers, facts.wanted.backend) = (Some(2), BackendChoice::Xdp);
        for (of, wanted) in [
            (channels(1, 4, true), vec!["ethtool -L eth0 combined 2"]),
            (channels(1, 4, false), vec!["ethtool -L eth0 rx 2 tx 2"]),
            (channels(1, 1, true), vec![]),
        ] {
            facts.interfaces[0].channels = Some(of);
            assert_eq!(sample::level(workers(&facts)), Some(FindingLevel::Error));
            assert_eq!(sample::commands(workers(&facts)), wanted);
        }
    }

    #[test]
    fn queues_that_came_after_the_start_are_given_up() {
        let mut facts = sample::sound();
        assert_eq!(unserved(&facts), Judgement::Moot, "no director runs");
        facts.interfaces[0].channels = Some(channels(2, 4, true));
        facts.interfaces[0].interface.queues = 2;
        facts.served = Ok(Some(vec![("eth0".into(), 0), ("eth1".into(), 1)]));
        assert_eq!(sample::level(unserved(&facts)), Some(FindingLevel::Error));
        assert_eq!(sample::commands(unserved(&facts)), ["ethtool -L eth0 combined 1"]);
        facts.served = Ok(Some(vec![("eth0".into(), 0), ("eth0".into(), 1)]));
        assert_eq!(sample::level(unserved(&facts)), None);
        facts.served = Err("no access".into());
        assert_eq!(sample::level(unserved(&facts)), Some(FindingLevel::Unknown));
    }

    #[test]
    fn one_queue_is_enough_for_one_core_or_worker() {
        let mut facts = sample::sound();
        facts.interfaces[0].channels = Some(channels(1, 8, true));
        assert_eq!(
            sample::commands(single(&facts)),
            ["ethtool -L eth0 combined 4"],
            "no more than there are cores"
        );
        facts.wanted.workers = Some(1);
        assert_eq!(sample::level(single(&facts)), None);
        (facts.wanted.workers, facts.kernel.cores) = (None, 1);
        assert_eq!(sample::level(single(&facts)), None);
    }
}
