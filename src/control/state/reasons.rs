//! Reasons for which a real server gets no new connections, in sentences with their remedies.

use crate::control::api::reasons::{Reason, ServerReasons};
use crate::control::state::entry::{Reachability, ServerEntry, ServiceEntry, VipState};
use crate::health::passive::PassiveState;
use crate::health::{CheckState, CheckStatus, ServerStatus, ServiceStatus};
use crate::model::{HealthMode, IpFamily, ServiceIdentity};
use crate::schedule::Loads;
use crate::time::Span;
use crate::wire::Protocol;
use std::net::IpAddr;

/// Code of the reason that health checks fail.
const DOWN: &str = "down";

/// The reasons as far as the registry has them: not in detail those of the health checks.
pub(in crate::control) fn of(service: &ServiceEntry, server: &ServerEntry, loads: &Loads) -> ServerReasons {
    let mut reasons = Vec::new();
    reasons.extend(weight(service, server));
    reasons.extend(reachability(server));
    reasons.extend(health(server));
    reasons.extend(ejection(server));
    reasons.extend(quorum(service, server));
    reasons.extend(claim(service, server));
    reasons.extend(threshold(server, loads));
    reasons.extend(vips(service));
    let percent = server.slow_start_percent();
    let slow_start = percent.map(|part| format!("it is in slow start: {part} % of its weight counts so far"));
    let notes = slow_start.into_iter().chain(hold(server));
    ServerReasons {
        service: service.config.identity,
        server: server.config.address,
        takes_connections: reasons.is_empty(),
        reasons,
        notes: notes.chain(suspicion(server)).chain(flood(server)).collect(),
    }
}

/// Adds what the health checks have found out.
pub(in crate::control) fn explain(all: &mut [ServerReasons], health: &[ServiceStatus]) {
    for of in all {
        let service = health.iter().find(|service| service.service == of.service);
        let Some(service) = service else { continue };
        if let Some(server) = service.servers.iter().find(|server| server.server == of.server) {
            explain_server(of, service, server);
        }
    }
}

fn explain_server(of: &mut ServerReasons, service: &ServiceStatus, server: &ServerStatus) {
    let down = || server.checks.iter().filter(|check| check.decides && check.state == CheckState::Down);
    let sentences: Vec<_> = down().map(check).collect();
    let at = of.reasons.iter().position(|reason| reason.code == DOWN);
    if let Some(at) = at.filter(|_| !sentences.is_empty()) {
        of.reasons.splice(at..=at, sentences.into_iter().map(|text| Reason::new(DOWN, text)));
    } else if let Some(at) = at
        && server.down
        && let Some(check) =
            server.checks.iter().find(|check| check.decides && check.state == CheckState::Unknown)
    {
        let text =
            format!("its health check {} has had no success yet, which alpha = true asks for", check.key);
        of.reasons[at] = Reason::new("unchecked", text);
    } else if service.panic && !sentences.is_empty() {
        let text = "its health checks fail, which is ignored: more than the panic share of the service's weight is down";
        of.notes.push(text.into());
        of.notes.extend(sentences);
    }
}

fn check(check: &CheckStatus) -> String {
    let cause = check.cause.as_ref().map(|cause| cause.sentence(&check.key));
    let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
    format!("its health check {} has been down for {}{cause}", check.key, age(check.since))
}

fn age(span: Span) -> String {
    match span.secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

fn weight(service: &ServiceEntry, server: &ServerEntry) -> Option<Reason> {
    let (address, of) = (server.config.address, service.config.identity);
    if server.config.weight.0 > 0 {
        let text = "its health checks have set its weight to 0: directrix health shows them";
        return (server.weight() == 0).then(|| Reason::new("weight-0", text));
    }
    let undo = edit(of, address);
    Some(match server.drain {
        Some(_) => Reason::new(
            "draining",
            format!("it drains, and is removed once it has no connection left; to keep it: {undo}"),
        ),
        None => Reason::new("weight-0", format!("its weight is 0; to change that: {undo}")),
    })
}

/// The command that gives a server a weight.
fn edit(service: ServiceIdentity, rip: IpAddr) -> String {
    let of = match service {
        ServiceIdentity::Address(of) => format!("{} {}", option(of.protocol), of.address),
        ServiceIdentity::Mark(of) if of.family == IpFamily::Ipv6 => format!("-f {} -6", of.mark),
        ServiceIdentity::Mark(of) => format!("-f {}", of.mark),
    };
    format!("directrix ipvsadm -e {of} -r {} -g -w 1", bracketed(rip))
}

fn option(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
        Protocol::Sctp => "--sctp-service",
    }
}

/// The address as ipvsadm takes it.
fn bracketed(rip: IpAddr) -> String {
    if rip.is_ipv6() { format!("[{rip}]") } else { rip.to_string() }
}

