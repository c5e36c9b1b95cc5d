//! Datagrams to records: tests of the sender, then of the message, each refusal counted.

use super::peers::{SyncPeer, SyncPeers};
use super::{SyncExtension, SyncIdFilter, SyncMessage, SyncRecord, SyncRefusal, SyncRefusals};
use crate::time::Tick;
use std::net::IpAddr;
use std::sync::Arc;

/// Trust in senders.
#[derive(Clone, Debug)]
pub struct SyncTrust {
    /// Messages that are taken, by their syncid.
    pub filter: SyncIdFilter,
    /// Addresses that messages are taken from; empty: all.
    pub peers: Vec<IpAddr>,
    /// Most messages that are taken from one sender in a second.
    pub messages_per_second: u32,
}

/// Reader of datagrams, which keeps books on their senders.
#[derive(Debug)]
pub struct SyncReceiver {
    trust: SyncTrust,
    peers: SyncPeers,
    refusals: Arc<SyncRefusals>,
}

impl SyncReceiver {
    /// A receiver that counts in `refusals`.
    #[must_use]
    pub fn new(trust: SyncTrust, refusals: Arc<SyncRefusals>) -> Self {
        Self { trust, peers: SyncPeers::default(), refusals }
    }

    /// Passes the records of a datagram to `accept`. Returns what it is if directrix has sent it without records.
    pub fn receive(
        &mut self,
        datagram: &[u8],
        source: IpAddr,
        now: Tick,
        accept: &mut impl FnMut(&SyncRecord),
    ) -> Option<SyncExtension> {
        // Of the form ::ffff:192.0.2.1 an IPv4 address, if the socket is one of both families.
        let source = source.to_canonical();
        if !self.trust.peers.is_empty() && !self.trust.peers.contains(&source) {
            self.refusals.count(SyncRefusal::Peer);
            return None;
        }
        let Some(peer) = self.peers.at(source, self.trust.messages_per_second, now) else {
            self.refusals.count(SyncRefusal::Peers);
            return None;
        };
        let mut reading = SyncReading { peer, refusals: &self.refusals };
        match reading.read(datagram, self.trust.filter, now, accept) {
            Ok(extension) => extension,
            Err(refusal) => {
                reading.refuse(refusal);
                None
            }
        }
    }

    /// The peers that were heard.
    #[must_use]
    pub fn peers(&self) -> &SyncPeers {
        &self.peers
    }

    /// The peer at `source`, if it was heard.
    pub(super) fn peer(&mut self, source: IpAddr, now: Tick) -> Option<&mut SyncPeer> {
        self.peers.at(source.to_canonical(), self.trust.messages_per_second, now)
    }

    /// Forgets peers that have been silent for a day.
    pub fn forget(&mut self, now: Tick) {
        self.peers.forget(now);
    }

    /// Counts the refusal of something that was received right.
    pub fn refuse(&self, refusal: SyncRefusal) {
        self.refusals.count(refusal);
    }
}

/// A datagram's sender, while the datagram is read.
struct SyncReading<'a> {
    peer: &'a mut SyncPeer,
    refusals: &'a SyncRefusals,
}

impl SyncReading<'_> {
    fn read(
        &mut self,
        datagram: &[u8],
        filter: SyncIdFilter,
        now: Tick,
        accept: &mut impl FnMut(&SyncRecord),
    ) -> Result<Option<SyncExtension>, SyncRefusal> {
        if !self.peer.may_send(now) {
            return Err(SyncRefusal::Rate);
        }
        let message = SyncMessage::parse(datagram, filter)?;
        self.peer.heard(message.version, now);
        for record in message.records() {
            match record {
                Ok(record) => {
                    self.peer.accepted();
                    accept(&record);
                }
                Err(refusal) => self.refuse(refusal),
            }
        }
        message.extension().map(SyncExtension::parse).transpose()
    }

    fn refuse(&mut self, refusal: SyncRefusal) {
        self.peer.refused += 1;
        self.refusals.count(refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::peers::PEERS_MAX;

    const EMPTY: [u8; 8] = [0, 7, 0, 8, 0, 1, 0, 0];

    fn receiver(peers: &[IpAddr], messages_per_second: u32) -> SyncReceiver {
        let trust =
            SyncTrust { filter: SyncIdFilter::Exactly(7), peers: peers.to_vec(), messages_per_second };
        SyncReceiver::new(trust, Arc::default())
    }

    fn host(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    fn get(receiver: &mut SyncReceiver, source: IpAddr, now: Tick) {
        assert!(receiver.receive(&EMPTY, source, now, &mut |_| panic!("no record")).is_none());
    }

    fn refused(receiver: &SyncReceiver) -> Vec<(&'static str, u64)> {
        let counts = SyncRefusal::ALL.iter().map(|of| (of.name(), receiver.refusals.of(*of).get()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn only_configured_peers_are_heard() {
        let mut receiver = receiver(&[host(1)], 10);
        get(&mut receiver, host(2), Tick(0));
        get(&mut receiver, host(1), Tick(0));
        get(&mut receiver, "::ffff:192.0.2.1".parse().unwrap(), Tick(0));
        assert_eq!(refused(&receiver), [("peer", 1)]);
        let messages: Vec<_> = receiver.peers().iter().map(|peer| (peer.source, peer.messages)).collect();
        assert_eq!(messages, [(host(1), 2)]);
    }

    #[test]
    fn a_flood_of_one_sender_does_not_silence_another() {
        let mut receiver = receiver(&[], 10);
        (0..1000).for_each(|_| get(&mut receiver, host(1), Tick(0)));
        get(&mut receiver, host(2), Tick(0));
        assert_eq!(refused(&receiver), [("rate", 990)]);
        assert_eq!(receiver.peers().iter().map(|peer| peer.messages).collect::<Vec<_>>(), [10, 1]);
    }

    #[test]
    fn a_silent_peer_makes_room_after_a_minute() {
        let mut receiver = receiver(&[], 1000);
        (0..PEERS_MAX as u8).for_each(|number| get(&mut receiver, host(number), Tick(0)));
        (1..PEERS_MAX as u8).for_each(|number| get(&mut receiver, host(number), Tick(30_000)));
        get(&mut receiver, host(99), Tick(59_999));
        assert_eq!(refused(&receiver), [("peers", 1)]);
        get(&mut receiver, host(99), Tick(60_000));
        assert!(receiver.peers().iter().all(|peer| peer.source != host(0)));
        receiver.forget(Tick(60_000 + 24 * 3_600_000));
        assert_eq!(receiver.peers().iter().count(), 0);
    }
}
