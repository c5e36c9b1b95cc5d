use super::super::{ConnState, V4Key, WideKey};
use super::*;
use crate::model::{MatchId, ServerId};
use crate::time::Span;
use proptest::prelude::*;
use std::collections::HashMap;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
const NOW: Tick = Tick(u32::MAX - 5); // every test runs across the tick's wrap

fn key(n: u32) -> V4Key {
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

fn entry(n: u32, state: ConnState) -> FlowEntry<V4Key> {
    entry_of(key(n), n, state)
}

fn entry_of<K>(key: K, n: u32, state: ConnState) -> FlowEntry<K> {
    let (deadline, template) = (NOW.after(Span::from_secs(60)), (n % 5) as u8);
    FlowEntry { key, deadline, server: ServerId(n as u16), state, template }
}

fn put<K: TableKey>(table: &mut FlowTable<K>, entry: FlowEntry<K>) -> Inserted<K> {
    let pair = table.bucket_pair(entry.key);
    table.renew_eviction_budget();
    table.insert(entry, pair, NOW)
}

fn get(table: &mut FlowTable<V4Key>, n: u32) -> Option<FlowEntry<V4Key>> {
    get_key(table, key(n))
}

fn get_key<K: TableKey>(table: &mut FlowTable<K>, key: K) -> Option<FlowEntry<K>> {
    let pair = table.bucket_pair(key);
    let EntryMut { deadline, state, server, .. } = table.find(key, pair, table.locate(key, pair))?;
    let (deadline, state) = (*deadline, *state);
    let held = table.both(pair).into_iter().flat_map(|bucket| table.entries(bucket));
    let entry = held.into_iter().find(|entry| entry.key == key)?;
    assert_eq!((entry.deadline, entry.state, entry.server), (deadline, state, server));
    Some(entry)
}

#[test]
fn four_ipv4_entries_fill_a_cache_line() {
    assert_eq!((size_of::<Bucket<V4Key>>(), align_of::<Bucket<V4Key>>()), (64, 64));
}

#[test]
fn four_wide_entries_fill_two_cache_lines() {
    assert_eq!((size_of::<Bucket<WideKey>>(), align_of::<Bucket<WideKey>>()), (128, 64));
}

#[test]
fn the_table_fills_to_its_capacity() {
    for capacity in [1, 2, 3, 10, 1024, 100_000] {
        let mut table = FlowTable::new(capacity, SEED);
        for n in 0..capacity as u32 {
            assert_eq!(
                put(&mut table, entry(n, ConnState::Established)),
                Inserted::Placed,
                "{n} of {capacity}"
            );
        }
        assert_eq!(table.len(), capacity);
        assert!((0..capacity as u32).all(|n| get(&mut table, n) == Some(entry(n, ConnState::Established))));
    }
}

#[test]
fn a_full_table_keeps_confirmed_connections() {
    let mut table = FlowTable::new(1000, SEED);
    for n in 0..1000 {
        put(&mut table, entry(n, ConnState::Established));
    }
    for n in 1000..3000 {
        assert_eq!(put(&mut table, entry(n, ConnState::SynRecv)), Inserted::Full);
    }
    assert!((0..1000).all(|n| get(&mut table, n).is_some()));
}

#[test]
fn a_batch_scans_a_bounded_number_of_buckets() {
    let mut table = FlowTable::new(3 * EVICTION_BUCKETS * SLOTS, SEED);
    let full = table.capacity as u32;
    for n in 0..full {
        assert_eq!(put(&mut table, entry(n, ConnState::Established)), Inserted::Placed);
    }
    table.renew_eviction_budget();
    let from = table.eviction_cursor;
    for n in full..full + 64 {
        let (new, pair) = (entry(n, ConnState::SynRecv), table.bucket_pair(key(n)));
        assert_eq!(table.insert(new, pair, NOW), Inserted::Full);
    }
    assert_eq!(table.eviction_cursor - from, EVICTION_BUCKETS, "all 64 together");
}

#[test]
fn unconfirmed_tcp_and_udp_entries_are_evicted() {
    for (confirmed, unconfirmed) in
        [(ConnState::Established, ConnState::SynRecv), (ConnState::Udp, ConnState::UdpNew)]
    {
        evicts(confirmed, unconfirmed);
    }
}

fn evicts(confirmed: ConnState, unconfirmed: ConnState) {
    let mut table = FlowTable::new(1000, SEED);
    for n in 0..1000 {
        put(&mut table, entry(n, if n % 2 == 0 { confirmed } else { unconfirmed }));
    }
    let mut evicted = 0;
    for n in 1000..20_000 {
        match put(&mut table, entry(n, unconfirmed)) {
            Inserted::Replaced(old) => evicted += u32::from(old.state == unconfirmed),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!((evicted, table.len()), (19_000, 1000));
    assert!((0..1000).step_by(2).all(|n| get(&mut table, n).is_some()), "a confirmed entry was evicted");
}

#[test]
fn the_oldest_unconfirmed_entry_is_evicted_first() {
    let mut table = FlowTable::new(3, SEED); // two buckets
    for n in 0..3 {
        let deadline = NOW.after(Span::from_secs(60 - n));
        put(&mut table, FlowEntry { deadline, ..entry(n, ConnState::SynRecv) });
    }
    let Inserted::Replaced(evicted) = put(&mut table, entry(9, ConnState::SynRecv)) else {
        panic!("no entry was evicted")
    };
    assert_eq!(evicted.key, key(2));
}

/// Beyond 8/9 of a shared table a service evicts its own entries.
#[test]
fn a_service_stops_at_eight_ninths_of_a_shared_table() {
    let of = |service, n: u32, state| FlowEntry {
        key: V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n), 7, MatchId(service)),
        ..entry(n, state)
    };
    let mut table = FlowTable::new(900, SEED);
    table.set_shared(true);
    for n in 0..100_000 {
        let inserted = put(&mut table, of(1, n, ConnState::Udp));
        assert_eq!(inserted == Inserted::Placed, n < 801, "{n}: {inserted:?}");
    }
    let mut next = 100_000;
    let mut open = |table: &mut FlowTable<V4Key>, service, state| {
        next += 1;
        put(table, of(service, next, state))
    };
    // Two more services, each of which finds eight ninths of the rest.
    for (service, least) in [(2, 88), (3, 9)] {
        let placed = (0..1000).filter(|_| open(&mut table, service, ConnState::SynRecv) == Inserted::Placed);
        assert!(placed.count() >= least, "{service}");
    }
    for _ in 0..100 {
        let Inserted::Replaced(old) = open(&mut table, 2, ConnState::SynRecv) else { panic!("full") };
        assert_eq!(old.key.match_id(), MatchId(2), "its own: those of the others are fewer or confirmed");
    }
    table.set_shared(false);
    while open(&mut table, 3, ConnState::Established) == Inserted::Placed {}
    assert_eq!(table.len(), 900, "without sharing it may take the rest");
}

#[test]
fn a_service_evicts_from_one_that_holds_more() {
    let of = |service, n: u32, state| FlowEntry {
        key: V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n), 7, MatchId(service)),
        ..entry(n, state)
    };
    let mut table = FlowTable::new(900, SEED);
    table.set_shared(true);
    for n in 0..2000 {
        put(&mut table, of(1, n, ConnState::UdpNew));
    }
    let opened =
        (2000..10_000).filter(|n| put(&mut table, of(2, *n, ConnState::Established)) != Inserted::Full);
    let opened = opened.count();
    assert!((440..=460).contains(&opened), "{opened}: until both hold as many");
    for n in 10_000..20_000 {
        let Inserted::Replaced(old) = put(&mut table, of(1, n, ConnState::UdpNew)) else { panic!("full") };
        assert_eq!(old.key.match_id(), MatchId(1));
    }
}