fn reachability(server: &ServerEntry) -> Option<Reason> {
    let asked = if server.config.address.is_ipv4() { "ARP requests" } else { "neighbor solicitations" };
    match server.reachability {
        Reachability::Reachable(_) => None,
        Reachability::Resolving => Some(Reason::new(
            "resolving",
            format!("it has not answered {asked} yet, so that its MAC address is unknown"),
        )),
        Reachability::Unreachable(_) => {
            let text = format!("it does not answer {asked}: see whether the host runs, and to its link");
            Some(Reason::new("unreachable", text))
        }
    }
}

fn health(server: &ServerEntry) -> Option<Reason> {
    if server.health_mode == HealthMode::ForcedDown {
        let text = "the operator has forced its health down; to end that: directrix health resume";
        return Some(Reason::new("forced-down", format!("{text} {}", server.config.address)));
    }
    server.failed.then(|| Reason::new(DOWN, "its health checks fail: directrix health shows them"))
}

/// The sorry server while the quorum stands, and the others while it is lost.
fn quorum(service: &ServiceEntry, server: &ServerEntry) -> Option<Reason> {
    if !server.idle {
        return None;
    }
    let (live, quorum) = (service.live_weight(), service.quorum().unwrap_or_default().weight);
    if server.is_sorry() {
        let text = format!(
            "it is the sorry server, which gets connections while the quorum of {quorum} is lost: the others have weight \
             {live} now"
        );
        return Some(Reason::new("standby", text));
    }
    let sorry = service.serving_sorry()?.config.address;
    let text = format!(
        "the quorum of {quorum} is lost, as servers with weight {live} are left: the sorry server {sorry} gets all new \
         connections until it is reached again"
    );
    Some(Reason::new("no-quorum", text))
}

/// A hold of the operator that is no reason by itself.
fn hold(server: &ServerEntry) -> Option<String> {
    let what = match server.health_mode {
        HealthMode::Paused => "paused its health checks, so that the verdict on it stands still",
        HealthMode::ForcedUp => "forced its health up, so that failed checks do not count",
        HealthMode::Auto | HealthMode::ForcedDown => return None,
    };
    Some(format!("the operator has {what}; to end that: directrix health resume {}", server.config.address))
}

fn ejection(server: &ServerEntry) -> Option<Reason> {
    let status = server.passive.status.filter(|_| server.passive.is_ejected())?;
    let (left, sentence) = (status.left.unwrap_or_default().secs(), status.finding.sentence(status.server));
    let text = format!(
        "it is ejected for {left} s more, as clients could not complete their handshakes ({sentence}); see whether it has \
         the VIP, and run there: directrix realserver check"
    );
    Some(Reason::new("ejected", text))
}

/// A suspicion or a probation, which let it have connections.
fn suspicion(server: &ServerEntry) -> Option<String> {
    let status = server.passive.status?;
    match status.state {
        PassiveState::Ejected => None,
        PassiveState::Suspected | PassiveState::Warned => {
            let sentence = status.finding.sentence(status.server);
            Some(format!("clients cannot complete their handshakes with it: {sentence}"))
        }
        PassiveState::Probation => Some(
            "it is on probation after an ejection, with a twentieth of its weight until clients have completed three handshakes"
                .into(),
        ),
    }
}

/// A fault of the whole service, of which handshakes tell nothing about one server.
fn flood(server: &ServerEntry) -> Option<String> {
    let sentence = server.passive.flood?.sentence();
    Some(format!("clients cannot complete their handshakes with most servers of the service: {sentence}"))
}

fn claim(service: &ServiceEntry, server: &ServerEntry) -> Option<Reason> {
    let vips: Vec<_> = service.vips.iter().map(|(vip, _)| vip.to_string()).collect();
    let text = || {
        format!(
            "it answers for the VIP ({}), as a director does; run there: directrix realserver setup",
            vips.join(", ")
        )
    };
    server.excluded.then(|| Reason::new("claims-vip", text()))
}

fn threshold(server: &ServerEntry, loads: &Loads) -> Option<Reason> {
    let (upper, lower) = (server.config.upper_threshold, server.config.lower_threshold);
    let lower = if lower == 0 { "three quarters of that".to_owned() } else { lower.to_string() };
    let text = || {
        format!("it has reached its upper threshold of {upper} connections, and gets new ones below {lower}")
    };
    loads.is_overloaded(server.id).then(|| Reason::new("overloaded", text()))
}

