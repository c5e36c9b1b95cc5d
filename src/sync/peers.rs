//! Bookkeeping of peers: what was heard from each, and when.

use super::digest::{GroupSet, SyncDigest};
use super::divergence::Divergence;
use super::lag::LagMeter;
use super::rate::RateLimit;
use super::{SyncHello, SyncVersion};
use crate::time::{Span, Tick};
use std::net::IpAddr;

/// Most senders that are kept apart.
pub const PEERS_MAX: usize = 16;
/// A silent peer makes room for another one after this time.
const ROOM_AFTER: Span = Span::from_secs(60);
/// A silent peer is forgotten after this time.
const FORGET_AFTER: Span = Span::from_secs(24 * 3600);

/// Director that sync messages come from: directrix or a kernel.
#[derive(Clone, Debug)]
pub struct SyncPeer {
    /// Source address of its messages.
    pub source: IpAddr,
    /// Version of its last message.
    pub version: Option<SyncVersion>,
    /// Its last message.
    pub heard_at: Tick,
    /// Messages with a right header.
    pub messages: u64,
    /// Records that were accepted.
    pub records: u64,
    /// Messages, rests of messages and records that were refused.
    pub refused: u64,
    /// Records that it has sent and that have not arrived, by its hellos; while others arrive, some are counted late.
    pub lost: u64,
    /// Starts that were seen, by its hellos.
    pub starts: u32,
    /// Its last hello with the time of arrival; `None` of a kernel.
    pub hello: Option<(Tick, SyncHello)>,
    pub(super) divergence: Divergence,
    lag: Option<LagMeter>,
    limit: RateLimit,
    /// Records sent and arrived at the first hello of its start.
    at_first: (u64, u64),
    /// Records that earlier starts had lost.
    lost_before: u64,
}

impl SyncPeer {
    fn new(source: IpAddr, messages_per_second: u32, now: Tick) -> Self {
        Self {
            source,
            version: None,
            heard_at: now,
            messages: 0,
            records: 0,
            refused: 0,
            lost: 0,
            starts: 0,
            hello: None,
            divergence: Divergence::default(),
            lag: None,
            limit: RateLimit::new(messages_per_second, now),
            at_first: (0, 0),
            lost_before: 0,
        }
    }

    /// Time by which its last hello came later than the fastest of the last minute or two; `None` of a kernel.
    #[must_use]
    pub fn lag(&self) -> Option<Span> {
        self.lag.map(|meter| meter.last())
    }

    /// Least number of connections that one of the two tables has and the other has not, at the last hello.
    #[must_use]
    pub fn difference(&self) -> Option<u64> {
        let hello = self.hello.as_ref()?;
        hello.1.digest.is_some().then(|| self.divergence.difference())
    }

    /// Groups that its table has more of, lastingly.
    #[must_use]
    pub fn lacking(&self) -> GroupSet {
        self.divergence.wanted()
    }

    pub(super) fn may_send(&mut self, now: Tick) -> bool {
        self.limit.take(now)
    }

    pub(super) fn heard(&mut self, version: SyncVersion, now: Tick) {
        (self.version, self.heard_at) = (Some(version), now);
        self.messages += 1;
    }

    pub(super) fn accepted(&mut self) {
        self.records += 1;
    }

    /// Takes in a hello, at whose arrival this director's table has the digest `own`.
    pub(super) fn greeted(&mut self, hello: &SyncHello, own: &SyncDigest, now: Tick) {
        match &self.hello {
            Some((_, last)) if last.boot_id == hello.boot_id => {
                // What was sent before the last hello has arrived by now, even if a hello has overtaken records.
                let sent = last.records_sent.saturating_sub(self.at_first.0);
                let arrived = self.records - self.at_first.1;
                self.lost = self.lost.max(self.lost_before + sent.saturating_sub(arrived));
            }
            _ => {
                self.starts += 1;
                (self.lag, self.divergence) = (None, Divergence::default());
                (self.at_first, self.lost_before) = ((hello.records_sent, self.records), self.lost);
            }
        }
        self.lag.get_or_insert_with(|| LagMeter::new(hello.sent_at_ms, now)).heard(hello.sent_at_ms, now);
        if let Some(digest) = &hello.digest {
            self.divergence.observe(own, digest);
        }
        self.hello = Some((now, hello.clone()));
    }
}

/// The peers that were heard.
#[derive(Clone, Debug, Default)]
pub struct SyncPeers(Vec<SyncPeer>);

impl SyncPeers {
    /// Iterates in the order in which they were first heard.
    pub fn iter(&self) -> impl Iterator<Item = &SyncPeer> {
        self.0.iter()
    }

    /// The peer that sends from `source`; `None` if too many others have been heard within a minute.
    pub(super) fn at(&mut self, source: IpAddr, limit: u32, now: Tick) -> Option<&mut SyncPeer> {
        let known = self.0.iter().position(|peer| peer.source == source);
        let index = known.or_else(|| {
            self.make_room(now).then(|| {
                self.0.push(SyncPeer::new(source, limit, now));
                self.0.len() - 1
            })
        })?;
        self.0.get_mut(index)
    }

    /// True if there is room for another peer, which may take that of the one that is silent for longest.
    fn make_room(&mut self, now: Tick) -> bool {
        let silence = |peer: &SyncPeer| now.since(peer.heard_at);
        if self.0.len() < PEERS_MAX {
            return true;
        }
        let longest = (0..self.0.len()).max_by_key(|index| silence(&self.0[*index]));
        let silent = longest.filter(|index| silence(&self.0[*index]) >= ROOM_AFTER);
        silent.map(|index| self.0.remove(index)).is_some()
    }

    /// Forgets peers that have been silent for a day, before ticks wrap.
    pub(super) fn forget(&mut self, now: Tick) {
        self.0.retain(|peer| now.since(peer.heard_at) < FORGET_AFTER);
    }
}
