//! Entry points for tests and benches only. These are other crates, out of reach of `cfg(test)`.

use super::Forwarder;
use crate::time::Tick;

#[doc(hidden)]
impl Forwarder {
    /// Removes every connection that has expired by `now`, without a bound on the number of buckets.
    pub fn sweep_all(&mut self, now: Tick) {
        let Self { context, tables, .. } = self;
        tables.v4.sweep_all(context, now);
        tables.wide.iter_mut().for_each(|wide| wide.sweep_all(context, now));
        self.count_entries();
    }
}
