//! Model check of one writer and one reader. Here a stripe is two compact buckets or one wide bucket.

use super::key::{ShadowKey, bucket_words};
use super::table::ShadowTable;
use super::value::ShadowValue;
use super::words::Words;
use super::writer::{ShadowWriter, Stored};
use crate::flow::{ConnState, SLOTS, V4Key, WideKey};
use crate::hash::Seed;
use crate::model::{MatchId, ServerId};
use crate::time::SecondTick;
use loom::sync::atomic::{AtomicU64, Ordering};
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

/// Preemptions per thread, at most. Two find every fault that these tests are for, in seconds.
const PREEMPTIONS: usize = 2;
/// Steps of a run: tables are filled before the threads begin.
const STEPS_MAX: usize = 20_000;
const SEED: Seed = Seed([1, 3, 5, 7]);
const NOW: SecondTick = SecondTick::new(0);

/// Words whose loads and stores loom sees, in the order of [`super::words::Region`].
#[derive(Clone, Debug)]
struct Modelled(Arc<[AtomicU64]>);

impl Words for Modelled {
    fn load(&self, at: usize) -> u64 {
        self.0[at].load(Ordering::Relaxed)
    }

    fn store(&self, at: usize, word: u64) {
        self.0[at].store(word, Ordering::Release);
    }

    fn back(&self, _: Range<usize>) -> bool {
        true
    }

    fn prefetch(&self, _: usize) {}
}

fn explore(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_branches = STEPS_MAX;
    builder.check(body);
}

fn words<K: ShadowKey>(buckets: usize) -> Modelled {
    Modelled((0..buckets * bucket_words::<K>()).map(|_| AtomicU64::new(0)).collect())
}

fn writer<K: ShadowKey>(words: Modelled, buckets: usize, checked: usize) -> ShadowWriter<K, Modelled> {
    ShadowWriter::new(ShadowTable::new(words, buckets, SEED, checked), buckets * SLOTS)
}

fn compact_key(n: u16) -> V4Key {
    V4Key::new(Ipv4Addr::LOCALHOST, n, MatchId(0))
}

fn wide_key(n: u16) -> WideKey {
    WideKey::new(Ipv6Addr::LOCALHOST.into(), n, MatchId(0), 80)
}

/// A value that tells its key.
fn value(n: u16) -> ShadowValue {
    let (deadline, server) = (NOW.after(60), ServerId(n));
    ShadowValue { deadline, owner: None, server, state: ConnState::Established, template: 0 }
}

/// The first numbers whose keys have the same first bucket.
fn neighbors<K: ShadowKey>(key: fn(u16) -> K, table: &ShadowTable<K, Modelled>) -> [u16; 2] {
    let first = |n: u16| table.both(key(n))[0];
    let other = (1..).find(|n| first(*n) == first(0)).expect("there are few buckets");
    [0, other]
}

/// An entry takes the slot of another one.
fn replaces<K: ShadowKey + Debug + Send + Sync + 'static>(key: fn(u16) -> K) {
    explore(move || {
        let mut writer = writer(words::<K>(2), 2, 2);
        let table = Arc::clone(&writer.table);
        let [old, new] = neighbors(key, &table);
        writer.put(key(old), value(old), NOW);
        let reader = loom::thread::spawn(move || {
            for n in [old, new] {
                if let Ok(Some(found)) = table.look_up(key(n)) {
                    assert_eq!(found, value(n), "another entry's");
                }
            }
        });
        writer.remove(key(old));
        assert_eq!(writer.put(key(new), value(new), NOW), Stored::Placed);
        reader.join().unwrap();
        assert_eq!(writer.table.look_up(key(new)), Ok(Some(value(new))));
    });
}

#[test]
fn loom_a_look_up_mixes_no_compact_entries() {
    replaces(compact_key);
}

#[test]
fn loom_a_look_up_mixes_no_wide_entries() {
    replaces(wide_key);
}

#[test]
fn loom_a_value_changes_at_once() {
    explore(|| {
        let mut writer = writer(words::<V4Key>(2), 2, 2);
        let table = Arc::clone(&writer.table);
        writer.put(compact_key(0), value(1), NOW);
        let reader = loom::thread::spawn(move || {
            if let Ok(found) = table.look_up(compact_key(0)) {
                assert!(found == Some(value(1)) || found == Some(value(2)), "{found:?}");
            }
        });
        writer.put(compact_key(0), value(2), NOW);
        reader.join().unwrap();
    });
}

#[test]
fn loom_an_entry_shows_once_it_is_judged() {
    explore(|| {
        let words = words::<V4Key>(2);
        writer(words.clone(), 2, 2).put(compact_key(0), value(1), NOW);
        let mut writer = writer::<V4Key>(words, 2, 0);
        writer.table.stripes.set_written(0..2);
        let table = Arc::clone(&writer.table);
        let reader = loom::thread::spawn(move || {
            if let Ok(Some(found)) = table.look_up(compact_key(0)) {
                assert_eq!(found, value(2), "as it was judged");
            }
        });
        let met = writer.check(NOW, 2, |_| Some(value(2)));
        assert_eq!(met.kept, 1);
        reader.join().unwrap();
    });
}
