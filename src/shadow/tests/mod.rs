//! Tests over words in memory. Those of files are in `files.rs`.

mod checks;
mod damage;
mod files;
mod kills;
mod operations;
mod threads;

use super::key::{ShadowKey, bucket_words};
use super::table::ShadowTable;
use super::*;
use crate::flow::{ConnState, TableKey, V4Key, WideKey, buckets_for};
use crate::hash::Seed;
use crate::model::{MatchId, ServerId};
use crate::time::SecondTick;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
/// Every test runs across the wrap of seconds.
const NOW: SecondTick = SecondTick::new(u32::MAX - 5);

fn compact_key(n: u32) -> V4Key {
    V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n >> 8), 1024 + (n & 0xff) as u16, MatchId((n % 3) as u16))
}

fn wide_key(n: u32) -> WideKey {
    let client = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n));
    WideKey::new(client.into(), 1024 + (n & 0xff) as u16, MatchId((n % 3) as u16), 80)
}

/// A key with a tag that a third of all keys have.
fn colliding_key(n: u32) -> WideKey {
    WideKey::from_parts((n % 3).into(), [n.into(), 0])
}

fn value(server: u16, deadline: SecondTick) -> ShadowValue {
    let owner = Some((server % 256) as u8).filter(|owner| *owner < 255);
    let state = ConnState::ALL[usize::from(server) % ConnState::COUNT];
    ShadowValue { deadline, owner, server: ServerId(server), state, template: (server >> 8) as u8 }
}

/// Words in memory that record each store.
#[derive(Debug, Default)]
struct Recorder {
    words: RefCell<Vec<u64>>,
    stores: RefCell<Vec<(usize, u64)>>,
}

impl Words for Recorder {
    fn load(&self, at: usize) -> u64 {
        self.words.borrow()[at]
    }

    fn store(&self, at: usize, word: u64) {
        self.words.borrow_mut()[at] = word;
        self.stores.borrow_mut().push((at, word));
    }

    fn back(&self, _: Range<usize>) -> bool {
        true
    }

    fn prefetch(&self, _: usize) {}
}

fn new_writer<K: ShadowKey>(capacity: usize) -> ShadowWriter<K, Recorder> {
    let buckets = buckets_for(capacity);
    over(vec![0; buckets * bucket_words::<K>()], capacity, buckets)
}

/// The writer of a process that opens these words.
fn reopened<K: ShadowKey>(words: Vec<u64>, capacity: usize) -> ShadowWriter<K, Recorder> {
    let writer = over(words, capacity, 0);
    writer.table.stripes.set_written(0..writer.buckets());
    writer
}

fn over<K: ShadowKey>(words: Vec<u64>, capacity: usize, checked: usize) -> ShadowWriter<K, Recorder> {
    let buckets = buckets_for(capacity);
    let words = Recorder { words: words.into(), stores: RefCell::default() };
    ShadowWriter::new(ShadowTable::new(words, buckets, SEED, checked), capacity)
}

impl<K: ShadowKey> ShadowWriter<K, Recorder> {
    fn words(&self) -> Vec<u64> {
        self.table.words.words.borrow().clone()
    }

    fn stores(&self) -> Vec<(usize, u64)> {
        self.table.words.stores.borrow().clone()
    }
}

impl<K: ShadowKey, W: Words> ShadowWriter<K, W> {
    fn listed(&self) -> Vec<ShadowEntry<K>> {
        (0..self.buckets()).flat_map(|bucket| self.entries(bucket)).collect()
    }
}

/// Operation on a table, with keys by number.
#[derive(Clone, Debug)]
enum Operation {
    Put { key: u32, server: u16, seconds: u32 },
    Remove(u32),
    Sweep(usize),
    Pass(u32),
}

fn operation(keys: u32) -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..keys, any::<u16>(), 0u32..40).prop_map(|(key, server, seconds)| Operation::Put { key, server, seconds }),
        2 => (0..keys).prop_map(Operation::Remove),
        1 => (0usize..8).prop_map(Operation::Sweep),
        1 => (0u32..10).prop_map(Operation::Pass),
    ]
}

fn operations(keys: u32, count: usize) -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operation(keys), 0..count)
}

/// The naive table, and the time.
#[derive(Clone, Debug)]
struct Model<K> {
    held: HashMap<u32, ShadowValue>,
    key: fn(u32) -> K,
    now: SecondTick,
}

impl<K: ShadowKey + Debug> Model<K> {
    fn new(key: fn(u32) -> K) -> Self {
        Self { held: HashMap::new(), key, now: NOW }
    }

    fn number(&self, key: K) -> u32 {
        let mut held = self.held.keys();
        *held.find(|n| (self.key)(**n) == key).expect("the entry of another key is evicted")
    }

    fn is_expired(&self, n: u32) -> bool {
        self.now.reached(self.held[&n].deadline)
    }

    /// Does an operation to both, and compares the outcomes.
    fn apply<W: Words>(&mut self, writer: &mut ShadowWriter<K, W>, operation: &Operation) {
        match *operation {
            Operation::Put { key, server, seconds } => {
                self.put(writer, key, value(server, self.now.after(seconds)))
            }
            Operation::Remove(key) => {
                assert_eq!(writer.remove((self.key)(key)), self.held.remove(&key))
            }
            Operation::Sweep(buckets) => self.sweep(writer, buckets),
            Operation::Pass(seconds) => self.now = self.now.after(seconds),
        }
    }

    fn put<W: Words>(&mut self, writer: &mut ShadowWriter<K, W>, n: u32, value: ShadowValue) {
        let before = self.held.get(&n).copied();
        match writer.put((self.key)(n), value, self.now) {
            Stored::Placed => assert_eq!(before, None),
            Stored::Updated(old) => assert_eq!(before, Some(old)),
            Stored::Replaced(evicted) => {
                assert_eq!(before, None);
                let other = self.number(evicted.key);
                assert!(self.is_expired(other));
                assert_eq!(self.held.remove(&other), Some(evicted.value));
            }
            Stored::Full => {
                assert_eq!(before, None);
                return;
            }
        }
        self.held.insert(n, value);
    }

    fn sweep<W: Words>(&mut self, writer: &mut ShadowWriter<K, W>, buckets: usize) {
        let mut swept = Vec::new();
        writer.sweep(self.now, buckets, |entry| swept.push(entry));
        for entry in swept {
            let n = self.number(entry.key);
            assert!(self.is_expired(n));
            assert_eq!(self.held.remove(&n), Some(entry.value));
        }
    }

    /// Asserts that the table has the same entries, to its writer and to a reader.
    fn compare<W: Words>(&self, writer: &ShadowWriter<K, W>, keys: u32) {
        let reader = writer.reader();
        for n in 0..keys {
            let (key, held) = ((self.key)(n), self.held.get(&n).copied());
            assert_eq!(writer.get(key), held, "{n}");
            let (found, alive) = (reader.find(key, self.now), held.filter(|_| !self.is_expired(n)));
            assert!(
                found == alive || found.is_none() && !writer.is_all_checked(),
                "{n}: {found:?}, {alive:?}"
            );
        }
        assert_eq!(writer.len(), self.held.len());
        let listed = writer.listed();
        assert_eq!(listed.len(), self.held.len());
        assert!(listed.iter().all(|entry| self.held[&self.number(entry.key)] == entry.value));
    }
}

/// Configuration without a file of seeds: a failure becomes a test with a name.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
