//! Trouble of the director's own: failures of everything at once, stalls, too many checks.

use crate::rules::with_servers;
use crate::world::{Behaviour, World};
use directrix::health::{CheckState, HealthReport};
use directrix::model::CheckTarget;
use std::time::Instant;

fn freezes(world: &World) -> Vec<bool> {
    let on = |report: &HealthReport| match report {
        HealthReport::Freeze { on, .. } => Some(*on),
        _ => None,
    };
    world.reports.iter().filter_map(|(_, report)| on(report)).collect()
}

#[test]
fn nothing_goes_down_when_nearly_all_fail_at_once() {
    for seed in 1..=10 {
        let mut world = World::new(seed, 64);
        let services =
            [with_servers(80, 1..=12, CheckTarget::Rip), with_servers(81, 8..=20, CheckTarget::Rip)];
        let without_panic = services.map(|of| directrix::health::ServiceChecks { panic: 0, ..of });
        world.configure(without_panic.to_vec());
        world.run(10_000);
        assert_eq!(world.changes(CheckState::Up), 25);
        world.set(2..=20, Behaviour::IsSilent);
        world.run(300_000);
        assert_eq!((world.changes(CheckState::Down), freezes(&world)), (0, vec![true]), "seed {seed}");
        world.set(2..=20, Behaviour::Answers);
        world.run(20_000);
        assert_eq!((world.changes(CheckState::Down), freezes(&world)), (0, vec![true, false]), "seed {seed}");
        world.set([3], Behaviour::IsSilent);
        world.run(20_000);
        assert_eq!(world.out.len(), 1, "a single failure counts as ever");
    }
}

#[test]
fn a_failure_of_many_servers_of_one_service_is_theirs() {
    let mut world = World::new(1, 64);
    let mut config = with_servers(80, 1..=20, CheckTarget::Rip);
    config.panic = 0;
    world.configure(vec![config]);
    world.run(10_000);
    world.set(1..=20, Behaviour::Refuses);
    world.run(20_000);
    assert_eq!((world.out.len(), freezes(&world)), (20, vec![]));
}

#[test]
fn stalls_of_the_process_take_no_server_down() {
    for seed in 1..=20 {
        let mut world = World::new(seed, 64);
        world.configure(vec![with_servers(80, 1..=8, CheckTarget::Rip)]);
        world.run(10_000);
        for _ in 0..200 {
            let (busy, stalled) = (world.random.below(3_000), 2_000 + world.random.below(30_000));
            world.run(busy);
            world.stall(stalled);
        }
        assert_eq!(world.changes(CheckState::Down), 0, "seed {seed}");
    }
}

#[test]
fn probes_that_waited_for_room_count() {
    let mut world = World::new(1, 1);
    world.configure(vec![with_servers(80, 1..=200, CheckTarget::Rip)]);
    world.set(1..=200, Behaviour::IsSilent);
    world.run(120_000);
    let down = world.changes(CheckState::Down);
    assert!((100..=120).contains(&down), "{down} checks went down in two minutes, one probe a second");
}

/// A scan of all checks at each event would take minutes.
#[test]
fn ten_thousand_checks_are_cheap() {
    let mut world = World::new(1, 256);
    let services = (1..=50).map(|port| with_servers(port, 1..=200, CheckTarget::Rip));
    world.configure(services.collect());
    assert_eq!(world.health.counts().0, 10_000);
    let started = Instant::now();
    let mut probes = 0_u64;
    while world.step(20_000).is_some() {
        probes += 1;
    }
    let took = started.elapsed();
    eprintln!("{probes} probes of 10,000 checks in {took:?}");
    assert!(probes > 9_000, "{probes}");
    assert!(took.as_secs() < 30, "{probes} probes took {took:?}");
}
