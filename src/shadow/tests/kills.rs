//! A kill at each store of a word.

use super::*;

/// The words after each number of stores, and the states before and after the operation that stores.
fn killed<K: ShadowKey + Debug>(key: fn(u32) -> K, capacity: usize, keys: u32, operations: &[Operation]) {
    let (mut writer, mut model) = (new_writer(capacity), Model::new(key));
    for operation in operations {
        let (before, mut words, done) = (model.clone(), writer.words(), writer.stores().len());
        model.apply(&mut writer, operation);
        for (at, word) in &writer.stores()[done..] {
            recovers(&words, capacity, keys, [&before, &model]);
            words[*at] = *word;
        }
        recovers(&words, capacity, keys, [&model, &model]);
    }
}

/// Asserts that each entry is that of before or that of after, and that the table works.
fn recovers<K: ShadowKey + Debug>(
    words: &[u64],
    capacity: usize,
    keys: u32,
    [before, after]: [&Model<K>; 2],
) {
    let mut writer = reopened::<K>(words.to_vec(), capacity);
    let now = after.now;
    let mut judged = Vec::new();
    let met = writer.check(now, usize::MAX, |entry| {
        judged.push(entry.key);
        Some(entry.value)
    });
    assert_eq!(met.damaged + met.refused, 0, "no entry is half written");
    assert!(met.twins <= 1, "one displacement is under way at most");
    assert_eq!(met.kept as usize, judged.len(), "each is judged once");
    let mut found = Model::new(after.key);
    for n in 0..keys {
        let alive = |model: &Model<K>| model.held.get(&n).copied().filter(|held| !now.reached(held.deadline));
        let value = writer.get((after.key)(n));
        assert!([alive(before), alive(after)].contains(&value), "{n}: {value:?}");
        value.into_iter().for_each(|value| assert_eq!(found.held.insert(n, value), None));
    }
    found.now = now;
    found.compare(&writer, keys);
    (0..keys).for_each(|n| found.apply(&mut writer, &Operation::Remove(n)));
    found.compare(&writer, keys);
}

proptest! {
    #![proptest_config(cases(25))]

    #[test]
    fn a_kill_at_any_store_costs_no_other_entry(capacity in 1usize..40, operations in operations(48, 80)) {
        killed(compact_key, capacity, 48, &operations);
        killed(wide_key, capacity, 48, &operations);
        killed(colliding_key, capacity, 48, &operations);
    }
}

/// Ensures that the kills above meet displacements.
#[test]
fn a_kill_in_a_displacement_leaves_twins() {
    let (capacity, keys) = (400, 400);
    let (mut writer, mut twins) = (new_writer::<V4Key>(capacity), 0);
    for n in 0..keys {
        let (mut words, done) = (writer.words(), writer.stores().len());
        writer.put(compact_key(n), value(1, NOW.after(60)), NOW);
        for (at, word) in &writer.stores()[done..] {
            words[*at] = *word;
            twins += reopened::<V4Key>(words.clone(), capacity)
                .check(NOW, usize::MAX, |entry| Some(entry.value))
                .twins;
        }
    }
    assert!(twins > 0, "no displacement was met");
}
