//! Checks in steps, beside operations.

use super::*;
use std::collections::HashSet;

/// A writer over the words of another one, and the entries of that.
fn former<K: ShadowKey + Debug>(
    key: fn(u32) -> K,
    capacity: usize,
    operations: &[Operation],
) -> (ShadowWriter<K, Recorder>, Model<K>) {
    let (mut writer, mut model) = (new_writer(capacity), Model::new(key));
    operations.iter().for_each(|operation| model.apply(&mut writer, operation));
    (reopened(writer.words(), capacity), model)
}

/// Checks between operations. Entries of the former process show once they are judged, unless an operation came first.
fn interleaves<K: ShadowKey + Debug>(
    key: fn(u32) -> K,
    capacity: usize,
    keys: u32,
    [before, steps]: [&[Operation]; 2],
    step: usize,
) {
    let (mut writer, former) = former(key, capacity, before);
    let mut model = Model { held: HashMap::new(), ..former.clone() };
    let (mut judged, mut touched) = (HashSet::new(), HashSet::new());
    model.compare(&writer, keys);
    for operation in steps {
        if let Operation::Put { key, .. } | Operation::Remove(key) = operation {
            touched.insert(*key);
        }
        model.apply(&mut writer, operation);
        model.compare(&writer, keys);
        let mut kept = Vec::new();
        writer.check(model.now, step, |entry| {
            let n = former.number(entry.key);
            assert!(judged.insert(n), "{n} is judged twice");
            kept.push((n, entry.value));
            Some(entry.value)
        });
        for (n, value) in kept {
            assert_eq!(former.held[&n], value);
            assert_eq!(model.held.insert(n, value), None, "{n} was shown before");
        }
        model.compare(&writer, keys);
    }
    let met = writer.check(model.now, usize::MAX, |entry| {
        let n = former.number(entry.key);
        model.held.insert(n, entry.value);
        Some(entry.value)
    });
    assert_eq!((met.refused, met.damaged, met.twins), (0, 0, 0));
    for (n, held) in former.held.iter().filter(|(n, _)| !touched.contains(n)) {
        let is_kept = model.held.get(n) == Some(held);
        assert!(is_kept || model.now.reached(held.deadline), "{n} is lost");
    }
    model.compare(&writer, keys);
    assert!(writer.is_all_checked());
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn checks_in_steps_show_each_entry_once(
        capacity in 1usize..60,
        before in operations(64, 120),
        steps in operations(64, 60),
        step in 0usize..3,
    ) {
        interleaves(compact_key, capacity, 64, [&before, &steps], step);
        interleaves(wide_key, capacity, 64, [&before, &steps], step);
        interleaves(colliding_key, capacity, 64, [&before, &steps], step);
    }
}

#[test]
fn a_judge_changes_and_removes_entries() {
    let puts: Vec<_> = (0..60).map(|key| Operation::Put { key, server: key as u16, seconds: 60 }).collect();
    let (mut writer, _) = former(compact_key, 100, &puts);
    let odd = |entry: &ShadowEntry<V4Key>| {
        let ServerId(server) = entry.value.server;
        (server % 2 == 1).then_some(ShadowValue {
            server: ServerId(server + 100),
            owner: None,
            ..entry.value
        })
    };
    assert_eq!(writer.check(NOW, usize::MAX, odd), Checked { kept: 30, refused: 30, ..Checked::default() });
    let reader = writer.reader();
    for n in 0..60 {
        let found = reader.find(compact_key(n), NOW).map(|value| (value.server, value.owner));
        assert_eq!(found, (n % 2 == 1).then_some((ServerId(n as u16 + 100), None)));
    }
    assert_eq!(writer.len(), 30);
    assert_eq!(writer.check(NOW, usize::MAX, |_| panic!("all are checked")), Checked::default());
}

#[test]
fn a_reader_waits_for_the_check() {
    let puts: Vec<_> = (0..60).map(|key| Operation::Put { key, server: 1, seconds: 60 }).collect();
    let (mut writer, _) = former(compact_key, 100, &puts);
    let reader = writer.reader();
    let shown = || (0..60).filter(|n| reader.find(compact_key(*n), NOW).is_some()).count() as u64;
    let mut kept = 0;
    while !writer.is_all_checked() {
        assert_eq!(shown(), kept);
        kept += writer.check(NOW, 1, |entry| Some(entry.value)).kept;
    }
    assert_eq!((shown(), kept), (60, 60));
}

#[test]
fn of_twins_the_later_deadline_stays() {
    for later_first in [true, false] {
        let writer = new_writer::<V4Key>(100);
        let key = (0..)
            .map(compact_key)
            .find(|key| writer.table.both(*key)[0] > writer.table.both(*key)[1])
            .unwrap();
        let [first, second] = writer.table.both(key);
        let (early, late) = (value(1, NOW.after(10)), value(2, NOW.after(20)));
        let values = if later_first { [late, early] } else { [early, late] };
        for (bucket, value) in [first, second].into_iter().zip(values) {
            writer.table.store(table::ShadowSlot { bucket, slot: 0 }, ShadowEntry { key, value });
        }
        let mut writer = reopened::<V4Key>(writer.words(), 100);
        let met = writer.check(NOW, usize::MAX, |entry| Some(entry.value));
        assert_eq!(met, Checked { kept: 1, twins: 1, ..Checked::default() });
        assert_eq!((writer.get(key), writer.len()), (Some(late), 1));
    }
}
