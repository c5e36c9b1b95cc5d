//! Memory per connection: resident bytes after a table was created and filled, less those before, divided by
//! its connections.
//!
//! `cargo bench --bench memory`. Includes everything that grows with the table, page tables too. Compact keys are those
//! of IPv4 services of one port, wide keys all others.

#![allow(missing_docs)]

mod results;
mod traffic;

use directrix::flow::{ConnState, FlowEntry, FlowTable, Inserted, TableKey, V4Key, WideKey};
use directrix::model::{MatchId, ServerId};
use directrix::time::{Span, Tick};
use results::Results;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use traffic::{Pipeline, SEED, Site};

const SIZES: [u32; 2] = [1_000_000, 10_000_000];

fn main() {
    let mut results = Results::new("memory");
    // First, while no freed memory can be reused.
    let servers = grown(|| Site::new(50_000));
    results.add("50,000 servers: snapshot, pool and loads", "bytes per server", servers / 50_000.0);
    for size in SIZES {
        let mut add = |name: &str, bytes: f64| {
            results.add(&format!("{name} {size}"), "bytes per connection", bytes / f64::from(size));
        };
        // A worker's forwarder with all its parts, filled by SYNs and ACKs.
        add("compact keys, worker", grown(|| Pipeline::established(size, 10)));
        let client = |n: u32| Ipv4Addr::from_bits(n >> 14);
        let compact = |n: u32| V4Key::new(client(n), n as u16 & 0x3fff, MatchId(0));
        add("compact keys, table alone", grown(|| table(size, compact)));
        let client = |n: u32| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n >> 14));
        let wide = |n: u32| WideKey::new(client(n).into(), n as u16 & 0x3fff, MatchId(0), 80);
        add("wide keys, table alone", grown(|| table(size, wide)));
    }
    results.write();
}

fn table<K: TableKey>(size: u32, key: impl Fn(u32) -> K) -> FlowTable<K> {
    let mut table = FlowTable::new(size as usize, SEED);
    for n in 0..size {
        let deadline = Tick(0).after(Span::from_secs(900));
        let entry = FlowEntry {
            key: key(n),
            deadline,
            server: ServerId(0),
            state: ConnState::Established,
            template: 0,
        };
        table.renew_eviction_budget();
        let inserted = table.insert(entry, table.bucket_pair(entry.key), Tick(0));
        assert!(matches!(inserted, Inserted::Placed), "connection {n} of {size} finds its place");
    }
    table
}

/// Resident bytes that `made` takes, with its page tables.
fn grown<T>(make: impl FnOnce() -> T) -> f64 {
    let before = resident();
    let made = make();
    let after = resident();
    drop(made);
    after - before
}

fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux has it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number")
    };
    (kib("VmRSS:") + kib("VmPTE:")) * 1024.0
}
