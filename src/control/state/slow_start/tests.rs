use super::*;
use crate::control::api::Stats;
use crate::control::state::registry::Registry;
use crate::model::{RealServer, Rules, ServerId, ServiceAddress, VirtualService, Weight};
use crate::schedule::Loads;
use crate::time::Span;
use crate::wire::{MacAddr, Protocol};
use proptest::prelude::*;
use std::net::IpAddr;

proptest! {
    #[test]
    fn a_part_grows_with_time_from_a_twentieth_to_the_whole(
        (seconds, times) in (1..=86_400u64, prop::collection::vec(0..100_000_000u64, 2..9))
    ) {
        let duration = Duration::from_secs(seconds);
        let mut times = times;
        times.sort_unstable();
        let parts: Vec<_> = times.iter().map(|ms| part(Duration::from_millis(*ms), duration)).collect();
        prop_assert!(parts.is_sorted());
        for (ms, part) in times.iter().zip(parts) {
            prop_assert!((500..=WHOLE).contains(&part));
            prop_assert_eq!(part == WHOLE, *ms >= seconds * 1000);
            // Never ahead of time, and behind it by less than a step.
            let due = (ms * 10_000) as f64 / (seconds * 1000) as f64;
            let step = (10_000.0 / seconds as f64).max(500.0);
            prop_assert!(f64::from(part) <= due.max(500.0) && f64::from(part) > due.min(10_000.0) - step - 1.0);
        }
    }

    #[test]
    fn a_part_holds_until_the_next_step((seconds, ms) in (1..=86_400u64, 0..100_000_000u64)) {
        let (duration, since) = (Duration::from_secs(seconds), Instant::now());
        let at = |moment: Instant| part(moment - since, duration);
        let now = since + Duration::from_millis(ms);
        let next = next_step(since, duration, now);
        prop_assert!(next > now && at(next - Duration::from_nanos(1)) == at(now));
        prop_assert!(next - now <= step(duration));
        // Only the last one, which ends at its time, may be shorter than a second.
        let following = next_step(since, duration, next);
        prop_assert!(following - next >= STEP_MIN || following == since + duration);
    }
}

const START: u64 = 1000;

/// A service whose servers, of weight 1, have been there for [`START`] seconds; the others join it.
struct Service {
    registry: Registry,
    loads: Loads,
    epoch: Instant,
}

fn rip(host: u8) -> IpAddr {
    [192, 0, 2, host].into()
}

fn server(host: u8, weight: u16) -> RealServer {
    RealServer { mac: None, ..RealServer::new(rip(host), Weight(weight)) }
}

impl Service {
    fn new(slow_start: Option<u32>, hosts: &[u8]) -> Self {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        let servers = hosts.iter().map(|host| server(*host, 1)).collect();
        let service = VirtualService {
            slow_start: slow_start.map(Span::from_secs),
            ..VirtualService::new(address, servers)
        };
        let registry = Registry::new(vec![MacAddr([2, 0, 0, 0, 0, 1])]);
        let mut service =
            Self { registry, loads: Loads::new(9), epoch: Instant::now() }.with(0, vec![service]);
        hosts.iter().zip(0..).for_each(|(host, second)| service.answers(second, *host, true));
        service
    }

    fn with(mut self, second: u64, services: Vec<VirtualService>) -> Self {
        let rules = Rules { services, ..Rules::default() };
        self.registry.apply(&rules, &|_| Stats::default());
        self.parts(second);
        self
    }

    fn change(&mut self, second: u64, change: impl FnOnce(&mut VirtualService)) {
        let mut rules = self.registry.rules();
        change(&mut rules.services[0]);
        self.registry.apply(&rules, &|_| Stats::default());
        self.parts(second);
    }

    fn answers(&mut self, second: u64, host: u8, yes: bool) {
        match yes {
            true => self.registry.set_reachable(rip(host), MacAddr([2, 0, 0, 0, 0, host])),
            false => self.registry.set_unreachable(rip(host)),
        }
        self.parts(second);
    }

    fn joins(&mut self, second: u64, host: u8, weight: u16) {
        self.change(second, |service| service.servers.push(server(host, weight)));
        self.answers(second, host, true);
    }

    fn at(&self, second: u64) -> Instant {
        self.epoch + Duration::from_secs(second)
    }

    /// Advances to `second` and returns the effective part of each weight, in percent.
    fn parts(&mut self, second: u64) -> Vec<Option<u16>> {
        let now = self.at(second);
        let service = &mut self.registry.services[0];
        service.advance_slow_start(&self.loads, now, Duration::from_secs(120));
        service.servers.iter().map(|server| server.slow_start.part().map(|part| part / 100)).collect()
    }

    fn next_step(&self) -> Option<u64> {
        self.registry.next_step().map(|next| (next - self.epoch).as_secs())
    }
}

