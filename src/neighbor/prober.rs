//! Probes for a VIP: whether another station uses it.

use super::turn::Turn;
use super::{Content, NeighborMessage, Outgoing};
use crate::model::InterfaceIndex;
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
}

/// Probes whose echo is known: those of a round before a claim.
const NONCES: usize = 4;

impl Prober {
    pub(super) fn new(address: IpAddr) -> Self {
        Self { address, nonces: VecDeque::new() }
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
        turn.counters().probed.add(1);
        turn.send(
            InterfaceIndex::CLIENT,
            match sender {
                Some(_) => Outgoing::Solicit { address, sender, station },
                None => Outgoing::Probe { address, station, nonce },
            },
        );
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
