//! Entries of a process before are moved to a table of another capacity.

use super::keeping::{KeptConnections, UnownedLoads};
use crate::flow::FlowKey;
use crate::shadow::{Checked, ShadowEntry, ShadowKey, ShadowWriter, Stored};
use crate::time::{SecondTick, Tick};

impl KeptConnections {
    /// Moves the entries of a stretch of the former tables that pass the check. Returns true once all were moved.
    pub(super) fn move_former(&mut self, buckets: usize, now: Tick) -> bool {
        let Some(mut former) = self.former.take() else { return true };
        let times = (self.clock.second(now), now);
        let Self { compact, wide, unowned, counters, .. } = self;
        let moved = [
            moved(&mut former.compact, compact, unowned, (times, buckets)),
            moved(&mut former.wide, wide, unowned, (times, buckets)),
        ];
        for Moved { met, full } in moved {
            counters.add_checked(met);
            counters.full.add(full);
        }
        let is_done = former.compact.is_all_checked() && former.wide.is_all_checked();
        self.former = (!is_done).then_some(former);
        is_done
    }
}

struct Moved {
    met: Checked,
    /// Entries without room in the new table.
    full: u64,
}

fn moved<K: ShadowKey + FlowKey>(
    former: &mut ShadowWriter<K>,
    table: &mut ShadowWriter<K>,
    unowned: &UnownedLoads,
    ((second, now), buckets): ((SecondTick, Tick), usize),
) -> Moved {
    let mut kept = Vec::new();
    let met = former.check(second, buckets, |entry| {
        // A worker may have opened the connection anew.
        let is_known = table.get(entry.key).is_some();
        let value = if is_known { None } else { unowned.judge(entry, second, now) }?;
        kept.push(ShadowEntry { key: entry.key, value });
        Some(value)
    });
    let mut full = 0;
    for entry in kept {
        match table.put(entry.key, entry.value, second) {
            Stored::Placed | Stored::Updated(_) => {}
            Stored::Replaced(expired) => unowned.expire(&expired),
            Stored::Full => {
                unowned.expire(&entry);
                full += 1;
            }
        }
    }
    Moved { met, full }
}
