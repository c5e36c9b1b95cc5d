//! Single rules of the machine.

use crate::world::{Behaviour, World, server, service, vip};
use directrix::health::{
    CheckState, CheckUse, FailureCause, Health, HealthAction, HealthConfig, HealthEvent, HealthReport,
    HealthSettings, LocalError, ProbeFailure, ProbeOutcome, ServerChecks, ServiceChecks,
};
use directrix::model::{CheckKind, CheckTarget, CheckTiming, HealthCheck, HealthMode, Weight};
use directrix::time::{Span, Tick};
use std::time::Duration;

pub(crate) fn check(target: CheckTarget) -> HealthCheck {
    HealthCheck { kind: CheckKind::Tcp, target, port: None, timing: CheckTiming::default() }
}

pub(crate) fn with_servers(
    port: u16,
    servers: impl IntoIterator<Item = u8>,
    target: CheckTarget,
) -> ServiceChecks {
    let checks = |n| CheckUse::of(&check(target), server(n), &[vip()], port);
    let servers = servers.into_iter().map(|n| ServerChecks::new(server(n), Weight(1), checks(n)));
    ServiceChecks::new(service(port), 50, servers.collect())
}

fn machine() -> Health {
    let mut health = Health::new(HealthSettings { in_flight_max: 8, seed: 1 });
    let services = vec![with_servers(80, [1, 2, 3], CheckTarget::Rip)];
    let config = HealthConfig { number: 1, services };
    health.handle(HealthEvent::Configure(config), Tick(0), &mut Vec::new());
    health
}

/// The states of all checks of the first service.
fn states(health: &Health) -> Vec<CheckState> {
    health.status()[0].servers.iter().map(|server| server.checks[0].state).collect()
}

#[test]
fn a_black_hole_is_out_within_the_longest_detection_time() {
    for (behaviour, longest) in [(Behaviour::Refuses, 4_900), (Behaviour::IsSilent, 5_400)] {
        let mut world = World::new(3, 8);
        world.configure(vec![with_servers(80, [1, 2, 3], CheckTarget::Rip)]);
        world.run(10_000);
        assert_eq!(world.changes(CheckState::Up), 3);
        world.set([2], behaviour);
        let since = world.now;
        while world.out.is_empty() {
            assert!(world.step(since + 60_000).is_some(), "it is never out");
        }
        let took = world.now - since;
        assert!((2_000..=longest).contains(&took), "{behaviour:?}: {took} ms");
        assert!(world.out.contains(&(service(80), server(2))));
        world.set([2], Behaviour::Answers);
        let since = world.now;
        while !world.out.is_empty() {
            assert!(world.step(since + 60_000).is_some(), "it never comes back");
        }
        assert!(world.now - since <= 1_000 + 5_500 + 1_100, "{} ms", world.now - since);
    }
}

#[test]
fn a_suspect_is_probed_at_once() {
    let timing =
        CheckTiming { down_interval: Span::from_secs(60), ..CheckTiming::every(Span::from_secs(60)) };
    let checks = |n, target| CheckUse::of(&HealthCheck { timing, ..check(target) }, server(n), &[vip()], 80);
    let servers = (1..=2).map(|n| ServerChecks::new(server(n), Weight(1), checks(n, CheckTarget::Both)));
    let mut world = World::new(5, 8);
    world.configure(vec![ServiceChecks::new(service(80), 50, servers.collect())]);
    world.run(200_000);
    let first_after = |world: &World, n: u8, since: u64| -> Vec<u64> {
        let of_server = world.starts.iter().filter(|(key, _)| key.server == server(n));
        of_server
            .filter_map(|(_, starts)| starts.iter().find(|at| **at >= since).map(|at| at - since))
            .collect()
    };
    let since = world.now;
    world.suspect(2);
    world.run(100_000);
    let soon = first_after(&world, 2, since);
    assert!(soon.len() == 2 && soon.iter().all(|wait| *wait <= 1_000), "both checks: {soon:?}");
    assert!(first_after(&world, 1, since).iter().any(|wait| *wait > 1_000), "not those of others");
    assert_eq!(world.changes(CheckState::Down), 0, "a suspicion decides nothing");
}

