//! Names of all entries of the shadow table for connection sync: their digest, and the records that are due.

use crate::control::state::sync_names::SyncNames;
use crate::flow::{Flow, FlowKey};
use crate::forward::{JournalKind, Snapshot};
use crate::model::ServerId;
use crate::shadow::{ShadowValue, Stored};
use crate::sync::{NameHash, SyncDigest, SyncOccasion, SyncRecord};
use crate::time::Span;
use std::sync::Arc;

/// A connection in a closing state that has moved its deadline by more goes on, as one that is half closed.
const GOES_ON_AFTER: Span = Span::from_secs(5);

/// Book of the entries' names, while this director sends or receives records.
pub(super) struct SyncBook {
    names: Arc<SyncNames>,
    digest: SyncDigest,
    /// Records of own connections to be sent.
    due: Vec<SyncRecord>,
    /// Whether own connections are told to others.
    pub(super) sends: bool,
    /// Whether connections are told again that stand as they were: not by a backup, which is the last to know of their end.
    pub(super) refreshes: bool,
    /// True once an entry had no name: the digest lacks it.
    is_incomplete: bool,
}

impl SyncBook {
    /// An empty book.
    #[must_use]
    pub(super) fn new(names: Arc<SyncNames>, sends: bool) -> Self {
        let digest = SyncDigest::default();
        Self { names, digest, due: Vec::new(), sends, refreshes: true, is_incomplete: false }
    }

    /// Its names.
    #[must_use]
    pub(super) fn names(&self) -> &Arc<SyncNames> {
        &self.names
    }

    /// Digest of all entries.
    #[must_use]
    pub(super) fn digest(&self) -> &SyncDigest {
        &self.digest
    }

    /// Replaces the names. Returns true if the entries have to be added anew, as one had no name.
    pub(super) fn set_names(&mut self, names: Arc<SyncNames>) -> bool {
        self.names = names;
        self.is_incomplete
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        (self.digest, self.is_incomplete) = (SyncDigest::default(), false);
    }

    /// Adds an entry that is new in the table.
    pub(super) fn add(&mut self, flow: Flow, server: ServerId) {
        match self.hash(flow, server) {
            Some(name) => self.digest.add(name),
            None => self.is_incomplete = true,
        }
    }

    /// Removes an entry that is no longer in the table.
    pub(super) fn remove(&mut self, flow: Flow, server: ServerId) {
        match self.hash(flow, server) {
            Some(name) => self.digest.remove(name),
            None => self.is_incomplete = true,
        }
    }

    fn hash(&self, flow: Flow, server: ServerId) -> Option<NameHash> {
        let name = self.names.connection(flow, server)?;
        Some(NameHash::of(name.protocol.into(), &name.ends, false))
    }

    /// Takes in that an entry was stored.
    pub(super) fn stored<K: FlowKey>(&mut self, flow: Flow, server: ServerId, stored: &Stored<K>) {
        match stored {
            Stored::Full => return,
            Stored::Updated(before) if before.server == server => return,
            Stored::Updated(before) => self.remove(flow, before.server),
            Stored::Replaced(expired) => self.remove(expired.key.flow(), expired.value.server),
            Stored::Placed => {}
        }
        self.add(flow, server);
    }

    /// Takes in an event of a worker about an entry, whose value was `before`.
    pub(super) fn note(
        &mut self,
        kind: JournalKind,
        flow: Flow,
        (value, before): (ShadowValue, Option<ShadowValue>),
        snapshot: &Snapshot,
    ) {
        if !self.sends || !self.occasion(kind, value, before).is_some_and(|of| of.is_due(value.state)) {
            return;
        }
        let Some(name) = self.names.connection(flow, value.server) else { return };
        let record = SyncRecord::connection(name.protocol, name.ends, value.state, &snapshot.timeouts);
        self.due.push(record.with_mark(name.mark));
        if value.state.assures() {
            self.due.extend(self.template(flow, value.server, snapshot).map(|of| of.with_mark(name.mark)));
        }
    }

    fn occasion(
        &self,
        kind: JournalKind,
        value: ShadowValue,
        before: Option<ShadowValue>,
    ) -> Option<SyncOccasion> {
        let from = before.map_or(crate::flow::ConnState::None, |before| before.state);
        match kind {
            JournalKind::Ended => None,
            _ if before.is_some_and(|before| before.server != value.server) => Some(SyncOccasion::Moved),
            JournalKind::Changed => Some(SyncOccasion::Changed { from }),
            JournalKind::Refreshed => {
                (self.refreshes && goes_on(value, before)).then_some(SyncOccasion::Refreshed)
            }
            // From another worker nothing changes; another director's connection is now this one's.
            JournalKind::Adopted => {
                before.is_none_or(|before| before.owner.is_none()).then_some(SyncOccasion::Refreshed)
            }
        }
    }

    /// The template of a client of a persistent service.
    fn template(&self, flow: Flow, server: ServerId, snapshot: &Snapshot) -> Option<SyncRecord> {
        let service = snapshot.service(flow.match_id)?;
        let (persistence, _) = service.pool.persistence()?;
        let network = persistence.network(flow.client);
        let (protocol, ends) = self.names.template(network, service.id, server)?;
        Some(SyncRecord::template(protocol, ends, persistence.timeout))
    }

    /// Takes the records that are due.
    pub(super) fn take_due(&mut self) -> Vec<SyncRecord> {
        std::mem::take(&mut self.due)
    }
}

/// True unless the connection is closing, and no frame has come since its last event but for those of the end itself.
fn goes_on(value: ShadowValue, before: Option<ShadowValue>) -> bool {
    let is_closing = !value.state.assures();
    let stands = |before: ShadowValue| {
        before.state == value.state && value.deadline.since(before.deadline) <= GOES_ON_AFTER.secs()
    };
    !(is_closing && before.is_some_and(stands))
}