#[test]
fn expired_entries_are_evicted_in_any_state() {
    let mut table = FlowTable::new(100, SEED);
    for n in 0..100 {
        let deadline = if n == 42 { NOW } else { entry(n, ConnState::Established).deadline };
        put(&mut table, FlowEntry { deadline, ..entry(n, ConnState::Established) });
    }
    let Inserted::Replaced(evicted) = put(&mut table, entry(100, ConnState::SynRecv)) else {
        panic!("no entry was evicted")
    };
    assert_eq!(evicted.key, key(42));
}

#[test]
fn expired_entries_are_evicted_and_never_displaced() {
    let mut table = FlowTable::new(600, SEED);
    let (mut places, mut replaced) = (HashMap::new(), 0);
    for n in 0..600 {
        let expired = FlowEntry { deadline: NOW, ..entry(n, ConnState::Established) };
        match put(&mut table, expired) {
            Inserted::Placed => {}
            Inserted::Replaced(old) => replaced += usize::from(places.remove(&old.server).is_some()),
            Inserted::Full => panic!("{n}: no entry was evicted"),
        }
        for bucket in 0..table.buckets() {
            for held in table.entries(bucket) {
                assert_eq!(*places.entry(held.server).or_insert(bucket), bucket, "{held:?} was displaced");
            }
        }
    }
    assert!(replaced > 0 && replaced + table.len() == 600, "{replaced} replaced");
}

