//! A real server's MAC address: found, kept fresh, lost.

use super::turn::Turn;
use super::{Report, ServerSettings};
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use crate::wire::arp::ArpPacket;
use std::net::Ipv4Addr;

/// While the known address has spoken within this time, another one is not believed: of two hosts
/// that answer one question, the first holds (Linux: `locktime`, 1 s).
const HOLD: Span = Span::from_secs(1);

#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: ServerSettings,
    /// The last known address, also of a server that is unreachable now.
    mac: Option<MacAddr>,
    state: State,
    /// Its interface has no carrier: nothing is asked.
    held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The operator gave the address: nothing to ask.
    Fixed,
    /// Not heard yet, and asked `asked` times.
    Resolving { asked: u8, due: Tick },
    /// Heard at `heard`, and asked `asked` times since.
    Reachable { heard: Tick, asked: u8, due: Tick },
    /// Asked in vain.
    Unreachable { due: Tick },
}

impl Server {
    pub(super) fn new(settings: ServerSettings, turn: &mut Turn<'_>) -> Self {
        let held = !turn.is_up(settings.link);
        let state = match settings.mac {
            Some(mac) => {
                turn.report(Report::Resolved { link: settings.link, rip: settings.rip, mac });
                State::Fixed
            }
            None => State::Resolving { asked: 0, due: turn.now },
        };
        Self { settings, mac: settings.mac, state, held }
    }

    /// The carrier is gone: what is known stays.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// The carrier is back: the server is asked at once whether it is still there.
    pub(super) fn resume(&mut self, now: Tick) {
        self.held = false;
        self.state = match self.state {
            State::Fixed => State::Fixed,
            State::Resolving { .. } => State::Resolving { asked: 0, due: now },
            State::Reachable { heard, .. } => State::Reachable { heard, asked: 0, due: now },
            State::Unreachable { .. } => State::Unreachable { due: now },
        };
    }

    pub(super) fn mac(&self) -> Option<MacAddr> {
        self.mac
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        match self.state {
            _ if self.held => None,
            State::Fixed => None,
            State::Resolving { due, .. } | State::Reachable { due, .. } | State::Unreachable { due } => {
                Some(due)
            }
        }
    }

    /// The server has spoken with this address. True if that is news.
    pub(super) fn heard(&mut self, mac: MacAddr, turn: &mut Turn<'_>) -> bool {
        let same = self.mac == Some(mac);
        let news = match self.state {
            State::Fixed => return false,
            // Asked twice in vain, the known address holds no longer.
            State::Reachable { heard, asked: 0..2, .. } if !same && turn.now.since(heard) < HOLD => {
                return false;
            }
            State::Reachable { .. } => !same,
            State::Resolving { .. } | State::Unreachable { .. } => true,
        };
        self.mac = Some(mac);
        let due = turn.about(turn.timing().refresh, 8);
        self.state = State::Reachable { heard: turn.now, asked: 0, due };
        if news {
            turn.report(Report::Resolved { link: self.settings.link, rip: self.settings.rip, mac });
        }
        news
    }

    /// Asks, or gives up, if it is time to. `sender` is what to ask from.
    pub(super) fn run_due(&mut self, sender: Ipv4Addr, turn: &mut Turn<'_>) {
        if !self.deadline().is_some_and(|due| turn.now.reached(due)) {
            return;
        }
        let (attempts, due) = (turn.timing().attempts, turn.later(turn.timing().retry));
        self.state = match self.state {
            State::Resolving { asked, .. } if asked < attempts => {
                self.ask(None, sender, turn);
                State::Resolving { asked: asked + 1, due }
            }
            State::Reachable { heard, asked, .. } if asked < attempts => {
                // The first question goes to the known address alone; if that is gone, the
                // broadcasts that follow find the server's new one before it counts as lost.
                self.ask(self.mac.filter(|_| asked == 0), sender, turn);
                State::Reachable { heard, asked: asked + 1, due }
            }
            before => {
                if !matches!(before, State::Unreachable { .. }) {
                    turn.report(Report::Lost { link: self.settings.link, rip: self.settings.rip });
                }
                self.ask(None, sender, turn);
                State::Unreachable { due: turn.later(turn.timing().unreachable_retry) }
            }
        };
    }

    /// Sends a request to `station`, or to all.
    fn ask(&self, station: Option<MacAddr>, sender: Ipv4Addr, turn: &mut Turn<'_>) {
        let ServerSettings { link, rip, .. } = self.settings;
        let request = ArpPacket::request(turn.mac(link), sender, rip);
        turn.counters().requested.add(1);
        turn.send(link, station.map_or(request, |station| request.only_to(station)));
    }
}
