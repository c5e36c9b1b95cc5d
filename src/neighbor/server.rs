//! State machine of a real server's MAC address: resolve, refresh, verify claims, lose.
//!
//! A message proves nothing, so a claim alone changes nothing while the server is reachable. A claim by another MAC
//! address, in any message, triggers a solicitation to all. The known address stays while it answers. The
//! other one replaces it only after the known address has left [`VERIFY`] requests unanswered and the other
//! one has answered.

use super::turn::Turn;
use super::{NeighborReport, NeighborTarget, Outgoing};
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use std::net::IpAddr;

/// Requests that the known address leaves unanswered before another one replaces it.
const VERIFY: u8 = 3;
/// Most tracked claims; more of them are forged.
const CLAIMS_MAX: usize = 4;
/// A claim expires after this time of silence.
const QUIET: Span = Span::from_secs(30);

#[derive(Debug)]
pub(super) struct ServerMachine {
    pub(super) settings: NeighborTarget,
    /// Last known address, also of an unreachable server.
    mac: Option<MacAddr>,
    state: ServerState,
    /// The interface has no carrier: no requests.
    suspended: bool,
    /// Time of the last request: limits the rate of requests that claims trigger.
    requested_at: Option<Tick>,
    claims: Vec<MacClaim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerState {
    /// Configured by the operator: no requests.
    Fixed,
    /// Not yet resolved, after `sent` requests.
    Resolving { sent: u8, due: Tick },
    /// Resolved, with `unanswered` requests since the last reply.
    Reachable { unanswered: u8, due: Tick },
    /// All requests are unanswered.
    Unreachable { due: Tick },
}

/// Claim of the real server's IP address by another MAC address.
#[derive(Debug)]
struct MacClaim {
    mac: MacAddr,
    /// Requests that the known address had left unanswered at the time of the last claim.
    unanswered: u8,
    /// It has answered a request sent after its claim, and the known address has not.
    answered: bool,
    /// Reported: the known address has answered, too.
    disputed: bool,
    /// Time at which the claim expires unless it is repeated.
    expires: Tick,
}

impl ServerMachine {
    pub(super) fn new(settings: NeighborTarget, turn: &mut Turn<'_>) -> Self {
        let suspended = !turn.is_up(settings.interface);
        let state = match settings.mac {
            Some(mac) => {
                turn.report(NeighborReport::Resolved {
                    interface: settings.interface,
                    rip: settings.rip,
                    mac,
                });
                ServerState::Fixed
            }
            None => ServerState::Resolving { sent: 0, due: turn.now },
        };
        Self { settings, mac: settings.mac, state, suspended, requested_at: None, claims: Vec::new() }
    }

    /// Sets the sender address of requests. False if the settings differ in more than that.
    pub(super) fn adopt(&mut self, settings: NeighborTarget) -> bool {
        let stays = NeighborTarget { own: settings.own, ..self.settings } == settings;
        if stays {
            self.settings = settings;
        }
        stays
    }

    /// Handles the loss of the carrier: the state stays.
    pub(super) fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Handles the return of the carrier: the server is requested at once.
    pub(super) fn resume(&mut self, now: Tick) {
        self.suspended = false;
        self.state = match self.state {
            ServerState::Fixed => ServerState::Fixed,
            ServerState::Resolving { .. } => ServerState::Resolving { sent: 0, due: now },
            ServerState::Reachable { .. } => ServerState::Reachable { unanswered: 0, due: now },
            ServerState::Unreachable { .. } => ServerState::Unreachable { due: now },
        };
    }

    /// Requests an IPv6 server without a known address at once: there is a sender address now.
    pub(super) fn ask_at_once(&mut self, now: Tick) {
        if !self.settings.rip.is_ipv6() {
            return;
        }
        match &mut self.state {
            ServerState::Resolving { sent, due } => (*sent, *due) = (0, now),
            ServerState::Unreachable { due } => *due = now,
            ServerState::Fixed | ServerState::Reachable { .. } => {}
        }
    }

    pub(super) fn mac(&self) -> Option<MacAddr> {
        self.mac
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let claims = self.claims.iter().map(|claim| claim.expires);
        self.due().into_iter().chain(claims).reduce(Tick::earlier)
    }

    /// Time of the next request, or of giving up.
    fn due(&self) -> Option<Tick> {
        self.state.due().filter(|_| !self.suspended)
    }

    /// Handles a message of the server's IP address from `mac`. One that does not override a known address raises
    /// doubt about it, and no more (RFC 4861 §7.2.5). True if the server has become reachable or
    /// its address has changed.
    pub(super) fn observe(&mut self, mac: MacAddr, overrides: bool, turn: &mut Turn<'_>) -> bool {
        match self.state {
            ServerState::Fixed => false,
            ServerState::Reachable { unanswered, due } if self.mac != Some(mac) => {
                if overrides {
                    self.claimed(mac, unanswered, turn);
                }
                self.state = ServerState::Reachable { unanswered, due: self.sooner(unanswered, due, turn) };
                false
            }
            ServerState::Reachable { .. } => {
                self.confirmed(turn);
                false
            }
            ServerState::Resolving { .. } | ServerState::Unreachable { .. } => {
                self.set_mac(mac, turn);
                true
            }
        }
    }

