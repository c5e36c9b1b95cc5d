//! Readers beside the writer.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

struct SharedVec(Vec<AtomicU64>);

impl Words for SharedVec {
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

/// A value that tells its key.
fn marked(n: u32, round: u32) -> ShadowValue {
    value((n * 7) as u16, NOW.after(1000 + round % 1000))
}

/// One thread changes a crowded table, others look up: each finds the value of its key, and keys that are never removed
/// nearly always.
fn races<K: ShadowKey + Debug + Send + 'static>(key: fn(u32) -> K) {
    const CAPACITY: usize = 64;
    const KEPT: u32 = 20;
    let buckets = buckets_for(CAPACITY);
    let words = (0..buckets * bucket_words::<K>()).map(|_| AtomicU64::new(0)).collect();
    let mut writer =
        ShadowWriter::<K, _>::new(ShadowTable::new(SharedVec(words), buckets, SEED, buckets), CAPACITY);
    (0..KEPT).for_each(|n| assert_eq!(writer.put(key(n), marked(n, 0), NOW), Stored::Placed));
    let (stop, reader) = (AtomicBool::new(false), writer.reader());
    let look_up = || {
        let (mut found, mut missed, mut n) = (0u64, 0u64, 0);
        while !stop.load(Ordering::Relaxed) {
            n = (n + 1) % 200;
            match reader.find(key(n), NOW) {
                Some(value) => {
                    assert_eq!(value.server, ServerId((n * 7) as u16), "{n}");
                    found += 1;
                }
                None => missed += u64::from(n < KEPT),
            }
        }
        (found, missed)
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(look_up), scope.spawn(look_up)];
        let begin = Instant::now();
        let mut round = 0;
        while begin.elapsed() < Duration::from_millis(300) {
            round += 1;
            let n = KEPT + round % (200 - KEPT);
            writer.put(key(n), marked(n, round), NOW);
            writer.put(key(round % KEPT), marked(round % KEPT, round), NOW);
            let gone = KEPT + (round * 31) % (200 - KEPT);
            writer.remove(key(gone));
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            let (found, missed) = reader.join().unwrap();
            assert!(found > 1000 && missed < found / 10, "{found} found, {missed} missed");
        }
    });
}

#[test]
fn a_reader_finds_whole_entries_beside_the_writer() {
    races(compact_key);
    races(wide_key);
    races(colliding_key);
}