/// Without its VIP, a service has no connections at all.
fn vips(service: &ServiceEntry) -> Option<Reason> {
    match service.least_vip()? {
        (_, VipState::Claimed) => None,
        (vip, VipState::Probing) => Some(Reason::new(
            "vip-probing",
            format!("the VIP {vip} is being probed for, and not claimed yet"),
        )),
        (vip, VipState::Released) => Some(Reason::new(
            "vip-released",
            format!("this director is not master: it does not answer for the VIP {vip}"),
        )),
        (vip, VipState::Standby(mac)) => {
            let text = format!("another station, {mac}, has the VIP {vip}: this director stands by");
            Some(Reason::new("vip-standby", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Stats;
    use crate::control::state::registry::{Drain, Registry};
    use crate::health::{CheckKey, FailureCause};
    use crate::model::{CheckKind, CheckTiming, RealServer, Rules, ServiceAddress, VirtualService, Weight};
    use crate::wire::MacAddr;
    use std::sync::Arc;
    use std::time::Instant;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn rip() -> IpAddr {
        [192, 0, 2, 10].into()
    }

    fn vip() -> IpAddr {
        [192, 0, 2, 1].into()
    }

    /// A service with one server, which gets connections.
    fn registry() -> Registry {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: (vip(), 80).into() };
        let server = RealServer { upper_threshold: 5, ..RealServer::new(rip(), Weight(2)) };
        let service = VirtualService::new(address, vec![server]);
        let mut registry = Registry::new(vec![MacAddr([2, 0, 0, 0, 0, 1])]);
        registry.apply(&Rules { services: vec![service], ..Rules::default() }, &|_| Stats::default());
        registry.set_vip(vip(), VipState::Claimed);
        registry.set_reachable(rip(), MAC);
        registry
    }

    fn reasons_after(change: impl FnOnce(&mut Registry)) -> ServerReasons {
        let (mut registry, loads) = (registry(), Loads::new(4));
        change(&mut registry);
        let _ = registry.snapshot(&loads, Instant::now());
        of(&registry.services[0], &registry.services[0].servers[0], &loads)
    }

    fn code(change: impl FnOnce(&mut Registry)) -> String {
        let found = reasons_after(change);
        assert!(!found.takes_connections);
        assert_eq!(found.reasons.len(), 1, "{:?}", found.reasons);
        found.reasons[0].code.clone()
    }

    fn first(registry: &mut Registry) -> &mut ServerEntry {
        &mut registry.services[0].servers[0]
    }

    #[test]
    fn each_reason_alone_has_its_code() {
        assert!(reasons_after(|_| {}).takes_connections);
        assert_eq!(code(|all| first(all).config.weight = Weight(0)), "weight-0");
        let drain = |all: &mut Registry| {
            first(all).config.weight = Weight(0);
            first(all).drain = Some(Drain { until: None });
        };
        assert_eq!(code(drain), "draining");
        assert_eq!(code(|all| all.set_resolving(rip())), "resolving");
        assert_eq!(code(|all| all.set_unreachable(rip())), "unreachable");
        assert_eq!(code(|all| first(all).dynamic_weight = Some(Weight(0))), "weight-0");
        assert_eq!(code(|all| first(all).failed = true), "down");
        let force = |all: &mut Registry| {
            all.set_health_mode(None, Some(rip()), HealthMode::ForcedDown);
            first(all).failed = true;
        };
        assert_eq!(code(force), "forced-down");
        assert_eq!(code(|all| all.set_holder(vip(), MAC, true)), "claims-vip");
        assert_eq!(code(|all| all.set_vip(vip(), VipState::Probing)), "vip-probing");
        assert_eq!(code(|all| all.set_vip(vip(), VipState::Standby(MAC))), "vip-standby");
    }

    #[test]
    fn several_reasons_are_all_named_with_their_remedies() {
        let found = reasons_after(|all| {
            first(all).config.weight = Weight(0);
            first(all).failed = true;
            all.set_unreachable(rip());
        });
        let codes: Vec<_> = found.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!(codes, ["weight-0", "unreachable", "down"]);
        let command = "directrix ipvsadm -e -t 192.0.2.1:80 -r 192.0.2.10 -g -w 1";
        assert!(found.reasons[0].text.ends_with(command), "{}", found.reasons[0].text);
    }

    fn failing(panic: bool) -> Vec<ServiceStatus> {
        let key = CheckKey {
            server: rip(),
            vip: None,
            port: 80,
            kind: Arc::new(CheckKind::Tcp),
            timing: CheckTiming::default(),
        };
        let check = CheckStatus {
            key,
            decides: true,
            state: CheckState::Down,
            since: Span::from_secs(300),
            last: None,
            weight: None,
            cause: Some(FailureCause::ServiceDown),
            next: None,
            paused: false,
            downs: 1,
        };
        let server = ServerStatus {
            server: rip(),
            down: true,
            out: !panic,
            dynamic_weight: None,
            mode: HealthMode::Auto,
            checks: vec![check],
        };
        vec![ServiceStatus { service: registry().services[0].config.identity, panic, servers: vec![server] }]
    }

    #[test]
    fn the_checks_that_fail_take_the_place_of_their_summary() {
        let mut all = [reasons_after(|all| first(all).failed = true)];
        explain(&mut all, &failing(false));
        let text = "its health check tcp port 80 has been down for 5 min: 192.0.2.10:80 is refused: start the service there, \
                    or correct port 80";
        assert_eq!(all[0].reasons, [Reason::new("down", text)]);
        let mut all = [reasons_after(|_| {})];
        explain(&mut all, &failing(true));
        assert!(all[0].takes_connections && all[0].notes[0].contains("is ignored"), "{:?}", all[0]);
    }
}
