//! Repeated questions of a station for a VIP: a sign that it does not get the answers.

use crate::wire::MacAddr;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Broadcast requests in a row that are a sign. Linux sends three, a second apart, before it gives up for a while.
const MANY: u32 = 6;
/// Longest time between two of a row, in milliseconds.
const APART: u64 = 10_000;
/// Least time from the first to the last of them, in milliseconds.
const LASTING: u64 = 5_000;
/// Most rows. Further stations are not watched.
const ROWS_MAX: usize = 256;

/// Rows of requests by station and VIP.
#[derive(Debug, Default)]
pub(super) struct RequestRows {
    rows: BTreeMap<(IpAddr, MacAddr), RequestRow>,
}

#[derive(Debug)]
struct RequestRow {
    first: u64,
    last: u64,
    count: u32,
}

impl RequestRows {
    /// Records a request. Returns true if the row is a sign.
    pub(super) fn record(&mut self, vip: IpAddr, mac: MacAddr, now: u64) -> bool {
        self.rows.retain(|_, row| row.last + APART > now);
        if let Some(row) = self.rows.get_mut(&(vip, mac)) {
            (row.last, row.count) = (now, row.count.saturating_add(1));
            return row.count >= MANY && now - row.first >= LASTING;
        }
        if self.rows.len() < ROWS_MAX {
            self.rows.insert((vip, mac), RequestRow { first: now, last: now, count: 1 });
        }
        false
    }

    /// Forgets the rows of a VIP.
    pub(super) fn remove(&mut self, vip: IpAddr) {
        self.rows.retain(|(of, _), _| *of != vip);
    }
}
