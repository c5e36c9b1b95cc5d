//! The slow starts of a service's servers, advanced at each snapshot.

use super::{Eligibility, JOIN_WINDOW, Presence, WHOLE, next_step, part};
use crate::control::state::entry::{ServerEntry, ServiceEntry};
use crate::model::Scheduler;
use crate::schedule::Loads;
use std::time::{Duration, Instant};

/// Closed connections of servers, with the weight that they belong to.
#[derive(Clone, Copy)]
struct ClosedConnections {
    count: u64,
    weight: u64,
}

impl ClosedConnections {
    fn of(server: &ServerEntry, loads: &Loads) -> Self {
        let (count, weight) = (loads.get(server.id).inactive, server.weight());
        Self { count: count.into(), weight: weight.into() }
    }

    /// Returns true if these are at least as many per weight as the others.
    fn reaches(self, others: Self) -> bool {
        self.count * others.weight >= others.count * self.weight
    }
}

impl ServiceEntry {
    /// Updates the shares of all weights for `now`. `remembered` is the time that wlc counts a closed connection.
    pub(in crate::control) fn advance_slow_start(
        &mut self,
        loads: &Loads,
        now: Instant,
        remembered: Duration,
    ) {
        self.update_presences(now);
        let duration = self.slow_start_duration();
        for server in &mut self.servers {
            let joined = server.slow_start.joined().zip(duration);
            server.slow_start.part =
                joined.map(|(since, duration)| part(now.duration_since(since), duration));
        }
        self.finish_slow_starts(loads, now, remembered);
        let starting = self.servers.iter().filter(|server| server.slow_start.part.is_some());
        let joined = starting.filter_map(|server| server.slow_start.joined().zip(duration));
        self.slow_start.next_step = joined.map(|(since, duration)| next_step(since, duration, now)).min();
    }

    fn update_presences(&mut self, now: Instant) {
        let duration = self.slow_start_duration();
        let window = duration.map_or(JOIN_WINDOW, |duration| duration.min(JOIN_WINDOW));
        let has_peers = self.slow_start.served_since.is_some_and(|since| now.duration_since(since) >= window);
        for server in &mut self.servers {
            // The sorry server has no peers: it comes at once, and makes none.
            let has_weight = server.weight() > 0 && !server.is_sorry();
            let eligibility =
                Eligibility { has_weight, is_reachable: server.is_available() && !server.is_out() };
            server.slow_start.update_presence(eligibility, has_peers, now);
            // A server that joined without a slow start has none when one is configured later.
            server.slow_start.since = server.slow_start.since.filter(|_| duration.is_some());
        }
        let any = self.servers.iter().any(|server| server.slow_start.presence == Presence::Present);
        self.slow_start.served_since = any.then_some(self.slow_start.served_since.unwrap_or(now));
    }

    /// Ends the slow start of each server that counts like the others from now on.
    fn finish_slow_starts(&mut self, loads: &Loads, now: Instant, remembered: Duration) {
        let Some(duration) = self.slow_start_duration() else { return };
        let others = self.closed_of_settled(loads);
        let is_wlc = self.config.scheduler == Scheduler::Wlc;
        for server in &mut self.servers {
            let own = ClosedConnections::of(server, loads);
            let state = &mut server.slow_start;
            let is_forgotten = state.since.is_some_and(|since| now - since >= duration + remembered);
            let is_level = !is_wlc || own.reaches(others);
            if is_forgotten || state.part == Some(WHOLE) && is_level {
                (state.since, state.part) = (None, None);
            }
        }
    }

    /// Sums the closed connections of the present servers that are not in slow start.
    fn closed_of_settled(&self, loads: &Loads) -> ClosedConnections {
        let settled = self.servers.iter().filter(|server| server.slow_start.part.is_none());
        let present = settled.filter(|server| server.slow_start.presence == Presence::Present);
        let zero = ClosedConnections { count: 0, weight: 0 };
        present.map(|server| ClosedConnections::of(server, loads)).fold(zero, |sum, one| ClosedConnections {
            count: sum.count + one.count,
            weight: sum.weight + one.weight,
        })
    }

    fn slow_start_duration(&self) -> Option<Duration> {
        self.config.slow_start.map(|span| Duration::from_millis(span.millis().into()))
    }
}
