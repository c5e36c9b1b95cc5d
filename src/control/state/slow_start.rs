//! Slow start: a server that joins its service receives a growing share of its weight.
//!
//! This module decides when a server has joined and which share of its weight counts; the pool schedules by that share
//! of the weight ([`Candidate::part`]).
//!
//! wlc also counts closed connections, for two minutes as a rule. A new server has none, and would therefore receive
//! every connection once its whole weight counts. So under wlc it keeps its share, by then the whole one, until it has
//! as many closed connections per weight as the others.

mod service;

use crate::schedule::Candidate;
use std::time::{Duration, Instant};

/// Servers that join within this time of each other are equally new; a shorter silence is no absence.
///
/// Twice the interval of requests to a server that does not answer.
const JOIN_WINDOW: Duration = Duration::from_secs(10);
/// Number of steps; a server begins with one part in so many of its weight.
const STEPS: u32 = 20;
/// Shortest step: each one makes a new pool.
const STEP_MIN: Duration = Duration::from_secs(1);
const WHOLE: u16 = Candidate::WHOLE;

/// The slow start of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::control) struct ServerSlowStart {
    presence: Presence,
    /// Time of joining, if the service had others by then, until it counts like them.
    since: Option<Instant>,
    /// Share of its weight in the latest snapshot, of [`WHOLE`], during the slow start.
    part: Option<u16>,
}

/// Whether a server takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It does not; since this time, if only because it is unreachable.
    Away(Option<Instant>),
    Present,
}

/// The slow starts of a service.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::control) struct ServiceSlowStart {
    /// Time since which it has always had a server that takes connections.
    served_since: Option<Instant>,
    /// Time of the next step.
    next_step: Option<Instant>,
}

/// A server's eligibility for new connections.
#[derive(Clone, Copy)]
struct Eligibility {
    has_weight: bool,
    /// By ARP or neighbor discovery, and by its health checks.
    is_reachable: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self::Away(None)
    }
}

impl ServerSlowStart {
    /// Returns the share of the weight, of [`WHOLE`], while the slow start or its wlc phase lasts.
    pub(in crate::control) fn part(&self) -> Option<u16> {
        self.part
    }

    /// Returns the share of the weight in percent, while it grows.
    pub(in crate::control) fn percent(&self) -> Option<u8> {
        self.part.filter(|part| *part < WHOLE).map(|part| (part / (WHOLE / 100)) as u8)
    }

    /// Updates the presence. `has_peers`: other servers have taken connections for longer than the join window.
    fn update_presence(&mut self, eligibility: Eligibility, has_peers: bool, now: Instant) {
        let Eligibility { has_weight, is_reachable } = eligibility;
        self.presence = match self.presence {
            _ if !has_weight => Presence::Away(None),
            Presence::Present if !is_reachable => Presence::Away(Some(now)),
            away if !is_reachable => away,
            Presence::Present => return,
            Presence::Away(since) => {
                if since.is_none_or(|since| now.duration_since(since) >= JOIN_WINDOW) {
                    self.since = has_peers.then_some(now);
                }
                Presence::Present
            }
        };
    }

    /// Returns the time of joining of a present server in slow start.
    fn joined(&self) -> Option<Instant> {
        self.since.filter(|_| self.presence == Presence::Present)
    }
}

impl ServiceSlowStart {
    /// Returns the time of the next step.
    pub(in crate::control) fn next_step(&self) -> Option<Instant> {
        self.next_step
    }
}

fn step(duration: Duration) -> Duration {
    (duration / STEPS).max(STEP_MIN)
}

/// Returns the share of a weight, of [`WHOLE`], at a time after joining. It grows in steps to the whole.
fn part(elapsed: Duration, duration: Duration) -> u16 {
    if elapsed >= duration {
        return WHOLE;
    }
    let step = step(duration).as_millis();
    let grown = elapsed.as_millis() / step * step * u128::from(WHOLE) / duration.as_millis();
    grown.clamp((u32::from(WHOLE) / STEPS).into(), WHOLE.into()) as u16
}

/// Returns the time of the first step after `now`, or of the end if that is earlier.
fn next_step(since: Instant, duration: Duration, now: Instant) -> Instant {
    let (elapsed, step) = (now.duration_since(since), step(duration));
    let next = step * (elapsed.as_millis() / step.as_millis() + 1) as u32;
    since + if elapsed < duration { next.min(duration) } else { next }
}

#[cfg(test)]
mod tests;
