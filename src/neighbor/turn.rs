//! Context of one call of the machine: time, shared state, and the list of actions.

use super::{NeighborAction, NeighborCounters, NeighborReport, Outgoing, Timing};
use crate::model::{InterfaceIndex, OnConflict, Role};
use crate::random::SplitMix64;
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use crate::wire::ndp::Nonce;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// State that VIPs and real servers share.
#[derive(Debug)]
pub(super) struct MachineState {
    pub(super) own_macs: Vec<MacAddr>,
    /// Link-local addresses, by interface.
    pub(super) link_locals: Vec<Option<Ipv6Addr>>,
    /// Interfaces without carrier.
    pub(super) down: BTreeSet<InterfaceIndex>,
    pub(super) on_conflict: OnConflict,
    pub(super) role: Role,
    pub(super) timing: Timing,
    pub(super) random: SplitMix64,
    /// Number of real servers.
    pub(super) servers: usize,
    pub(super) counters: Arc<NeighborCounters>,
}

pub(super) struct Turn<'a> {
    pub(super) common: &'a mut MachineState,
    pub(super) now: Tick,
    pub(super) actions: &'a mut Vec<NeighborAction>,
}

impl Turn<'_> {
    pub(super) fn timing(&self) -> Timing {
        self.common.timing
    }

    pub(super) fn counters(&self) -> &NeighborCounters {
        &self.common.counters
    }

    /// The director's own MAC address on `interface`.
    pub(super) fn mac(&self, interface: InterfaceIndex) -> MacAddr {
        self.common.own_macs[usize::from(interface.0)]
    }

    /// The director's link-local address on `interface`, if it has one.
    pub(super) fn link_local(&self, interface: InterfaceIndex) -> Option<IpAddr> {
        self.common.link_locals[usize::from(interface.0)].map(IpAddr::V6)
    }

    pub(super) fn is_up(&self, interface: InterfaceIndex) -> bool {
        !self.common.down.contains(&interface)
    }

    /// Draws a span between `least` and `most`, both included; `least` if the range is empty.
    pub(super) fn random(&mut self, least: Span, most: Span) -> Span {
        between(&mut self.common.random, least, most)
    }

    /// Draws a nonce.
    pub(super) fn nonce(&mut self) -> Nonce {
        let [a, b, c, d, e, f, ..] = self.common.random.next().to_be_bytes();
        Nonce([a, b, c, d, e, f])
    }

    /// `span` from now, plus a random part of it up to one `part`th.
    pub(super) fn about(&mut self, span: Span, part: u32) -> Tick {
        let more = self.random(Span::default(), Span::from_millis(span.millis() / part));
        self.later(Span::from_millis(span.millis() + more.millis()))
    }

    /// `span` from now, at least 1 ms: a deadline set during a call is never due in the same call.
    pub(super) fn later(&self, span: Span) -> Tick {
        self.now.after(span.max(Span::from_millis(1)))
    }

    /// Time of the next solicitation of a reachable real server.
    pub(super) fn refresh(&mut self) -> Tick {
        let spread = Span::from_millis(u32::try_from(self.common.servers).unwrap_or(u32::MAX));
        self.about(self.timing().refresh.max(spread), 8)
    }

    pub(super) fn send(&mut self, interface: InterfaceIndex, message: Outgoing) {
        self.actions.push(NeighborAction::Send { interface, message });
    }

    pub(super) fn report(&mut self, report: NeighborReport) {
        self.actions.push(NeighborAction::Report(report));
    }
}

fn between(random: &mut SplitMix64, least: Span, most: Span) -> Span {
    let width = u64::from(most.millis().saturating_sub(least.millis())) + 1;
    // The bias of a remainder of 64 random bits by at most 31 is below one in a billion.
    Span::from_millis(least.millis() + (random.next() % width) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_fill_their_range_and_depend_on_the_seed() {
        let (least, most) = (Span::from_millis(3), Span::from_millis(7));
        let draw = |seed| {
            let mut random = SplitMix64::new(seed);
            (0..200).map(|_| between(&mut random, least, most).millis()).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        assert!((3..=7).all(|ms| drawn.contains(&ms)));
        assert!(drawn.iter().all(|ms| (3..=7).contains(ms)));
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
    }

    #[test]
    fn an_empty_range_gives_its_lower_end() {
        let mut random = SplitMix64::new(9);
        let five = Span::from_millis(5);
        assert_eq!(between(&mut random, five, five), five);
        assert_eq!(between(&mut random, five, Span::from_millis(1)), five);
        assert!(between(&mut random, Span::default(), Span::MAX) <= Span::MAX);
    }
}
