//! A real server's MAC address: found, kept fresh, verified when another one claims it, lost.
//!
//! ARP has no proof, so a claim alone changes nothing while the server is reachable. Another MAC
//! address that claims it, by whatever packet, makes the director ask by broadcast at once. The
//! known address stays for as long as it answers; the other one takes its place only if the known
//! address leaves [`VERIFY`] questions unanswered and the other one has answered.

use super::turn::Turn;
use super::{ArpReport, ArpTarget};
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use crate::wire::arp::ArpPacket;
use std::net::Ipv4Addr;

/// Questions that the known address must leave unanswered before another one replaces it.
const VERIFY: u8 = 3;
/// Claimants of one address that are told apart; the rest are forged.
const CLAIMANTS: usize = 4;
/// A claimant that has been silent for so long claims the address no more.
const QUIET: Span = Span::from_secs(30);

#[derive(Debug)]
pub(super) struct ServerMachine {
    pub(super) settings: ArpTarget,
    /// The last known address, also of a server that is unreachable now.
    mac: Option<MacAddr>,
    state: ServerState,
    /// Its interface has no carrier: nothing is asked.
    held: bool,
    /// The last question. Claims that come fast do not make the director ask as fast.
    asked_at: Option<Tick>,
    claimants: Vec<MacClaim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerState {
    /// The operator gave the address: nothing to ask.
    Fixed,
    /// Not heard yet, and asked `asked` times.
    Resolving { asked: u8, due: Tick },
    /// Heard, and asked `asked` times since.
    Reachable { asked: u8, due: Tick },
    /// Asked in vain.
    Unreachable { due: Tick },
}

/// Another MAC address that claims the real server's IP address.
#[derive(Debug)]
struct MacClaim {
    mac: MacAddr,
    /// Questions that the known address had left unanswered when this one was last heard.
    asked: u8,
    /// It has answered a question that was sent after its claim, and the known address has not.
    answered: bool,
    /// Reported, since the known address has answered, too.
    disputed: bool,
    /// When it is forgotten unless it is heard again.
    over: Tick,
}

impl ServerMachine {
    pub(super) fn new(settings: ArpTarget, turn: &mut Turn<'_>) -> Self {
        let held = !turn.is_up(settings.interface);
        let state = match settings.mac {
            Some(mac) => {
                turn.report(ArpReport::Resolved { interface: settings.interface, rip: settings.rip, mac });
                ServerState::Fixed
            }
            None => ServerState::Resolving { asked: 0, due: turn.now },
        };
        Self { settings, mac: settings.mac, state, held, asked_at: None, claimants: Vec::new() }
    }

    /// Asks from another address of the director from now on. False if more than that is different.
    pub(super) fn adopt(&mut self, settings: ArpTarget) -> bool {
        let stays = ArpTarget { own: settings.own, ..self.settings } == settings;
        if stays {
            self.settings = settings;
        }
        stays
    }

    /// The carrier is gone: what is known stays.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// The carrier is back: the server is asked at once whether it is still there.
    pub(super) fn resume(&mut self, now: Tick) {
        self.held = false;
        self.state = match self.state {
            ServerState::Fixed => ServerState::Fixed,
            ServerState::Resolving { .. } => ServerState::Resolving { asked: 0, due: now },
            ServerState::Reachable { .. } => ServerState::Reachable { asked: 0, due: now },
            ServerState::Unreachable { .. } => ServerState::Unreachable { due: now },
        };
    }

    pub(super) fn mac(&self) -> Option<MacAddr> {
        self.mac
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let claims = self.claimants.iter().map(|claimant| claimant.over);
        self.due().into_iter().chain(claims).reduce(Tick::earlier)
    }

    /// When there is something to ask, or to decide for want of an answer.
    fn due(&self) -> Option<Tick> {
        self.state.due().filter(|_| !self.held)
    }

    /// Takes note that `mac` has spoken as the server. True if that changes the server's address,
    /// or makes it reachable.
    pub(super) fn heard(&mut self, mac: MacAddr, turn: &mut Turn<'_>) -> bool {
        match self.state {
            ServerState::Fixed => false,
            ServerState::Reachable { asked, due } if self.mac != Some(mac) => {
                self.claimed(mac, asked, turn);
                self.state = ServerState::Reachable { asked, due: self.sooner(asked, due, turn) };
                false
            }
            ServerState::Reachable { .. } => {
                self.confirmed(turn);
                false
            }
            ServerState::Resolving { .. } | ServerState::Unreachable { .. } => {
                self.settle_on(mac, turn);
                true
            }
        }
    }

