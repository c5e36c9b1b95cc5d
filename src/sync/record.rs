//! Records of sync messages: connections and templates by names, never by numbers of a table.

use super::{SyncEnds, SyncFlags, SyncProtocol, state};
use crate::flow::ConnState;
use crate::model::Timeouts;
use crate::time::Span;
use crate::wire::Protocol;

/// Lifetime of a template whose record has no timeout (`ip_vs_proc_conn` in net/netfilter/ipvs/ip_vs_sync.c).
const TEMPLATE_SECS: u32 = 180;

/// Connection or template, as a sync message describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncRecord {
    /// Protocol.
    pub protocol: SyncProtocol,
    /// Client, VIP and real server.
    pub ends: SyncEnds,
    /// Flags.
    pub flags: SyncFlags,
    /// Number of the state in the table of the protocol, or 0 or 1 (assured) of a template.
    pub state: u8,
    /// Firewall mark of the service; 0 without.
    pub mark: u32,
    /// Full timeout in seconds, not what remains of it; 0: that of the receiver's tables.
    pub timeout_secs: u32,
}

impl SyncRecord {
    /// A connection by direct routing, as a kernel master describes it, without a mark.
    #[must_use]
    pub fn connection(protocol: Protocol, ends: SyncEnds, state: ConnState, timeouts: &Timeouts) -> Self {
        let flags =
            if state.is_active() { SyncFlags::DIRECT } else { SyncFlags::DIRECT | SyncFlags::INACTIVE };
        Self {
            protocol: protocol.into(),
            ends,
            flags,
            state: state::number_of(state),
            mark: 0,
            timeout_secs: state.timeout(timeouts).secs(),
        }
    }

    /// The assured template of a persistent client: its network and no port. Of a group, the protocol is
    /// [`SyncProtocol::Mark`], and the VIP is [`SyncEnds::of_mark`].
    #[must_use]
    pub fn template(protocol: SyncProtocol, ends: SyncEnds, timeout: Span) -> Self {
        let flags = SyncFlags::DIRECT | SyncFlags::INACTIVE | SyncFlags::TEMPLATE;
        Self { protocol, ends, flags, state: state::ASSURED, mark: 0, timeout_secs: timeout.secs() }
    }

    /// The same with the firewall mark of its service.
    #[must_use]
    pub fn with_mark(self, mark: u32) -> Self {
        Self { mark, ..self }
    }

    /// The same, of a connection that has itself come by sync.
    #[must_use]
    pub fn synced(self) -> Self {
        Self { flags: self.flags | SyncFlags::SYNCED, ..self }
    }

    /// State of a connection of a service; `None` of a template and of another protocol.
    #[must_use]
    pub fn conn_state(&self) -> Option<ConnState> {
        if self.is_template() { None } else { state::numbered(self.protocol, self.state) }
    }

    /// True for a template.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.flags.has(SyncFlags::TEMPLATE)
    }

    /// True for a connection that counts as active. The flag alone decides, not the state.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.is_template() && !self.flags.has(SyncFlags::INACTIVE)
    }

    /// Time to live from the record's arrival on: its timeout, or that of the state with `configured` timeouts.
    #[must_use]
    pub fn lifetime(&self, configured: &Timeouts) -> Span {
        match (self.timeout_secs, self.conn_state()) {
            (0, Some(state)) => state.timeout(configured),
            (0, None) => Span::from_secs(TEMPLATE_SECS),
            (secs, _) => Span::from_secs(secs),
        }
    }
}
