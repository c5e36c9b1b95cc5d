//! Arbitrary words: they cost entries, and nothing else.

use super::*;

/// A judge that accepts some values.
fn accepts(value: ShadowValue) -> bool {
    value.server.0 < 1000 && value.deadline.since(NOW) < 900
}

/// Asserts that the table shows what the judge accepts, and works.
fn survives<K: ShadowKey + Debug>(words: Vec<u64>, capacity: usize, key: fn(u32) -> K) {
    let mut writer = reopened::<K>(words, capacity);
    let met = writer.check(NOW, usize::MAX, |entry| accepts(entry.value).then_some(entry.value));
    let listed = writer.listed();
    assert_eq!((listed.len(), listed.len() as u64), (writer.len(), met.kept));
    let reader = writer.reader();
    for entry in &listed {
        assert!(accepts(entry.value) && !NOW.reached(entry.value.deadline));
        assert_eq!(reader.find(entry.key, NOW), Some(entry.value));
        assert_eq!(writer.get(entry.key), Some(entry.value));
    }
    for n in 0..capacity as u32 {
        let stored = writer.put(key(n), value(7, NOW.after(60)), NOW);
        assert_eq!(writer.get(key(n)).is_some(), stored != Stored::Full);
    }
    writer.listed().iter().for_each(|entry| assert_eq!(writer.remove(entry.key), Some(entry.value)));
    assert!(writer.is_empty() && writer.listed().is_empty());
}

fn full<K: ShadowKey + Debug>(key: fn(u32) -> K, capacity: usize) -> Vec<u64> {
    let mut writer = new_writer(capacity);
    (0..capacity as u32).for_each(|n| _ = writer.put(key(n), value(n as u16, NOW.after(60)), NOW));
    writer.words()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn any_words_are_a_table_of_accepted_entries(
        capacity in 1usize..40,
        words in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0u64..3], 1..50),
    ) {
        let filled = |length: usize| words.iter().copied().cycle().take(length).collect();
        survives(filled(buckets_for(capacity) * bucket_words::<V4Key>()), capacity, compact_key);
        survives(filled(buckets_for(capacity) * bucket_words::<WideKey>()), capacity, colliding_key);
    }

    #[test]
    fn flipped_bits_cost_the_entries_that_they_are_in(
        capacity in 1usize..40,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u32..64), 0..20),
        copies in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 0..20),
    ) {
        fn damaged(mut words: Vec<u64>, flips: &[(prop::sample::Index, u32)], copies: &[[prop::sample::Index; 2]]) -> Vec<u64> {
            let length = words.len();
            copies.iter().for_each(|[from, to]| words[to.index(length)] = words[from.index(length)]);
            flips.iter().for_each(|(at, bit)| words[at.index(length)] ^= 1 << bit);
            words
        }
        survives(damaged(full(compact_key, capacity), &flips, &copies), capacity, compact_key);
        survives(damaged(full(wide_key, capacity), &flips, &copies), capacity, wide_key);
        survives(damaged(full(colliding_key, capacity), &flips, &copies), capacity, colliding_key);
    }
}
