//! Log events for what the workers count and an operator has to mend.

use super::crew::Crew;
use super::registry::{Registry, ServerLink};
use crate::stats::{DropReason, WorkerCounters};
use crate::wire::MacAddr;
use std::time::{Duration, Instant};

/// Least time between two log events of one kind.
const QUIET: Duration = Duration::from_secs(60);
/// Frames without time to live, between two looks, that traceroute does not explain.
const CIRCLING: u64 = 100;

/// Totals of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    looped: u64,
    exceeded: u64,
    unfinished: u64,
    looped_from: Option<MacAddr>,
}

/// One log event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symptom {
    Looped { frames: u64, mac: Option<MacAddr> },
    Exceeded { frames: u64 },
    Unfinished,
}

/// Compares the workers' counters with those of the last look.
#[derive(Debug, Default)]
pub(super) struct Symptoms {
    seen: Totals,
    /// What `looped` was at its last log event, and when that was.
    looped: (u64, Option<Instant>),
    exceeded: Option<Instant>,
}

impl Symptoms {
    /// Writes the log events that are due.
    pub(super) fn look(&mut self, crew: &Crew, registry: &Registry, interface: &str, now: Instant) {
        let counters = crew.members().iter().map(|member| &*member.counters);
        for symptom in self.due(counters.map(Totals::of).fold(Totals::default(), Totals::plus), now) {
            log(symptom, registry, interface);
        }
    }

    fn due(&mut self, totals: Totals, now: Instant) -> Vec<Symptom> {
        let before = std::mem::replace(&mut self.seen, totals);
        let quiet = |last: Option<Instant>| last.is_none_or(|last| now.duration_since(last) >= QUIET);
        let mut due = Vec::new();
        let (told, last) = self.looped;
        if totals.looped > told && quiet(last) {
            due.push(Symptom::Looped { frames: totals.looped - told, mac: totals.looped_from });
            self.looped = (totals.looped, Some(now));
        }
        let frames = totals.exceeded - before.exceeded;
        if frames >= CIRCLING && quiet(self.exceeded) {
            due.push(Symptom::Exceeded { frames });
            self.exceeded = Some(now);
        }
        if totals.unfinished > 0 && before.unfinished == 0 {
            due.push(Symptom::Unfinished);
        }
        due
    }
}

impl Totals {
    fn of(counters: &WorkerCounters) -> Self {
        Self {
            looped: counters.drops(DropReason::Looped).get(),
            exceeded: counters.drops(DropReason::TtlExceeded).get(),
            unfinished: counters.unfinished.get(),
            looped_from: MacAddr::from_bits(counters.looped_from.get()),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            looped: self.looped + other.looped,
            exceeded: self.exceeded + other.exceeded,
            unfinished: self.unfinished + other.unfinished,
            looped_from: self.looped_from.or(other.looped_from),
        }
    }
}

fn log(symptom: Symptom, registry: &Registry, interface: &str) {
    match symptom {
        Symptom::Looped { frames, mac: Some(mac) } => {
            let servers = registry.services.iter().flat_map(|service| &service.servers);
            let mut with_it = servers.filter(|server| server.link == ServerLink::Reachable(mac));
            let rip = with_it.next().map(|server| tracing::field::display(server.config.address));
            tracing::error!(
                %interface, frames, rip, %mac,
                "frames dropped in a loop: this real server sends the service's frames back, as a director does; \
                 take it out of the service, or stop directrix or IPVS there"
            );
        }
        Symptom::Looped { frames, mac: None } => tracing::error!(
            %interface, frames,
            "frames dropped in a loop: the network returns frames that this director has sent; look for a \
             loop in the switches"
        ),
        Symptom::Exceeded { frames } => tracing::warn!(
            %interface, frames,
            "frames dropped for want of time to live: more than traceroute sends; several directors may \
             have each other as real servers: look for a real server that runs directrix or IPVS"
        ),
        Symptom::Unfinished => tracing::error!(
            %interface,
            "unfinished TCP or UDP checksums arrive, and real servers will drop the frames: the sender leaves \
             checksums to a network card that it does not have; there: ethtool -K INTERFACE tx off; or here: \
             backend = \"packet\""
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn totals(looped: u64, exceeded: u64, unfinished: u64) -> Totals {
        Totals { looped, exceeded, unfinished, looped_from: Some(MAC) }
    }

    #[test]
    fn a_loop_is_an_event_at_once_and_then_once_a_minute() {
        let (mut symptoms, start) = (Symptoms::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let looped = |frames| vec![Symptom::Looped { frames, mac: Some(MAC) }];
        assert_eq!(symptoms.due(totals(0, 0, 0), at(0)), []);
        assert_eq!(symptoms.due(totals(3, 0, 0), at(2)), looped(3));
        assert_eq!(symptoms.due(totals(900, 0, 0), at(4)), []);
        assert_eq!(symptoms.due(totals(903, 0, 0), at(61)), []);
        assert_eq!(symptoms.due(totals(903, 0, 0), at(62)), looped(900), "all since");
        assert_eq!(symptoms.due(totals(903, 0, 0), at(200)), [], "it is over");
    }

    #[test]
    fn traceroute_is_no_event_and_a_circle_is() {
        let (mut symptoms, start) = (Symptoms::default(), Instant::now());
        assert_eq!(symptoms.due(totals(0, 30, 0), start), []);
        assert_eq!(symptoms.due(totals(0, 129, 0), start), []);
        assert_eq!(symptoms.due(totals(0, 229, 0), start), [Symptom::Exceeded { frames: 100 }]);
        assert_eq!(symptoms.due(totals(0, 999, 0), start), [], "once a minute");
        assert_eq!(symptoms.due(totals(0, 1999, 0), start + QUIET), [Symptom::Exceeded { frames: 1000 }]);
    }

    #[test]
    fn unfinished_checksums_are_an_event_once() {
        let (mut symptoms, start) = (Symptoms::default(), Instant::now());
        assert_eq!(symptoms.due(totals(0, 0, 1), start), [Symptom::Unfinished]);
        assert_eq!(symptoms.due(totals(0, 0, 9), start + QUIET), []);
    }
}