#[test]
fn a_probe_that_starts_late_proves_no_failure() {
    let mut health = machine();
    for (late, state) in [(499, CheckState::Down), (501, CheckState::Unknown)] {
        let mut health_late = machine();
        let due = health_late.next_deadline().unwrap().after(Span::from_millis(late));
        let mut actions = Vec::new();
        health_late.handle(HealthEvent::Timer, due, &mut actions);
        let HealthAction::Start { probe, key } = &actions[0] else { panic!("{actions:?}") };
        let failed = ProbeOutcome::Failed(ProbeFailure::Refused);
        let finished =
            HealthEvent::Finished { probe: *probe, outcome: failed, rip: None, took: Duration::ZERO };
        health_late.handle(finished, due, &mut Vec::new());
        let status = health_late.status();
        let checked = status[0].servers.iter().find(|of| of.server == key.server).unwrap();
        assert_eq!(checked.checks[0].state, state, "{late} ms late");
        let (last, _) = checked.checks[0].last.clone().unwrap();
        let is_late = last.outcome == ProbeOutcome::Unknown(LocalError::Late);
        assert_eq!(is_late, state == CheckState::Unknown);
    }
    health.handle(HealthEvent::Timer, Tick(1), &mut Vec::new());
    assert_eq!(states(&health), [CheckState::Unknown; 3]);
}

#[test]
fn equal_checks_of_several_services_are_one() {
    let mut world = World::new(5, 8);
    let shared = HealthCheck { port: Some(8080), ..check(CheckTarget::Rip) };
    let config = (80..90).map(|port| {
        let checks = CheckUse::of(&shared, server(1), &[vip()], port);
        ServiceChecks::new(service(port), 0, vec![ServerChecks::new(server(1), Weight(1), checks)])
    });
    world.configure(config.collect());
    assert_eq!(world.health.counts().0, 1);
    world.set([1], Behaviour::Refuses);
    world.run(3_000);
    assert_eq!(world.out.len(), 10, "one probe counts for all services");
}

#[test]
fn the_rip_explains_a_failure_of_the_vip_but_does_not_decide() {
    let mut world = World::new(7, 8);
    let mut config = vec![with_servers(80, [1, 2, 3], CheckTarget::Both)];
    world.set([1, 2, 3], Behaviour::IsSilent);
    for server in &mut config[0].servers[..2] {
        server.checks.retain(|check| !check.decides);
    }
    world.configure(config);
    world.run(20_000);
    let out: Vec<_> = world.out.iter().map(|(_, server)| *server).collect();
    assert_eq!(out, [server(3)], "only where the VIP decides");
    let status = world.health.status();
    let causes: Vec<_> = status[0].servers[2].checks.iter().map(|check| check.cause.clone()).collect();
    assert_eq!(causes, [Some(FailureCause::Silent), Some(FailureCause::Silent)]);
}

#[test]
fn a_probe_of_the_vip_brings_what_the_rip_answers() {
    let mut health = Health::new(HealthSettings { in_flight_max: 8, seed: 1 });
    let services = vec![with_servers(80, [1], CheckTarget::Vip)];
    let config = HealthConfig { number: 1, services };
    health.handle(HealthEvent::Configure(config), Tick(0), &mut Vec::new());
    for (rip, cause) in [
        (Some(ProbeOutcome::Passed), FailureCause::VipMissing),
        (Some(ProbeOutcome::Failed(ProbeFailure::Silent)), FailureCause::Silent),
        (None, FailureCause::Silent),
    ] {
        let (due, mut actions) = (health.next_deadline().unwrap(), Vec::new());
        health.handle(HealthEvent::Timer, due, &mut actions);
        let HealthAction::Start { probe, .. } = actions[0] else { panic!("{actions:?}") };
        let outcome = ProbeOutcome::Failed(ProbeFailure::Silent);
        let finished = HealthEvent::Finished { probe, outcome, rip, took: Duration::from_secs(1) };
        health.handle(finished, due.after(Span::from_secs(1)), &mut actions);
        assert_eq!(health.status()[0].servers[0].checks[0].cause, Some(cause));
    }
}

