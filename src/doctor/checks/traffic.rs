//! Traffic that tells a fault of the network: replies on a wrong way, handshakes, other hosts with the VIP.

use crate::control::api::Handshakes;
use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// Handshakes of a service from which it is judged.
const HANDSHAKES: u32 = 20;

/// Replies of real servers that pass the director.
pub(in crate::doctor) fn replies(facts: &DirectorFacts) -> Judgement {
    let sampled = match &facts.replies {
        None => return Judgement::Moot,
        Some(Err(reason)) => {
            return Fault::unknown("whether replies of real servers pass the director", reason)
                .advice("run the doctor as root")
                .into();
        }
        Some(Ok(sampled)) => sampled,
    };
    let name_of = |mac| {
        let neighbors = facts.network.neighbors.iter().flatten();
        let known = neighbors.filter(|(_, of)| *of == mac).map(|(ip, _)| *ip);
        known.filter(|ip| facts.wanted.servers.contains(ip)).map(|ip| format!("the real server {ip}")).next()
    };
    let faults = sampled.iter().map(|found| {
        let sender = name_of(found.sender).unwrap_or_else(|| "a host".to_owned());
        let what = format!(
            "{sender} ({}) sends replies of the VIP {} for {} to this host: {} in a third of a second",
            found.sender, found.vip, found.client, found.count
        );
        let effect = "the kernel drops them, or forwards them a second time past the director: clients wait, or rates halve";
        Fault::new(FindingLevel::Warn, what, effect)
            .advice("on that server: ip route replace default via ROUTER, which is not the director")
    });
    faults.collect::<Vec<_>>().into()
}

/// Services of which no real server completes handshakes.
pub(in crate::doctor) fn handshakes(facts: &DirectorFacts) -> Judgement {
    let Some(running) = &facts.running else { return Judgement::Moot };
    let enough = |of: &&Handshakes| of.failed.saturating_mul(10) < of.opened.saturating_mul(9);
    let judged = running.handshakes.iter().filter_map(|(service, servers)| {
        let (opened, failed) = servers
            .iter()
            .fold((0_u32, 0_u32), |(opened, failed), of| (opened + of.opened, failed + of.failed));
        (opened >= HANDSHAKES && !servers.iter().any(|of| enough(&of))).then(|| {
            let what = format!("{failed} of {opened} handshakes of {service} in ten seconds were not completed, on all of its servers");
            let effect = "clients do not get the answers, or a flood opens connections: no single server is at fault";
            Fault::new(FindingLevel::Warn, what, effect).advice(
                "see whether answers of a real server reach a client: a firewall or router between them that has not seen the \
                 client's packets drops them as invalid",
            )
        })
    });
    judged.collect::<Vec<_>>().into()
}

/// Findings of the address auditor.
pub(in crate::doctor) fn audit(facts: &DirectorFacts) -> Judgement {
    let Some(running) = &facts.running else { return Judgement::Moot };
    let faults = running.audit.iter().map(|found| {
        let level = match found.level.as_str() {
            "error" => FindingLevel::Error,
            "warning" => FindingLevel::Warn,
            _ => FindingLevel::Hint,
        };
        let effect = format!("the auditor has found it: section {} of docs/audit.md", found.misuse);
        let fault = Fault::new(level, found.text.clone(), effect);
        match (&found.command, &found.advice) {
            (Some(line), _) => fault.advice(format!("on that host: {line}")),
            (None, Some(advice)) => fault.advice(advice.clone()),
            (None, None) => fault,
        }
    });
    faults.collect::<Vec<_>>().into()
}

/// Frames that were dropped for their VLAN tags.
pub(in crate::doctor) fn tags(facts: &DirectorFacts) -> Judgement {
    let Some(running) = &facts.running else { return Judgement::Moot };
    (running.tagged > 0)
        .then(|| {
            let what = format!("the director has dropped {} frames for their VLAN tags", running.tagged);
            let effect = "hosts that send with more or other tags than a service has do not reach its VIP";
            Fault::new(FindingLevel::Hint, what, effect).advice(
                "look at the reasons tags and vlan of `directrix drops`; make the switch port an access port, or set vlan = in the service",
            )
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::audit;
    use crate::doctor::replies::Replies;
    use crate::doctor::running_facts::RunningFacts;
    use crate::doctor::sample;
    use crate::wire::MacAddr;
    use FindingLevel::{Error, Hint, Unknown, Warn};

    #[test]
    fn replies_name_the_real_server_that_sends_them() {
        let mut facts = sample::sound();
        assert_eq!(sample::level(replies(&facts)), None);
        let sender = MacAddr([2, 0, 0, 0, 9, 2]);
        let (vip, client) = ([10, 0, 0, 100].into(), [192, 0, 2, 7].into());
        facts.replies = Some(Ok(vec![Replies { sender, vip, client, count: 9 }]));
        facts.network.neighbors = Ok(vec![([10, 0, 0, 2].into(), sender)]);
        let Judgement::Examined(faults) = replies(&facts) else { panic!("there is a sample") };
        assert!(faults[0].what.starts_with("the real server 10.0.0.2 (02:00:00:00:09:02)"), "{faults:?}");
        assert_eq!(sample::level(replies(&facts)), Some(Warn));
        facts.replies = Some(Err("EPERM".into()));
        assert_eq!(sample::level(replies(&facts)), Some(Unknown));
        facts.replies = None;
        assert_eq!(replies(&facts), Judgement::Moot);
    }

    #[test]
    fn handshakes_count_where_every_server_fails() {
        let mut facts = sample::sound();
        assert_eq!(handshakes(&facts), Judgement::Moot);
        let of = |opened, failed| Handshakes { opened, failed, repeated: failed };
        for (servers, wanted) in [
            (vec![], None),
            (vec![of(19, 19)], None),
            (vec![of(10, 10), of(10, 9)], Some(Warn)),
            (vec![of(100, 100), of(100, 20)], None),
        ] {
            let handshakes_ = vec![("TCP 10.0.0.100:80".to_owned(), servers.clone())];
            facts.running = Some(RunningFacts { handshakes: handshakes_, ..RunningFacts::default() });
            assert_eq!(sample::level(handshakes(&facts)), wanted, "{servers:?}");
        }
    }

    #[test]
    fn findings_of_the_auditor_keep_their_level() {
        let mut facts = sample::sound();
        for (level, wanted) in [("error", Error), ("warning", Warn), ("info", Hint)] {
            let finding = audit::Finding {
                misuse: "claims".into(),
                level: level.into(),
                address: [10, 0, 0, 100].into(),
                mac: "02:00:00:00:09:02".into(),
                server: None,
                other_interface: false,
                seen: "asked".into(),
                since_ms: 1,
                last_ms: 1,
                count: 1,
                text: "a host answers".into(),
                command: Some("ip address del 10.0.0.100/32 dev IF".into()),
                advice: None,
            };
            facts.running = Some(RunningFacts { audit: vec![finding], ..RunningFacts::default() });
            assert_eq!(sample::level(super::audit(&facts)), Some(wanted));
        }
        facts.running = Some(RunningFacts::default());
        assert_eq!(sample::level(super::audit(&facts)), None);
    }

    #[test]
    fn dropped_tags_are_counted() {
        let mut facts = sample::sound();
        facts.running = Some(RunningFacts::default());
        assert_eq!(sample::level(tags(&facts)), None);
        facts.running = Some(RunningFacts { tagged: 3, ..RunningFacts::default() });
        assert_eq!(sample::level(tags(&facts)), Some(Hint));
    }
}