    /// Asks, decides or gives up, if it is time to. `sender` is the address to ask from. True if
    /// the server's address has changed.
    pub(super) fn run_due(&mut self, sender: Ipv4Addr, turn: &mut Turn<'_>) -> bool {
        self.forget_quiet_claimants(turn);
        if !self.due().is_some_and(|due| turn.now.reached(due)) {
            return false;
        }
        let due = turn.later(turn.timing().retry);
        match self.state {
            ServerState::Resolving { asked, .. } if asked < turn.timing().attempts => {
                self.ask(None, sender, turn);
                self.state = ServerState::Resolving { asked: asked + 1, due };
            }
            ServerState::Reachable { asked, .. } if asked < self.attempts(asked, turn) => {
                // The first question goes to the known address alone, unless there is another
                // claimant; the broadcasts that follow find a server that has a new address.
                let known = self.mac.filter(|_| asked == 0 && self.claimants.is_empty());
                self.ask(known, sender, turn);
                self.state = ServerState::Reachable { asked: asked + 1, due };
            }
            ServerState::Reachable { .. } => {
                let answered = self.claimants.iter().filter(|claimant| claimant.answered);
                let successor = answered.max_by_key(|claimant| claimant.asked);
                if let Some(mac) = successor.map(|claimant| claimant.mac) {
                    self.settle_on(mac, turn);
                    return true;
                }
                self.lost(sender, turn);
            }
            ServerState::Fixed | ServerState::Resolving { .. } | ServerState::Unreachable { .. } => {
                self.lost(sender, turn)
            }
        }
        false
    }

    /// Questions that may go unanswered before the address is given up. A claimant that has not
    /// been asked since its claim gets its question.
    fn attempts(&self, asked: u8, turn: &Turn<'_>) -> u8 {
        if self.claimants.iter().any(|claimant| claimant.answered) {
            VERIFY
        } else if asked > 0 && self.claimants.iter().any(|claimant| claimant.asked == asked) {
            turn.timing().attempts.max(asked.saturating_add(1))
        } else {
            turn.timing().attempts
        }
    }

    /// The known address has spoken: whoever else claims it disputes it.
    fn confirmed(&mut self, turn: &mut Turn<'_>) {
        let (interface, rip, mac) =
            (self.settings.interface, self.settings.rip, self.mac.unwrap_or_default());
        for claimant in &mut self.claimants {
            if !std::mem::replace(&mut claimant.disputed, true) {
                turn.report(ArpReport::Disputed { interface, rip, mac, claimant: claimant.mac });
            }
            (claimant.asked, claimant.answered) = (0, false);
        }
        self.state = ServerState::Reachable { asked: 0, due: turn.refresh() };
    }

    /// Another MAC address claims to be the server.
    fn claimed(&mut self, mac: MacAddr, asked: u8, turn: &mut Turn<'_>) {
        turn.counters().disputed.add(1);
        let over = turn.later(QUIET);
        if let Some(known) = self.claimants.iter_mut().find(|claimant| claimant.mac == mac) {
            known.answered |= asked > known.asked;
            (known.asked, known.over) = (asked, over);
        } else if self.claimants.len() < CLAIMANTS {
            self.claimants.push(MacClaim { mac, asked, answered: false, disputed: false, over });
        }
    }

    /// When to ask next, since there is a claimant: now, or when the last question is old enough.
    fn sooner(&self, asked: u8, due: Tick, turn: &Turn<'_>) -> Tick {
        if asked > 0 {
            return due; // questions are on their way
        }
        let earliest = self.asked_at.map_or(turn.now, |asked| asked.after(turn.timing().retry));
        Tick::earlier(due, Tick::later(earliest, turn.now))
    }

    /// From now on the server is at `mac`.
    fn settle_on(&mut self, mac: MacAddr, turn: &mut Turn<'_>) {
        let ArpTarget { interface, rip, .. } = self.settings;
        let report = match self.mac.replace(mac).filter(|old| *old != mac) {
            Some(old) => ArpReport::Moved { interface, rip, old, new: mac },
            None => ArpReport::Resolved { interface, rip, mac },
        };
        turn.report(report);
        self.claimants.retain(|claimant| claimant.mac != mac);
        for claimant in &mut self.claimants {
            (claimant.asked, claimant.answered) = (0, false);
        }
        self.state = ServerState::Reachable { asked: 0, due: turn.refresh() };
    }

    fn lost(&mut self, sender: Ipv4Addr, turn: &mut Turn<'_>) {
        if !matches!(self.state, ServerState::Unreachable { .. }) {
            turn.report(ArpReport::Lost { interface: self.settings.interface, rip: self.settings.rip });
        }
        self.ask(None, sender, turn);
        self.state = ServerState::Unreachable { due: turn.later(turn.timing().unreachable_retry) };
    }

    fn forget_quiet_claimants(&mut self, turn: &mut Turn<'_>) {
        let (now, ArpTarget { interface, rip, .. }) = (turn.now, self.settings);
        for claimant in self.claimants.extract_if(.., |claimant| now.reached(claimant.over)) {
            if claimant.disputed {
                turn.report(ArpReport::DisputeOver { interface, rip, claimant: claimant.mac });
            }
        }
    }

    /// Sends a request to `station`, or to all.
    fn ask(&mut self, station: Option<MacAddr>, sender: Ipv4Addr, turn: &mut Turn<'_>) {
        let ArpTarget { interface, rip, .. } = self.settings;
        let request = ArpPacket::request(turn.mac(interface), sender, rip);
        turn.counters().requested.add(1);
        turn.send(interface, station.map_or(request, |station| request.only_to(station)));
        self.asked_at = Some(turn.now);
    }
}

impl ServerState {
    fn due(self) -> Option<Tick> {
        match self {
            Self::Fixed => None,
            Self::Resolving { due, .. } | Self::Reachable { due, .. } | Self::Unreachable { due } => {
                Some(due)
            }
        }
    }
}
