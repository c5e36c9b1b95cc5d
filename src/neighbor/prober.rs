//! Probes for a VIP: whether another station uses it.

use super::turn::Turn;
use super::{Content, NeighborMessage, Outgoing};
use crate::model::InterfaceIndex;
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use crate::wire::ndp::Nonce;
use std::collections::VecDeque;
use std::net::IpAddr;

/// Sends probes, and knows their echoes.
#[derive(Debug)]
pub(super) struct Prober {
    address: IpAddr,
    /// Nonces of the last probes.
    nonces: VecDeque<Nonce>,
    /// End of the time in which stations answer a probe of an IPv6 VIP, by this director or another one.
    answers_until: Option<Tick>,
}

/// Time in which stations answer a probe.
const ANSWERS: Span = Span::from_secs(1);

/// Probes whose echo is known: those of a round before a claim.
const NONCES: usize = 4;

impl Prober {
    pub(super) fn new(address: IpAddr) -> Self {
        Self { address, nonces: VecDeque::new(), answers_until: None }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Asks all stations whether one uses the VIP.
    ///
    /// A probe of an IPv6 VIP is answered to all nodes, which looks as a defense does. If the VIP is `claimed`, a
    /// solicitation from the link-local address takes its place: the answer comes to this director alone.
    pub(super) fn probe(&mut self, claimed: bool, turn: &mut Turn<'_>) {
        let sender = turn.link_local(InterfaceIndex::CLIENT).filter(|_| claimed);
        self.send(sender, None, turn);
    }

    /// Asks the station that holds the VIP.
    pub(super) fn ask(&mut self, holder: MacAddr, turn: &mut Turn<'_>) {
        let sender = turn.link_local(InterfaceIndex::CLIENT);
        self.send(sender, Some(holder), turn);
    }

    fn send(&mut self, sender: Option<IpAddr>, station: Option<MacAddr>, turn: &mut Turn<'_>) {
        let address = self.address;
        let sender = sender.filter(|_| address.is_ipv6());
        let nonce = (address.is_ipv6() && sender.is_none()).then(|| self.fresh_nonce(turn));
        if nonce.is_some() {
            self.answers_until = Some(turn.later(ANSWERS));
        }
        turn.counters().probed.add(1);
        turn.send(
            InterfaceIndex::CLIENT,
            match sender {
                Some(_) => Outgoing::Solicit { address, sender, station },
                None => Outgoing::Probe { address, station, nonce },
            },
        );
    }

    /// Takes note of the probe of another station.
    pub(super) fn observe(&mut self, message: &NeighborMessage, turn: &Turn<'_>) {
        if self.address.is_ipv6() && message.is_probe() && message.target() == Some(self.address) {
            self.answers_until = Some(turn.later(ANSWERS));
        }
    }

    /// True while an announcement of the VIP may be the answer to a probe: Linux answers it to all nodes, also on a real
    /// server, which defends nothing.
    pub(super) fn is_answered_to_all(&self, now: Tick) -> bool {
        self.answers_until.is_some_and(|until| !now.reached(until))
    }

    fn fresh_nonce(&mut self, turn: &mut Turn<'_>) -> Nonce {
        let nonce = turn.nonce();
        self.nonces.truncate(NONCES - 1);
        self.nonces.push_front(nonce);
        nonce
    }

    /// True for a probe of this director that came back, with another MAC address if a bridge changes it.
    pub(super) fn is_echo(&self, message: &NeighborMessage) -> bool {
        match message.content {
            Content::Solicitation { target, nonce: Some(nonce) } => {
                target == self.address && self.nonces.contains(&nonce)
            }
            _ => false,
        }
    }
}
