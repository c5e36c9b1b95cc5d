//! The way of a received frame to a queue.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::files::list;
use crate::doctor::finding::FindingLevel;
use crate::doctor::interface_facts::InterfaceFacts;

/// An interface with several receive queues.
fn client(facts: &DirectorFacts) -> Option<&InterfaceFacts> {
    facts.client().filter(|client| client.interface.queues > 1)
}

/// Rules and programs beside the hash of the NIC that choose queues, and cores that frames are handed to.
pub(in crate::doctor) fn flows(facts: &DirectorFacts) -> Judgement {
    let Some(client) = client(facts) else { return Judgement::Moot };
    let name = client.name();
    let off = format!("ethtool -K {name} ntuple off");
    let mut faults = Vec::new();
    if client.nic.flow_rules > 0 {
        let what = format!("{} rule(s) choose receive queues of {name}", client.nic.flow_rules);
        let effect = "the hash no longer spreads these frames: workers are loaded unequally, and connections change theirs with a rule";
        let fault = Fault::new(FindingLevel::Hint, what, effect);
        faults.push(
            fault.advice(format!("look at them: ethtool -n {name}; {off} deletes them with most drivers")),
        );
    }
    if client.nic.is_steered_by_programs {
        let what = format!("{name} moves flows to the cores of the programs that read them (aRFS)");
        let effect = "a program on this host moves connections with the same hash to another worker";
        faults.push(Fault::new(FindingLevel::Hint, what, effect).command(off));
    }
    if !client.nic.spread_queues.is_empty() && !facts.needs_xdp() {
        let queues = list(&client.nic.spread_queues);
        let what = format!(
            "the kernel hands frames of the receive queue(s) {queues} of {name} to other cores (RPS)"
        );
        let effect = "AF_PACKET spreads them by hash itself: each frame interrupts one more core on its way to a worker";
        let file = format!("/sys/class/net/{name}/queues/rx-*/rps_cpus");
        let fault = Fault::new(FindingLevel::Hint, what, effect);
        faults.push(fault.command(format!("for file in {file}; do echo 0 > $file; done")));
    }
    faults.into()
}

/// Datagrams whose queue is chosen without their ports.
pub(in crate::doctor) fn datagrams(facts: &DirectorFacts) -> Judgement {
    let Some(client) = client(facts).filter(|_| facts.wanted.has_datagrams) else { return Judgement::Moot };
    let (name, families) = (client.name(), &client.nic.portless);
    if families.is_empty() {
        return Vec::new().into();
    }
    let what = format!("{name} chooses the queue of a datagram without its ports ({})", families.join(", "));
    let effect =
        "all datagrams of one client take one queue and one worker: few large clients load few workers";
    let lines = families.iter().map(|family| format!("ethtool -N {name} rx-flow-hash {family} sdfn"));
    let line = lines.collect::<Vec<_>>().join(" && ");
    Fault::new(FindingLevel::Hint, what, effect).command(line).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::model::BackendChoice;
    use FindingLevel::Hint;

    fn with_two_queues() -> DirectorFacts {
        let mut facts = sample::sound();
        facts.interfaces[0].interface.queues = 2;
        facts
    }

    #[test]
    fn rules_programs_and_other_cores_are_told_apart() {
        let mut facts = with_two_queues();
        assert_eq!(sample::level(flows(&facts)), None);
        facts.interfaces[0].nic.is_steered_by_programs = true;
        assert_eq!(sample::commands(flows(&facts)), ["ethtool -K eth0 ntuple off"]);
        facts.interfaces[0].nic.is_steered_by_programs = false;
        facts.interfaces[0].nic.flow_rules = 2;
        assert_eq!((sample::level(flows(&facts)), sample::commands(flows(&facts))), (Some(Hint), vec![]));
        facts.interfaces[0].nic.flow_rules = 0;
        facts.interfaces[0].nic.spread_queues.insert(1);
        assert_eq!(sample::commands(flows(&facts)).len(), 1);
        facts.wanted.backend = BackendChoice::Xdp;
        assert_eq!(sample::level(flows(&facts)), None, "AF_XDP takes the frames before");
        facts.interfaces[0].interface.queues = 1;
        assert_eq!(flows(&facts), Judgement::Moot, "there is nothing to choose");
    }

    #[test]
    fn ports_count_for_services_of_datagrams() {
        let mut facts = with_two_queues();
        facts.interfaces[0].nic.portless = vec!["udp4", "udp6"];
        assert_eq!(datagrams(&facts), Judgement::Moot);
        facts.wanted.has_datagrams = true;
        assert_eq!(
            sample::commands(datagrams(&facts)),
            ["ethtool -N eth0 rx-flow-hash udp4 sdfn && ethtool -N eth0 rx-flow-hash udp6 sdfn"]
        );
        facts.interfaces[0].nic.portless.clear();
        assert_eq!(sample::level(datagrams(&facts)), None);
    }
}