#[test]
fn part_of_an_added_server_grows_in_steps() {
    let mut service = Service::new(Some(100), &[10, 11]);
    assert_eq!((service.parts(START), service.next_step()), (vec![None; 2], None));
    service.joins(START, 12, 1);
    for (second, part) in [(0, 5), (4, 5), (5, 5), (10, 10), (52, 50), (99, 95)] {
        assert_eq!(service.parts(START + second), [None, None, Some(part)]);
        assert_eq!(service.next_step(), Some(START + second / 5 * 5 + 5));
        let server = &service.registry.services[0].servers[2];
        assert_eq!(
            (server.slow_start_percent(), server.config.weight),
            (Some(part as u8), Weight(1)),
            "as configured"
        );
    }
    assert_eq!((service.parts(START + 100), service.next_step()), (vec![None; 3], None));
}

#[test]
fn servers_that_join_together_have_no_slow_start() {
    let mut service = Service::new(Some(100), &[10, 11, 12]);
    assert_eq!(service.parts(3), [None; 3], "two seconds after the first");
    service.joins(9, 13, 1);
    service.joins(10, 14, 1);
    assert_eq!(service.parts(10), [None, None, None, None, Some(5)]);
    // All are lost and return: without a present server there is no slow start.
    (10..15).for_each(|host| service.answers(500, host, false));
    (10..15).for_each(|host| service.answers(600 + u64::from(host - 10), host, true));
    assert_eq!(service.parts(605), [None; 5]);
}

#[test]
fn only_a_weight_that_was_0_starts_slowly() {
    let mut service = Service::new(Some(100), &[10, 11]);
    service.change(START, |service| service.servers[1].weight = Weight(7));
    service.change(START + 1, |service| service.servers[1].weight = Weight(0));
    assert_eq!(service.parts(START + 1), [None; 2]);
    service.change(START + 2, |service| service.servers[1].weight = Weight(1));
    assert_eq!(service.parts(START + 2), [None, Some(5)], "also after a short time at 0");
}

#[test]
fn lost_server_starts_slowly_unless_it_returns_at_once() {
    let mut service = Service::new(Some(100), &[10, 11]);
    service.answers(START, 11, false);
    service.answers(START + 9, 11, true);
    assert_eq!(service.parts(START + 9), [None; 2]);
    service.answers(START + 20, 11, false);
    service.answers(START + 30, 11, true);
    assert_eq!(service.parts(START + 80), [None, Some(50)]);
    // A short loss during a slow start does not restart it.
    service.answers(START + 81, 11, false);
    assert_eq!((service.parts(START + 81), service.next_step()), (vec![None; 2], None));
    service.answers(START + 85, 11, true);
    assert_eq!(service.parts(START + 90), [None, Some(60)]);
}

#[test]
fn other_changes_leave_a_slow_start_as_it_is() {
    let mut service = Service::new(Some(100), &[10, 11]);
    service.joins(START, 12, 1);
    service.change(START + 52, |service| service.servers[2].weight = Weight(9));
    assert_eq!(
        (service.parts(START + 54), service.next_step()),
        (vec![None, None, Some(50)], Some(START + 55))
    );
    service.joins(START + 56, 13, 1);
    assert_eq!(service.parts(START + 56), [None, None, Some(55), Some(5)]);
    service.change(START + 60, |service| service.servers.truncate(3));
    service.joins(START + 60, 13, 1);
    assert_eq!(
        service.parts(START + 66),
        [None, None, Some(65), Some(5)],
        "an added server starts at the beginning"
    );
}

#[test]
fn slow_start_follows_the_configured_duration() {
    let mut service = Service::new(Some(100), &[10, 11]);
    service.joins(START, 12, 1);
    service.change(START + 20, |service| service.slow_start = Some(Span::from_secs(40)));
    assert_eq!(service.parts(START + 20), [None, None, Some(50)]);
    service.change(START + 21, |service| service.slow_start = None);
    assert_eq!((service.parts(START + 21), service.next_step()), (vec![None; 3], None));
    service.change(START + 22, |service| service.slow_start = Some(Span::from_secs(100)));
    assert_eq!(service.parts(START + 22), [None; 3], "a present server has no slow start");
}

#[test]
fn steps_last_a_second_and_the_slow_start_ends_in_time() {
    let mut service = Service::new(Some(3), &[10]);
    service.joins(START, 11, 1);
    let mut steps = Vec::new();
    while let Some(next) = service.next_step() {
        steps.push((next - START, service.parts(next)[1]));
    }
    assert_eq!(steps, [(1, Some(33)), (2, Some(66)), (3, None)]);
}

#[test]
fn wlc_slow_start_lasts_until_closed_connections_are_level() {
    let mut service = Service::new(Some(100), &[10, 11]);
    [0, 1].into_iter().for_each(|id| (0..1000).for_each(|_| service.loads.add(ServerId(id), false)));
    service.joins(START, 12, 1);
    (0..999).for_each(|_| service.loads.add(ServerId(2), false));
    assert_eq!(service.parts(START + 100), [None, None, Some(100)]);
    assert_eq!(service.registry.services[0].servers[2].slow_start_percent(), None, "its whole weight counts");
    service.loads.add(ServerId(2), false);
    assert_eq!((service.parts(START + 105), service.next_step()), (vec![None; 3], None));

    // Or until the closed connections of before have expired.
    service.joins(2 * START, 13, 1);
    assert_eq!(service.parts(2 * START + 219)[3], Some(100));
    assert_eq!((service.parts(2 * START + 220), service.next_step()), (vec![None; 4], None));
}
