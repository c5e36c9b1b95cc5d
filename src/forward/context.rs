//! State that decisions about all frames share.

use super::accounting::Accounting;
use super::journal::JournalKind;
use super::shadowed::{ShadowAccess, ShadowedKey};
use super::snapshot::{Route, ServicePool, Snapshot};
use crate::flow::{ConnState, EntryMut, Flow, FlowEntry, FlowKey};
use crate::model::ServerId;
use crate::time::{Span, Tick};
use crate::wire::transport::TcpFlags;
use std::sync::Arc;

/// The current snapshot, and the counters.
pub(super) struct Context {
    pub(super) snapshot: Arc<Snapshot>,
    /// Idle timeouts, by state.
    pub(super) lifetimes: [Span; ConnState::COUNT],
    pub(super) accounting: Accounting,
    /// The shadow table, if there is one.
    pub(super) shadow: Option<ShadowAccess>,
    /// Sweeps during one refresh pass.
    pub(super) refresh_sweeps: usize,
    /// True if a frame of an unknown connection may belong to another worker.
    pub(super) may_hand_over: bool,
    /// True for a frame that was copied: from another worker, or held.
    pub(super) is_handed: bool,
}

impl Context {
    /// True if a segment with `flags` is scheduled again although its connection has not expired
    /// (`ip_vs_in_hook` in net/netfilter/ipvs/ip_vs_core.c).
    pub(super) fn reschedules(&self, entry: &EntryMut<'_>, flags: TcpFlags) -> bool {
        let quiesced = matches!(self.snapshot.route(entry.server), Route::Quiesced(..));
        let reused = || entry.state.is_reused_by(flags, self.snapshot.policy.conn_reuse_mode);
        let opens = flags.any(TcpFlags::SYN) && !flags.any(TcpFlags::RST);
        opens && (quiesced || (entry.template == 0 && reused()))
    }

    /// The server that the connections of a client have by the service's scheduler, whatever the tables.
    pub(super) fn derived_server(&self, flow: Flow) -> Option<ServerId> {
        self.accounting.derive(self.snapshot.service(flow.match_id)?.pool, flow)
    }

    /// True if `server` has been removed.
    pub(super) fn is_removed(&self, server: ServerId) -> bool {
        *self.snapshot.route(server) == Route::Removed
    }

    /// True if `server` is down and its connections are cut.
    pub(super) fn is_cut(&self, server: ServerId) -> bool {
        *self.snapshot.route(server) == Route::Cut
    }

    /// True if a frame ends the connection because `server` has been removed.
    pub(super) fn expires(&self, server: ServerId) -> bool {
        self.snapshot.policy.expire_nodest_conn && self.is_removed(server)
    }

    /// Records a connection in the journal, once it is confirmed.
    #[inline]
    pub(super) fn record<K: ShadowedKey>(&self, kind: JournalKind, entry: &FlowEntry<K>) {
        if let Some(shadow) = &self.shadow
            && !entry.state.is_unconfirmed()
        {
            shadow.journal.add(kind, entry);
        }
    }

    /// The connection of `key` in the shadow table.
    pub(super) fn shadowed<K: ShadowedKey>(&self, key: K, now: Tick) -> Option<FlowEntry<K>> {
        self.shadow.as_ref()?.find(key, now)
    }

    /// The service of the flow, if it still exists.
    #[inline]
    pub(super) fn service<K: FlowKey>(&self, key: K) -> Option<ServicePool<'_>> {
        self.snapshot.service(key.match_id())
    }
}
