//! The availability of services: log events when the last available server is lost and when one is back.

use crate::control::log::limit::LogLimiter;
use crate::control::state::entry::{Reachability, ServiceEntry};
use crate::model::ServiceIdentity;
use crate::schedule::Loads;
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

/// Time that a new service may be without a server before an event: `ipvsadm -A` is followed by `-a`.
const GRACE: Duration = Duration::from_secs(2);

/// The number of a service's servers by the first reason that excludes them from new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Availability {
    /// Take new connections.
    pub available: usize,
    /// Have weight 0.
    pub weightless: usize,
    /// Fail their health checks.
    pub down: usize,
    /// Are left out while the sorry server is in use.
    pub without_quorum: usize,
    /// Are ejected, as clients cannot complete their handshakes.
    pub ejected: usize,
    /// Do not answer solicitations.
    pub unreachable: usize,
    /// Have not answered a solicitation yet.
    pub resolving: usize,
    /// Answer for the VIP, and are excluded for that.
    pub claiming: usize,
    /// Have reached their upper threshold.
    pub overloaded: usize,
}

impl Availability {
    /// Counts the servers of `service`, with the sorry server while it is in use.
    #[must_use]
    pub fn of(service: &ServiceEntry, loads: &Loads) -> Self {
        let mut counts = Self::default();
        for server in service.servers.iter().filter(|server| !(server.is_sorry() && server.idle)) {
            let count = match server.reachability {
                _ if server.weight() == 0 => &mut counts.weightless,
                Reachability::Unreachable(_) => &mut counts.unreachable,
                Reachability::Resolving => &mut counts.resolving,
                Reachability::Reachable(_) if server.failed => &mut counts.down,
                Reachability::Reachable(_) if server.passive.is_ejected() => &mut counts.ejected,
                Reachability::Reachable(_) if server.excluded => &mut counts.claiming,
                Reachability::Reachable(_) if server.idle => &mut counts.without_quorum,
                Reachability::Reachable(_) if loads.is_overloaded(server.id) => &mut counts.overloaded,
                Reachability::Reachable(_) => &mut counts.available,
            };
            *count += 1;
        }
        counts
    }

    /// Returns the number of all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.in_words().iter().map(|(count, _)| count).sum()
    }

    fn in_words(&self) -> [(usize, &'static str); 9] {
        [
            (self.available, "available"),
            (self.weightless, "with weight 0"),
            (self.down, "down"),
            (self.without_quorum, "without a quorum"),
            (self.ejected, "ejected"),
            (self.unreachable, "unreachable"),
            (self.resolving, "resolving"),
            (self.claiming, "claiming the VIP"),
            (self.overloaded, "overloaded"),
        ]
    }

    /// Returns true if the only reason is load.
    fn is_only_overloaded(&self) -> bool {
        self.available == 0 && self.overloaded > 0
    }
}

impl Display for Availability {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counts = self.in_words();
        let words =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let words = words.collect::<Vec<_>>().join(", ");
        f.write_str(if words.is_empty() { "no real servers" } else { &words })
    }
}

/// The availability of a service at the last check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastSeen {
    Without { since: Instant },
    With,
    Reported,
}

/// A change of a service since the last check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AvailabilityEvent {
    NoneLeft,
    Back,
}

/// Detects services that lose their last available server or get one again.
#[derive(Debug, Default)]
pub struct AvailabilityWatch {
    seen: HashMap<ServiceIdentity, LastSeen>,
    limiter: LogLimiter<ServiceIdentity>,
}

impl AvailabilityWatch {
    /// Logs the changes. To be called after each change of the rules, and periodically.
    pub fn check(&mut self, services: &[ServiceEntry], loads: &Loads, now: Instant) {
        let counts =
            services.iter().map(|service| (service.config.identity, Availability::of(service, loads)));
        for (service, counts, event) in self.events(&counts.collect::<Vec<_>>(), now) {
            self.limiter.log(service, now, || log(service, &counts, event));
        }
        self.limiter.report_suppressed(now);
    }

    fn events(
        &mut self,
        services: &[(ServiceIdentity, Availability)],
        now: Instant,
    ) -> Vec<(ServiceIdentity, Availability, AvailabilityEvent)> {
        let before = std::mem::take(&mut self.seen);
        let mut events = Vec::new();
        for (service, counts) in services {
            let seen = before.get(service).copied().unwrap_or(LastSeen::Without { since: now });
            let (seen, event) = next(seen, counts, now);
            self.seen.insert(*service, seen);
            events.extend(event.map(|event| (*service, *counts, event)));
        }
        events
    }
}