/// Displacement chains reach buckets beyond the candidate buckets, where one in ten entries has expired.
#[test]
fn displacement_chains_avoid_expired_entries() {
    let mut table = FlowTable::new(10_000, SEED);
    let mut places = HashMap::new();
    for n in 0..10_000 {
        let deadline = if n % 10 == 0 { NOW } else { entry(n, ConnState::Established).deadline };
        if let Inserted::Replaced(old) =
            put(&mut table, FlowEntry { deadline, ..entry(n, ConnState::Established) })
        {
            places.remove(&old.server);
        }
        if n % 500 == 499 {
            for (bucket, held) in
                (0..table.buckets()).flat_map(|b| table.entries(b).map(move |held| (b, held)))
            {
                let expired = NOW.reached(held.deadline);
                assert!(
                    !expired || *places.entry(held.server).or_insert(bucket) == bucket,
                    "{held:?} was displaced"
                );
            }
        }
    }
    assert!(table.len() > 9000);
}

#[test]
fn a_sweep_removes_only_expired_entries() {
    let mut table = FlowTable::new(5000, SEED);
    for n in 0..5000 {
        let deadline = NOW.after(Span::from_millis(n + 1));
        assert_eq!(
            put(&mut table, FlowEntry { deadline, ..entry(n, ConnState::Established) }),
            Inserted::Placed
        );
    }
    let mut expired = Vec::new();
    let later = NOW.after(Span::from_millis(2000));
    for _ in 0..7 {
        let before = expired.len();
        table.sweep(later, table.buckets().div_ceil(7), |entry| expired.push(entry.server.0));
        assert!(expired.len() - before < 2000, "one call swept too many buckets");
    }
    expired.sort_unstable();
    assert!(expired.into_iter().eq(0..2000));
    table.sweep(later, usize::MAX, |entry| panic!("{entry:?} has not expired"));
    assert_eq!(table.len(), 3000);
}

#[test]
fn a_listing_shows_every_entry_once() {
    let mut table = FlowTable::new(5000, SEED);
    for n in 0..5000 {
        put(&mut table, entry(n, ConnState::Established));
    }
    let mut seen: Vec<u16> = (0..table.buckets() + 1)
        .flat_map(|b| table.entries(b).map(|e| e.server.0).collect::<Vec<_>>())
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..5000));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, ConnState),
    /// Sets whether several services share the table.
    Share(bool),
    Remove(u32),
    Find(u32),
    Sweep(usize),
    Wait(u32),
}