    /// Sends a request, or concludes from the missing replies, if due. `sender` is the sender address, if any. True
    /// if the server's address has changed.
    pub(super) fn run_due(&mut self, sender: Option<IpAddr>, turn: &mut Turn<'_>) -> bool {
        self.expire_claims(turn);
        if !self.due().is_some_and(|due| turn.now.reached(due)) {
            return false;
        }
        let due = turn.later(turn.timing().retry);
        match self.state {
            ServerState::Resolving { sent, .. } if sent < turn.timing().attempts => {
                self.request(None, sender, turn);
                self.state = ServerState::Resolving { sent: sent + 1, due };
            }
            ServerState::Reachable { unanswered, .. } if unanswered < self.attempts(unanswered, turn) => {
                // The first request goes to the known address only, unless there is a claim. The broadcasts
                // that follow find a server with a new address.
                let known = self.mac.filter(|_| unanswered == 0 && self.claims.is_empty());
                self.request(known, sender, turn);
                self.state = ServerState::Reachable { unanswered: unanswered + 1, due };
            }
            ServerState::Reachable { .. } => {
                let answered = self.claims.iter().filter(|claim| claim.answered);
                let successor = answered.max_by_key(|claim| claim.unanswered);
                if let Some(mac) = successor.map(|claim| claim.mac) {
                    self.set_mac(mac, turn);
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

    /// Requests that may stay unanswered before the address is given up. A claim without a request since
    /// gets one.
    fn attempts(&self, unanswered: u8, turn: &Turn<'_>) -> u8 {
        if self.claims.iter().any(|claim| claim.answered) {
            VERIFY
        } else if unanswered > 0 && self.claims.iter().any(|claim| claim.unanswered == unanswered) {
            turn.timing().attempts.max(unanswered.saturating_add(1))
        } else {
            turn.timing().attempts
        }
    }

    /// Handles a message of the known address: all claims are disputed.
    fn confirmed(&mut self, turn: &mut Turn<'_>) {
        let (interface, rip, mac) =
            (self.settings.interface, self.settings.rip, self.mac.unwrap_or_default());
        for claim in &mut self.claims {
            if !std::mem::replace(&mut claim.disputed, true) {
                turn.report(NeighborReport::Disputed { interface, rip, mac, claimant: claim.mac });
            }
            (claim.unanswered, claim.answered) = (0, false);
        }
        self.state = ServerState::Reachable { unanswered: 0, due: turn.refresh() };
    }

    /// Records a claim by another MAC address.
    fn claimed(&mut self, mac: MacAddr, unanswered: u8, turn: &mut Turn<'_>) {
        turn.counters().disputed.add(1);
        let expires = turn.later(QUIET);
        if let Some(known) = self.claims.iter_mut().find(|claim| claim.mac == mac) {
            known.answered |= unanswered > known.unanswered;
            (known.unanswered, known.expires) = (unanswered, expires);
        } else if self.claims.len() < CLAIMS_MAX {
            self.claims.push(MacClaim { mac, unanswered, answered: false, disputed: false, expires });
        }
    }

    /// Time of the next request after a claim: now, or when the last request is old enough.
    fn sooner(&self, unanswered: u8, due: Tick, turn: &Turn<'_>) -> Tick {
        if unanswered > 0 {
            return due; // requests are pending
        }
        let earliest = self.requested_at.map_or(turn.now, |at| at.after(turn.timing().retry));
        Tick::earlier(due, Tick::later(earliest, turn.now))
    }

    /// Sets the server's address to `mac`, and reports it.
    fn set_mac(&mut self, mac: MacAddr, turn: &mut Turn<'_>) {
        let NeighborTarget { interface, rip, .. } = self.settings;
        let report = match self.mac.replace(mac).filter(|old| *old != mac) {
            Some(old) => NeighborReport::Moved { interface, rip, old, new: mac },
            None => NeighborReport::Resolved { interface, rip, mac },
        };
        turn.report(report);
        self.claims.retain(|claim| claim.mac != mac);
        for claim in &mut self.claims {
            (claim.unanswered, claim.answered) = (0, false);
        }
        self.state = ServerState::Reachable { unanswered: 0, due: turn.refresh() };
    }

    fn lost(&mut self, sender: Option<IpAddr>, turn: &mut Turn<'_>) {
        if !matches!(self.state, ServerState::Unreachable { .. }) {
            turn.report(NeighborReport::Lost { interface: self.settings.interface, rip: self.settings.rip });
        }
        self.request(None, sender, turn);
        self.state = ServerState::Unreachable { due: turn.later(turn.timing().unreachable_retry) };
    }

    fn expire_claims(&mut self, turn: &mut Turn<'_>) {
        let (now, NeighborTarget { interface, rip, .. }) = (turn.now, self.settings);
        for claim in self.claims.extract_if(.., |claim| now.reached(claim.expires)) {
            if claim.disputed {
                turn.report(NeighborReport::DisputeOver { interface, rip, claimant: claim.mac });
            }
        }
    }

    /// Sends a request to `station`, or to all stations.
    fn request(&mut self, station: Option<MacAddr>, sender: Option<IpAddr>, turn: &mut Turn<'_>) {
        let NeighborTarget { interface, rip: address, .. } = self.settings;
        self.requested_at = Some(turn.now);
        if address.is_ipv6() && sender.is_none() {
            return; // a solicitation from :: is a probe
        }
        turn.counters().requested.add(1);
        turn.send(interface, Outgoing::Solicit { address, sender, station });
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
