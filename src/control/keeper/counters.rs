//! Counters of the keeper.

use crate::shadow::Checked;
use crate::stats::Counter;

/// Counters of the keeper, which alone writes them.
#[derive(Debug, Default)]
pub struct KeeperCounters {
    /// Entries now.
    pub entries: Counter,
    /// Events that found no room.
    pub full: Counter,
    /// Events that the workers lost.
    pub lost: Counter,
    /// Entries of the process before that were kept.
    pub kept: Counter,
    /// Likewise: expired.
    pub expired: Counter,
    /// Likewise: of no service or server of the configuration, or beyond its timeouts.
    pub refused: Counter,
    /// Likewise: damaged, or there twice.
    pub damaged: Counter,
    /// 1 once all entries of the process before were checked.
    pub is_recovered: Counter,
}

impl KeeperCounters {
    pub(super) fn add_checked(&self, met: Checked) {
        let Checked { kept, expired, refused, twins, damaged } = met;
        self.kept.add(kept);
        self.expired.add(expired);
        self.refused.add(refused);
        self.damaged.add(twins + damaged);
    }
}