/// States of the inserted entries.
const STATES: [ConnState; 4] =
    [ConnState::SynRecv, ConnState::Established, ConnState::UdpNew, ConnState::Udp];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = 0u32..80;
    let step = prop_oneof![
        4 => (keys.clone(), prop::sample::select(&STATES[..])).prop_map(|(n, state)| Step::Insert(n, state)),
        1 => any::<bool>().prop_map(Step::Share),
        1 => keys.clone().prop_map(Step::Remove),
        4 => keys.prop_map(Step::Find),
        1 => (0usize..20).prop_map(Step::Sweep),
        1 => (0u32..30_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn the_table_matches_the_model(steps in steps(), capacity in prop_oneof![1usize..6, 32usize..64]) {
        matches_the_model(steps.clone(), capacity, key);
        matches_the_model(steps.clone(), capacity, wide_key);
        matches_the_model(steps, capacity, colliding_key);
    }
}

#[test]
fn a_million_steps_match_the_model() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (((random >> 32) * bound) >> 32) as u32
    };
    for capacity in [1, 3, 8, 40, 64] {
        let step = (0..200_000).map(|_| match below(11) {
            0..4 => Step::Insert(below(80), STATES[below(4) as usize]),
            4 => Step::Remove(below(80)),
            5..9 => Step::Find(below(80)),
            9 if below(4) == 0 => Step::Share(below(2) == 0),
            9 => Step::Sweep(below(20) as usize),
            _ => Step::Wait(below(30_000)),
        });
        let steps: Vec<_> = step.collect();
        matches_the_model(steps.clone(), capacity, key);
        matches_the_model(steps.clone(), capacity, wide_key);
        matches_the_model(steps, capacity, colliding_key);
    }
}

/// Compares the table with a map: it never loses, invents or alters an entry, except by the eviction rule.
fn matches_the_model<K: TableKey + Debug>(steps: Vec<Step>, capacity: usize, key: fn(u32) -> K) {
    let mut table = FlowTable::new(capacity, SEED);
    let mut model: Model<K> = HashMap::new();
    let (mut now, mut shared) = (NOW, false);
    for step in steps {
        match step {
            Step::Insert(n, state) if !model.contains_key(&n) => {
                insert_both(&mut table, &mut model, entry_of(key(n), n, state), now, shared);
            }
            Step::Share(of_several) => {
                shared = of_several;
                table.set_shared(shared);
            }
            Step::Insert(n, _) | Step::Find(n) => {
                assert_eq!(get_key(&mut table, key(n)), model.get(&n).copied())
            }
            Step::Remove(n) => {
                let pair = table.bucket_pair(key(n));
                assert_eq!(table.remove(key(n), pair), model.remove(&n));
            }
            Step::Sweep(buckets) => table.sweep(now, buckets, |expired| {
                assert!(now.reached(remove(&mut model, &expired).deadline));
            }),
            Step::Wait(ms) => now = now.after(Span::from_millis(ms)),
        }
        assert_eq!(table.len(), model.len());
    }
    assert!((0..80).all(|n| get_key(&mut table, key(n)) == model.get(&n).copied()));
}

type Model<K> = HashMap<u32, FlowEntry<K>>;

/// Inserts into both, by the rules for eviction and for shares.
fn insert_both<K: TableKey>(
    table: &mut FlowTable<K>,
    model: &mut Model<K>,
    new: FlowEntry<K>,
    now: Tick,
    shared: bool,
) {
    let new = FlowEntry { deadline: now.after(Span::from_secs(60)), ..new };
    let free = table.capacity - model.len();
    let of = |service| model.values().filter(|held| held.key.match_id() == service).count();
    let own = of(new.key.match_id());
    let grows = !shared || own <= 8 * free;
    let is_evictable = |held: &FlowEntry<K>| {
        let over = now.reached(held.deadline) || matches!(held.state, ConnState::SynRecv | ConnState::UdpNew);
        let other = held.key.match_id();
        over && (!shared || other == new.key.match_id() || of(other) > own)
    };
    let pair = table.bucket_pair(new.key);
    table.renew_eviction_budget();
    match table.insert(new, pair, now) {
        Inserted::Placed => assert!(grows && free > 0),
        Inserted::Replaced(old) => {
            let ends_chain = grows && free > 0 && now.reached(old.deadline);
            assert!(ends_chain || is_evictable(&old));
            remove(model, &old);
        }
        Inserted::Full => {
            assert!(!grows || free == 0);
            return assert!(!model.values().any(is_evictable));
        }
    }
    model.insert(u32::from(new.server.0), new);
}

fn remove<K: TableKey>(model: &mut Model<K>, entry: &FlowEntry<K>) -> FlowEntry<K> {
    let n = *model.iter().find(|(_, held)| *held == entry).expect("it was there").0;
    model.remove(&n).expect("it was found")
}
