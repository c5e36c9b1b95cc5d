//! Slow start: a server that comes counts with a small part of its weight at first, which grows.
//!
//! When a server has come, and what of its weight counts when: the rest is the pool's
//! ([`Candidate::part`]), which gives it that share of the new connections.
//!
//! wlc also counts connections that are over, for two minutes as a rule. Of these a new server has
//! none, and for that alone would get everything once its whole weight counts. So under wlc it goes on
//! getting its share, the whole one then, until it has as many of them as the others.

use crate::control::state::entry::{ServerEntry, ServiceEntry};
use crate::model::Scheduler;
use crate::schedule::{Candidate, Loads};
use std::time::{Duration, Instant};

/// Servers that come within so long of each other are equally new, and one that ARP has missed
/// for less was not away: twice the time between two requests to a server that does not answer.
const MOMENT: Duration = Duration::from_secs(10);
/// Steps of a ramp, and with what part of its weight a server begins.
const STEPS: u32 = 20;
/// Steps are at least so long: pools are made anew for each.
const STEP_MIN: Duration = Duration::from_secs(1);
const WHOLE: u16 = Candidate::WHOLE;

/// How new a server is among those of its service.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::control) struct ServerSlowStart {
    presence: Presence,
    /// When it came, if the service had others by then, and it does not yet count like them.
    since: Option<Instant>,
    /// While it ramps: what counts of its weight in the latest snapshot, of [`WHOLE`].
    part: Option<u16>,
}

/// Whether a server takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// No. If only because it does not answer ARP any more: since then.
    Away(Option<Instant>),
    Here,
}

/// When the servers of a service came.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::control) struct ServiceSlowStart {
    /// From then on there was always one that takes connections.
    begun: Option<Instant>,
    /// When parts of weights become others.
    next: Option<Instant>,
}

impl Default for Presence {
    fn default() -> Self {
        Self::Away(None)
    }
}

impl ServerSlowStart {
    /// What counts of the weight, of [`WHOLE`], while that is a matter of time or of the past.
    pub(in crate::control) fn part(&self) -> Option<u16> {
        self.part
    }

    /// While it grows: what counts of the weight, in percent.
    pub(in crate::control) fn percent(&self) -> Option<u8> {
        self.part.filter(|part| *part < WHOLE).map(|part| (part / (WHOLE / 100)) as u8)
    }

    /// Takes note of how the server stands; `others` have taken connections for more than a moment.
    fn note(&mut self, (has_weight, reachable): (bool, bool), others: bool, now: Instant) {
        self.presence = match self.presence {
            _ if !has_weight => Presence::Away(None),
            Presence::Here if !reachable => Presence::Away(Some(now)),
            away if !reachable => away,
            Presence::Here => return,
            Presence::Away(since) => {
                if since.is_none_or(|since| now.duration_since(since) >= MOMENT) {
                    self.since = others.then_some(now);
                }
                Presence::Here
            }
        };
    }

    /// When it came, if it takes connections and ramps.
    fn begun(&self) -> Option<Instant> {
        self.since.filter(|_| self.presence == Presence::Here)
    }
}

impl ServiceEntry {
    /// When [`ServiceEntry::ramp`] is due again, if nothing else happens before.
    pub(in crate::control) fn next_step(&self) -> Option<Instant> {
        self.beginning.next
    }

    /// Makes the parts of weights those of `now`. A connection that is over is remembered for so long.
    pub(in crate::control) fn ramp(&mut self, loads: &Loads, now: Instant, remembered: Duration) {
        self.note(now);
        let slow_start = self.slow_start();
        for server in &mut self.servers {
            let begun = server.ramp.begun().zip(slow_start);
            server.ramp.part = begun.map(|(since, duration)| part(now.duration_since(since), duration));
        }
        self.finish(loads, now, remembered);
        let ramping = self.servers.iter().filter(|server| server.ramp.part.is_some());
        let begun = ramping.filter_map(|server| server.ramp.begun().zip(slow_start));
        self.beginning.next = begun.map(|(since, duration)| next_step(since, duration, now)).min();
    }

    /// Takes note of who has come and gone.
    fn note(&mut self, now: Instant) {
        let slow_start = self.slow_start();
        let moment = slow_start.map_or(MOMENT, |duration| duration.min(MOMENT));
        let others = self.beginning.begun.is_some_and(|begun| now.duration_since(begun) >= moment);
        for server in &mut self.servers {
            let available = server.is_available();
            server.ramp.note((server.config.weight.0 > 0, available), others, now);
            // Who is there without a slow start does not ramp when there is one later.
            server.ramp.since = server.ramp.since.filter(|_| slow_start.is_some());
        }
        let any = self.servers.iter().any(|server| server.ramp.presence == Presence::Here);
        self.beginning.begun = any.then_some(self.beginning.begun.unwrap_or(now));
    }

    /// Ends the ramps of those that count like the others from now on.
    fn finish(&mut self, loads: &Loads, now: Instant, remembered: Duration) {
        let Some(slow_start) = self.slow_start() else { return };
        let settled = self.servers.iter().filter(|server| server.ramp.part.is_none());
        let here = settled.filter(|server| server.ramp.presence == Presence::Here);
        let past = |server: &ServerEntry| {
            (u64::from(loads.get(server.id).inactive), u64::from(server.config.weight.0))
        };
        let (theirs, weight) = here.map(past).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let goes_by_the_past = self.config.scheduler == Scheduler::Wlc;
        for server in &mut self.servers {
            let its = past(server);
            let ramp = &mut server.ramp;
            let forgotten = ramp.since.is_some_and(|since| now - since >= slow_start + remembered);
            let level = !goes_by_the_past || its.0 * weight >= theirs * its.1;
            if forgotten || ramp.part == Some(WHOLE) && level {
                (ramp.since, ramp.part) = (None, None);
            }
        }
    }

    fn slow_start(&self) -> Option<Duration> {
        self.config.slow_start.map(|span| Duration::from_millis(span.millis().into()))
    }
}

fn step(duration: Duration) -> Duration {
    (duration / STEPS).max(STEP_MIN)
}

/// What counts of a weight, of [`WHOLE`], so long after its server came. It grows in steps, and is whole
/// when the time is over.
fn part(elapsed: Duration, duration: Duration) -> u16 {
    if elapsed >= duration {
        return WHOLE;
    }
    let step = step(duration).as_millis();
    let grown = elapsed.as_millis() / step * step * u128::from(WHOLE) / duration.as_millis();
    grown.clamp((u32::from(WHOLE) / STEPS).into(), WHOLE.into()) as u16
}

/// When the first step after `now` begins, or the ramp is over, if that is earlier.
fn next_step(since: Instant, duration: Duration, now: Instant) -> Instant {
    let (elapsed, step) = (now.duration_since(since), step(duration));
    let next = step * (elapsed.as_millis() / step.as_millis() + 1) as u32;
    since + if elapsed < duration { next.min(duration) } else { next }
}

#[cfg(test)]
mod tests;
