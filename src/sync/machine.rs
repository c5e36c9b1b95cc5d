//! Sync of one director with all others: a machine of (event, now) → messages and records.

use super::bulk::Bulk;
use super::digest::GroupSet;
use super::extension::{BootId, EXTENSION_LEN_MAX, SyncExtension, SyncHello, SyncRole};
use super::resync::Resync;
use super::{
    SyncCounts, SyncFlags, SyncHost, SyncPeer, SyncReceiver, SyncRecord, SyncRefusal, SyncRefusals,
    SyncSender, SyncTrust,
};
use crate::time::{Span, Tick};
use std::net::IpAddr;
use std::sync::Arc;

/// Settings of the machine.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// Number of the group of directors, in each message.
    pub syncid: u8,
    /// Longest message in bytes.
    pub len_max: u16,
    /// Whether messages are sent.
    pub sends: bool,
    /// Trust in senders; `None`: messages are not received.
    pub trust: Option<SyncTrust>,
    /// Time between two hellos; `None`: no messages between directrix alone.
    pub hello_every: Option<Span>,
    /// Entries of the table that an answer to a request walks over in a second.
    pub bulk_per_second: u32,
}

/// Facts about the director for its hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncFacts {
    /// Random number of this start.
    pub boot_id: BootId,
    /// Starts over the same connections.
    pub epoch: u32,
    /// Role.
    pub role: SyncRole,
    /// Hash of services and real servers.
    pub config_hash: u64,
    /// Hash of the tables of scheduler mh.
    pub mh_hash: u64,
}

/// The machine.
#[derive(Debug)]
pub struct SyncMachine {
    settings: SyncSettings,
    facts: SyncFacts,
    sender: SyncSender,
    receiver: Option<SyncReceiver>,
    refusals: Arc<SyncRefusals>,
    resync: Resync,
    bulk: Bulk,
    hello_at: Option<Tick>,
    /// Kept for its memory.
    found: Vec<SyncRecord>,
    message: Vec<u8>,
}

impl SyncMachine {
    /// A machine that has heard nothing. A director that does not receive, or sends no requests, is complete after
    /// [`super::GIVE_UP_AFTER`], as one without peers.
    #[must_use]
    pub fn new(settings: SyncSettings, facts: SyncFacts, now: Tick) -> Self {
        let refusals = Arc::<SyncRefusals>::default();
        let trust = settings.trust.clone();
        let greets = settings.sends && settings.hello_every.is_some();
        Self {
            sender: SyncSender::new(settings.syncid, settings.len_max),
            receiver: trust.map(|trust| SyncReceiver::new(trust, Arc::clone(&refusals))),
            refusals,
            resync: Resync::new(facts.boot_id, now),
            bulk: Bulk::new(settings.bulk_per_second),
            hello_at: greets.then_some(now),
            found: Vec::new(),
            message: Vec::with_capacity(EXTENSION_LEN_MAX),
            settings,
            facts,
        }
    }

    /// Changes the facts for further hellos, but for the boot id.
    pub fn set_facts(&mut self, facts: SyncFacts) {
        self.facts = SyncFacts { boot_id: self.facts.boot_id, ..facts };
    }

    /// Sends a record of this director's own table.
    pub fn push(&mut self, record: &SyncRecord, now: Tick, host: &mut impl SyncHost) {
        if self.settings.sends {
            self.sender.push(record, now, &mut |message| host.send(message));
        }
    }

    /// Takes in a datagram. Records at second hand are for the directrix that has asked for them. From a kernel all are taken: it
    /// sends those of connections that it took over.
    pub fn receive(&mut self, datagram: &[u8], source: IpAddr, now: Tick, host: &mut impl SyncHost) {
        let known = self.boot_id_of(source);
        let unasked = known.is_some_and(|boot_id| !self.resync.asks(boot_id));
        let Some(receiver) = &mut self.receiver else { return };
        let (refusals, mut records) = (&self.refusals, false);
        let extension = receiver.receive(datagram, source, now, &mut |record| {
            records = true;
            if unasked && record.flags.has(SyncFlags::SYNCED) {
                return refusals.count(SyncRefusal::SecondHand);
            }
            host.accept(source, record);
        });
        if let Some(extension) = extension {
            self.take(extension, source, now, host);
        } else if records && let Some(boot_id) = known {
            self.resync.answered(boot_id, now);
        }
    }

    fn boot_id_of(&self, source: IpAddr) -> Option<BootId> {
        let source = source.to_canonical();
        let peer = self.peers().find(|peer| peer.source == source)?;
        peer.hello.as_ref().map(|(_, hello)| hello.boot_id)
    }

