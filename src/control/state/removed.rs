//! Removed services and servers, whose ids stay reserved while a table refers to them.

use crate::control::api::Stats;
use crate::control::state::rates::Estimator;
use crate::model::{MatchId, ServerId, ServiceId};
use crate::schedule::{Loads, Pool, ServerLoad, Templates};
use std::time::{Duration, Instant};

/// Time for which the counters of a removed server are kept after its last connection and template (`IP_VS_DEST_TRASH_PERIOD` in
/// include/net/ip_vs.h).
pub(in crate::control) const COUNTERS_KEPT: Duration = Duration::from_secs(120);

/// A removed service, while one of its servers is referred to.
#[derive(Debug)]
pub(in crate::control) struct RemovedService {
    pub(in crate::control) id: ServiceId,
    /// Pool that receives the changes of its connections.
    pub(in crate::control) pool: Pool,
    /// Generation of its templates.
    pub(in crate::control) generation: u8,
}

/// A destination of which the service has no match any more, or whose service was removed.
///
/// Nothing counts the connections of a destination. No frame extends them any more, so they have expired after the longest
/// timeout of a connection.
#[derive(Debug)]
pub(in crate::control) struct RemovedMatch {
    pub(in crate::control) id: MatchId,
    /// Time by which its last connection has expired and was swept; set once no worker has a match with it.
    pub(in crate::control) until: Option<Instant>,
}

/// A server that has been removed.
#[derive(Debug)]
pub(in crate::control) struct RemovedServer {
    pub(in crate::control) id: ServerId,
    /// Counters that continue if it is added again; `None` if its service was removed, too (`__ip_vs_update_dest`
    /// in net/netfilter/ipvs/ip_vs_ctl.c).
    pub(in crate::control) counts: Option<RemovedCounters>,
    /// Pass of the template sweep during which its last connection had ended.
    unused_since: Option<u64>,
    /// Time at which its last connection and its last template had ended.
    idle_since: Option<Instant>,
}

/// The counters of a removed server.
#[derive(Debug)]
pub(in crate::control) struct RemovedCounters {
    /// Totals of its id when it was added or zeroed.
    pub(in crate::control) baseline: Stats,
    /// Totals of it that its service counts as those of removed servers.
    pub(in crate::control) past: Stats,
    pub(in crate::control) estimator: Estimator,
}

impl RemovedServer {
    pub(in crate::control) fn new(id: ServerId, counts: Option<RemovedCounters>) -> Self {
        Self { id, counts, unused_since: None, idle_since: None }
    }

    /// Returns true while its id is reserved: a connection or a template refers to it, or its counters are kept.
    ///
    /// To be called while no worker uses a snapshot that contains the server.
    pub(in crate::control) fn is_held(&mut self, loads: &Loads, templates: &Templates, now: Instant) -> bool {
        if self.is_referenced(loads, templates) {
            self.idle_since = None;
            return true;
        }
        let since = *self.idle_since.get_or_insert(now);
        self.counts.is_some() && now < since + COUNTERS_KEPT
    }

    /// Returns true while a connection or a template refers to it.
    ///
    /// After its last connection its templates are dropped, at the latest by the second pass of the sweep after that.
    fn is_referenced(&mut self, loads: &Loads, templates: &Templates) -> bool {
        if loads.get(self.id) != ServerLoad::default() {
            self.unused_since = None;
            return true;
        }
        let passes = templates.passes();
        let since = *self.unused_since.get_or_insert(passes);
        !templates.is_empty() && passes < since + 2
    }

    /// Returns true if its templates are to be dropped.
    pub(in crate::control) fn is_unused(&self) -> bool {
        self.unused_since.is_some()
    }

    /// Returns true if its id is reserved for its counters alone.
    pub(in crate::control) fn is_idle(&self) -> bool {
        self.idle_since.is_some()
    }
}