#[test]
fn the_answer_of_the_rip_to_the_same_probe_counts_and_stays() {
    let mut health = Health::new(HealthSettings { in_flight_max: 8, seed: 1 });
    let services = vec![with_servers(80, [1], CheckTarget::Both)];
    let config = HealthConfig { number: 1, services };
    health.handle(HealthEvent::Configure(config), Tick(0), &mut Vec::new());
    let silent = || ProbeOutcome::Failed(ProbeFailure::Silent);
    let mut cause = |of_vip: ProbeOutcome, rip: Option<ProbeOutcome>| {
        let mut has_ended = false;
        while !has_ended {
            let (due, mut actions) = (health.next_deadline().unwrap(), Vec::new());
            health.handle(HealthEvent::Timer, due, &mut actions);
            for action in actions {
                let HealthAction::Start { probe, key } = action else { continue };
                let outcome = if key.vip.is_some() { of_vip.clone() } else { ProbeOutcome::Passed };
                let rip = rip.clone().filter(|_| key.vip.is_some());
                let took = Duration::from_millis(10);
                health.handle(HealthEvent::Finished { probe, outcome, rip, took }, due, &mut Vec::new());
                has_ended |= key.vip.is_some();
            }
        }
        let checks = &health.status()[0].servers[0].checks;
        checks.iter().find(|check| check.key.vip.is_some()).unwrap().cause.clone()
    };
    assert_eq!(cause(silent(), Some(silent())), Some(FailureCause::Silent), "the check of the RIP passes");
    assert_eq!(cause(silent(), None), Some(FailureCause::VipMissing));
    assert_eq!(cause(silent(), Some(silent())), Some(FailureCause::Silent));
    let late = ProbeOutcome::Unknown(LocalError::Late);
    assert_eq!(cause(late, None), Some(FailureCause::Silent), "a result without knowledge changes no cause");
}

/// A service with `alpha`, with checks of this port.
fn alpha(servers: impl IntoIterator<Item = u8>, port: u16) -> ServiceChecks {
    ServiceChecks { alpha: true, service: service(80), ..with_servers(port, servers, CheckTarget::Rip) }
}

#[test]
fn with_alpha_a_server_in_use_stays_so_when_its_check_changes() {
    let mut world = World::new(3, 8);
    world.configure(vec![alpha([1, 2], 80)]);
    assert_eq!(world.out.len(), 2, "until their first success");
    world.run(10_000);
    assert!(world.out.is_empty());
    world.configure(vec![alpha([1, 2, 3], 81)]);
    let out: Vec<_> = world.out.iter().map(|(_, server)| *server).collect();
    assert_eq!(out, [server(3)], "the added one alone waits for a success");
    world.run(10_000);
    assert!(world.out.is_empty());
}

#[test]
fn with_alpha_panic_brings_no_server_into_use_that_never_passed() {
    let mut world = World::new(3, 8);
    world.configure(vec![alpha([1], 80)]);
    world.run(10_000);
    world.set([2, 3], Behaviour::Refuses);
    world.configure(vec![alpha([1, 2, 3], 80)]);
    world.run(60_000);
    let out: Vec<_> = world.out.iter().map(|(_, server)| *server).collect();
    assert_eq!(out, [server(2), server(3)]);
    assert!(!world.health.status()[0].panic);
    world.set([2, 3], Behaviour::Answers);
    world.run(60_000);
    assert!(world.out.is_empty());
    world.set([2, 3], Behaviour::Refuses);
    world.run(60_000);
    assert!(world.health.status()[0].panic, "they count once they have passed");
    assert!(world.out.is_empty());
}

#[test]
fn a_group_probes_each_of_its_vips() {
    let vips = [vip(), server(200)];
    let uses = CheckUse::of(&check(CheckTarget::Both), server(1), &vips, 80);
    let of: Vec<_> = uses.iter().map(|of| (of.key.vip, of.decides)).collect();
    assert_eq!(of, [(None, false), (Some(vips[0]), true), (Some(vips[1]), true)]);
}