/// Returns the next state and the event. While servers are being resolved, nothing changes.
fn next(seen: LastSeen, counts: &Availability, now: Instant) -> (LastSeen, Option<AvailabilityEvent>) {
    match seen {
        LastSeen::Reported if counts.available > 0 => (LastSeen::With, Some(AvailabilityEvent::Back)),
        _ if counts.available > 0 => (LastSeen::With, None),
        _ if counts.resolving > 0 => (seen, None),
        LastSeen::With => (LastSeen::Reported, Some(AvailabilityEvent::NoneLeft)),
        LastSeen::Without { since } if now.saturating_duration_since(since) >= GRACE => {
            (LastSeen::Reported, Some(AvailabilityEvent::NoneLeft))
        }
        LastSeen::Without { .. } | LastSeen::Reported => (seen, None),
    }
}

fn log(service: ServiceIdentity, counts: &Availability, event: AvailabilityEvent) {
    let (available, servers) = (counts.available, counts.to_string());
    match event {
        AvailabilityEvent::Back => {
            tracing::info!(%service, available, servers, "the service has available real servers again");
        }
        AvailabilityEvent::NoneLeft if counts.is_only_overloaded() => {
            tracing::warn!(%service, servers, "no real server below its threshold left for new connections");
        }
        AvailabilityEvent::NoneLeft => {
            tracing::error!(%service, servers, "no real server left for new connections")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceAddress;
    use crate::wire::Protocol;

    fn service(port: u16) -> ServiceIdentity {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() }.into()
    }

    const NONE: Availability = Availability {
        available: 0,
        weightless: 0,
        down: 0,
        without_quorum: 0,
        ejected: 0,
        unreachable: 0,
        resolving: 0,
        claiming: 0,
        overloaded: 0,
    };
    const ONE: Availability = Availability { available: 1, ..NONE };

    /// Events of each check, a second apart.
    fn events(samples: &[Availability]) -> Vec<Option<AvailabilityEvent>> {
        let (mut watch, start) = (AvailabilityWatch::default(), Instant::now());
        let check = |(second, counts): (usize, &Availability)| {
            let now = start + Duration::from_secs(second as u64);
            watch.events(&[(service(80), *counts)], now).first().map(|(_, _, event)| *event)
        };
        samples.iter().enumerate().map(check).collect()
    }

    #[test]
    fn loss_and_return_of_the_last_server_are_reported_once() {
        let reasons = [
            NONE,
            Availability { weightless: 2, ..NONE },
            Availability { unreachable: 2, ..NONE },
            Availability { down: 2, ..NONE },
            Availability { overloaded: 1, weightless: 1, ..NONE },
        ];
        for without in reasons {
            let found = events(&[ONE, without, without, ONE, ONE, without]);
            let (lost, back) = (Some(AvailabilityEvent::NoneLeft), Some(AvailabilityEvent::Back));
            assert_eq!(found, [None, lost, None, back, None, lost], "{without}");
        }
    }

    #[test]
    fn a_new_service_has_time_to_get_servers() {
        let resolving = Availability { resolving: 1, weightless: 1, ..NONE };
        assert_eq!(events(&[NONE, NONE, ONE]), [None; 3]);
        assert_eq!(events(&[NONE, NONE, NONE, NONE]), [None, None, Some(AvailabilityEvent::NoneLeft), None]);
        assert_eq!(events(&[resolving; 9]), [None; 9], "not decided yet");
        assert_eq!(events(&[ONE, resolving, ONE]), [None; 3]);
    }

    #[test]
    fn a_service_that_was_removed_is_new_when_it_comes_again() {
        let (mut watch, now) = (AvailabilityWatch::default(), Instant::now());
        assert_eq!(watch.events(&[(service(80), ONE)], now), []);
        assert_eq!(watch.events(&[], now), []);
        assert_eq!(watch.events(&[(service(80), NONE)], now), []);
        assert_eq!(watch.seen.len(), 1);
    }

    #[test]
    fn the_reasons_are_words() {
        let mixed = Availability { weightless: 1, unreachable: 2, ..NONE };
        assert_eq!(mixed.to_string(), "1 with weight 0, 2 unreachable");
        assert_eq!(NONE.to_string(), "no real servers");
    }
}