    fn take(&mut self, extension: SyncExtension, source: IpAddr, now: Tick, host: &mut impl SyncHost) {
        let (own, sender) = (self.facts.boot_id, extension.boot_id());
        if sender == own {
            return self.refusals.count(SyncRefusal::Own);
        }
        match extension {
            SyncExtension::Hello(hello) => self.greeted(&hello, source, now, host),
            SyncExtension::Request(request) if request.to == own && self.greets() => {
                self.bulk.ask(request, now);
            }
            SyncExtension::End(end) if self.resync.ended(&end) => self.forget_differences(source, now),
            SyncExtension::Request(_) | SyncExtension::End(_) => {}
        }
    }

    fn greeted(&mut self, hello: &SyncHello, source: IpAddr, now: Tick, host: &mut impl SyncHost) {
        let Some(peer) = self.receiver.as_mut().and_then(|receiver| receiver.peer(source, now)) else {
            return;
        };
        peer.greeted(hello, host.digest(), now);
        // A master has its connections from its clients: what only a backup has is over.
        let is_source = self.facts.role == SyncRole::Master && hello.role != SyncRole::Master;
        let lacking = if is_source { GroupSet::NONE } else { peer.lacking() };
        if self.greets()
            && let Some(request) = self.resync.greeted(hello, lacking, now)
        {
            self.send(&SyncExtension::Request(request), host);
        }
    }

    fn forget_differences(&mut self, source: IpAddr, now: Tick) {
        if let Some(peer) = self.receiver.as_mut().and_then(|receiver| receiver.peer(source, now)) {
            peer.divergence.forget();
        }
    }

    /// Does what is due: flushes records, says hello, asks again, goes on with answers.
    pub fn turn(&mut self, now: Tick, host: &mut impl SyncHost) {
        self.sender.turn(now, &mut |message| host.send(message));
        if let Some(request) = self.resync.turn(now)
            && self.greets()
        {
            self.send(&SyncExtension::Request(request), host);
        }
        self.answer(now, host);
        if self.hello_at.is_some_and(|at| now.reached(at)) {
            self.greet(now, host);
        }
    }

    fn answer(&mut self, now: Tick, host: &mut impl SyncHost) {
        let end = self.bulk.turn(now, host, &mut self.found);
        for record in self.found.drain(..) {
            self.sender.push(&record, now, &mut |message| host.send(message));
        }
        if let Some(end) = end {
            self.sender.flush(&mut |message| host.send(message));
            self.send(&SyncExtension::End(end), host);
        }
    }

    fn greet(&mut self, now: Tick, host: &mut impl SyncHost) {
        self.hello_at = self.settings.hello_every.map(|every| now.after(every));
        if let Some(receiver) = &mut self.receiver {
            receiver.forget(now);
        }
        // So that the number of records includes all before it.
        self.sender.flush(&mut |message| host.send(message));
        let SyncFacts { boot_id, epoch, role, config_hash, mh_hash } = self.facts;
        let SyncCounts { connections, templates } = host.counts();
        let has_room = usize::from(self.settings.len_max) >= EXTENSION_LEN_MAX;
        let hello = SyncHello {
            boot_id,
            epoch,
            role,
            is_complete: self.resync.is_complete(),
            config_hash,
            mh_hash,
            records_sent: self.sender.records(),
            sent_at_ms: now.0,
            connections,
            templates,
            digest: has_room.then(|| host.digest().clone()),
        };
        self.send(&SyncExtension::Hello(hello.into()), host);
    }

    fn send(&mut self, extension: &SyncExtension, host: &mut impl SyncHost) {
        extension.write(self.settings.syncid, &mut self.message);
        host.send(&self.message);
    }

    fn greets(&self) -> bool {
        self.settings.sends && self.settings.hello_every.is_some()
    }

    /// Sends what waits, before the director ends.
    pub fn flush(&mut self, host: &mut impl SyncHost) {
        self.sender.flush(&mut |message| host.send(message));
    }

    /// Next time at which [`Self::turn`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let all = [self.sender.deadline(), self.hello_at, self.resync.deadline(), self.bulk.deadline()];
        all.into_iter().flatten().reduce(Tick::earlier)
    }

    /// True once all connections of a peer have come, or there is no peer to ask.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.resync.is_complete()
    }

    /// The peers that were heard; none without a receiver.
    pub fn peers(&self) -> impl Iterator<Item = &SyncPeer> {
        self.receiver.iter().flat_map(|receiver| receiver.peers().iter())
    }

    /// Counters of refusals, which any thread may read.
    #[must_use]
    pub fn refusals(&self) -> &Arc<SyncRefusals> {
        &self.refusals
    }

    /// Sender's counters.
    #[must_use]
    pub fn sender(&self) -> &SyncSender {
        &self.sender
    }
}