#[test]
fn results_of_an_aborted_probe_are_ignored() {
    let mut health = machine();
    let mut actions = Vec::new();
    let due = Tick(2_100);
    health.handle(HealthEvent::Timer, due, &mut actions);
    let started = std::mem::take(&mut actions);
    assert_eq!(health.counts(), (3, 3));
    health.handle(HealthEvent::Configure(HealthConfig::default()), due, &mut actions);
    let aborted = actions.drain(..).filter(|action| matches!(action, HealthAction::Abort(_))).count();
    assert_eq!((aborted, health.counts()), (3, (0, 0)));
    for action in started {
        let HealthAction::Start { probe, .. } = action else { panic!("{action:?}") };
        let outcome = ProbeOutcome::Passed;
        health.handle(
            HealthEvent::Finished { probe, outcome, rip: None, took: Duration::ZERO },
            due,
            &mut actions,
        );
    }
    assert_eq!(actions, []);
}

#[test]
fn panic_ends_when_enough_servers_are_back() {
    let mut world = World::new(9, 8);
    world.configure(vec![with_servers(80, 1..=4, CheckTarget::Rip)]);
    world.run(5_000);
    world.set([1, 2], Behaviour::Refuses);
    world.run(20_000);
    assert_eq!(world.out.len(), 2, "half is not above the share");
    world.set([3], Behaviour::Refuses);
    world.run(20_000);
    assert_eq!(world.out.len(), 0);
    world.set([1], Behaviour::Answers);
    world.run(20_000);
    assert_eq!(world.out.len(), 2);
    let panics = world.reports.iter().filter_map(|(_, report)| match report {
        HealthReport::Panic { on, down, total, .. } => Some((*on, *down, *total)),
        _ => None,
    });
    assert_eq!(panics.collect::<Vec<_>>(), [(true, 3, 4), (false, 2, 4)]);
}

#[test]
fn the_operator_wins_over_the_checks_and_over_panic() {
    let mut world = World::new(11, 8);
    let with = |modes: [HealthMode; 4]| {
        let mut config = vec![with_servers(80, 1..=4, CheckTarget::Rip)];
        config[0].servers.iter_mut().zip(modes).for_each(|(server, mode)| server.mode = mode);
        config
    };
    use HealthMode::{Auto, ForcedDown, ForcedUp, Paused};
    let out = |world: &World| world.out.iter().map(|(_, server)| *server).collect::<Vec<_>>();
    world.configure(with([Auto, Auto, ForcedUp, ForcedDown]));
    assert_eq!(out(&world), [server(4)], "at once");
    world.set([3], Behaviour::Refuses);
    world.run(20_000);
    assert_eq!(out(&world), [server(4)], "forced up although it refuses");
    world.set([1, 2], Behaviour::Refuses);
    world.run(20_000);
    assert_eq!(out(&world), [server(4)], "panic: forced down all the same");
    world.set([1, 2], Behaviour::Answers);
    world.run(60_000);
    world.configure(with([Auto, Auto, Auto, Paused]));
    assert_eq!(out(&world), [server(3)], "the checks decide again; of the fourth server, none has failed");
    world.set([4], Behaviour::Refuses);
    world.run(60_000);
    assert_eq!(out(&world), [server(3)], "no probe of a server that is paused");
    world.configure(with([Auto; 4]));
    world.run(5_000);
    assert_eq!(out(&world), [server(3), server(4)]);
}

#[test]
fn a_shared_check_is_probed_while_one_service_wants_it() {
    let mut world = World::new(13, 8);
    let shared = HealthCheck { port: Some(8080), ..check(CheckTarget::Rip) };
    let with = |first: HealthMode, second: HealthMode| {
        let of = |port, mode| {
            let checks = CheckUse::of(&shared, server(1), &[vip()], port);
            let one = ServerChecks { mode, ..ServerChecks::new(server(1), Weight(1), checks) };
            ServiceChecks::new(service(port), 0, vec![one])
        };
        vec![of(80, first), of(81, second)]
    };
    world.configure(with(HealthMode::Paused, HealthMode::Auto));
    world.set([1], Behaviour::Refuses);
    world.run(20_000);
    assert_eq!(world.out.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [service(81)]);
    world.configure(with(HealthMode::Auto, HealthMode::Auto));
    assert_eq!(world.out.len(), 2, "what the check has found meanwhile");
}
