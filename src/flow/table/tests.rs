use super::super::{State, V4Key};
use super::*;
use crate::model::{ServerId, ServiceId};
use crate::time::Span;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::Ipv4Addr;

const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
const NOW: Tick = Tick(u32::MAX - 5); // every test runs across the wrap of the clock

fn key(n: u32) -> V4Key {
    V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n >> 8), 1024 + (n & 0xff) as u16, ServiceId((n % 3) as u16))
}

fn entry(n: u32, state: State) -> Entry<V4Key> {
    let (deadline, template) = (NOW.after(Span::from_secs(60)), (n % 5) as u8);
    Entry { key: key(n), deadline, server: ServerId(n as u16), state, template }
}

fn put(table: &mut FlowTable<V4Key>, entry: Entry<V4Key>) -> Inserted<V4Key> {
    let homes = table.homes(entry.key);
    table.begin();
    table.insert(entry, homes, NOW)
}

fn get(table: &mut FlowTable<V4Key>, n: u32) -> Option<Entry<V4Key>> {
    let homes = table.homes(key(n));
    let Found { deadline, state, server, .. } = table.find(key(n), homes, table.locate(key(n), homes))?;
    let (deadline, state) = (*deadline, *state);
    let homes = table.both(homes).into_iter().flat_map(|bucket| table.entries(bucket));
    let entry = homes.into_iter().find(|entry| entry.key == key(n))?;
    assert_eq!((entry.deadline, entry.state, entry.server), (deadline, state, server));
    Some(entry)
}

#[test]
fn four_ipv4_entries_fill_a_cache_line() {
    assert_eq!((size_of::<Bucket<V4Key>>(), align_of::<Bucket<V4Key>>()), (64, 64));
}

#[test]
fn every_connection_up_to_the_capacity_finds_a_place() {
    for capacity in [1, 2, 3, 10, 1024, 100_000] {
        let mut table = FlowTable::new(capacity, SEED);
        for n in 0..capacity as u32 {
            assert_eq!(put(&mut table, entry(n, State::Established)), Inserted::Placed, "{n} of {capacity}");
        }
        assert_eq!(table.len(), capacity);
        assert!((0..capacity as u32).all(|n| get(&mut table, n) == Some(entry(n, State::Established))));
    }
}

#[test]
fn a_full_table_keeps_established_connections_and_refuses_new_ones() {
    let mut table = FlowTable::new(1000, SEED);
    for n in 0..1000 {
        put(&mut table, entry(n, State::Established));
    }
    for n in 1000..3000 {
        assert_eq!(put(&mut table, entry(n, State::SynRecv)), Inserted::Full);
    }
    assert!((0..1000).all(|n| get(&mut table, n).is_some()));
}

#[test]
fn a_batch_searches_a_bounded_stretch_for_a_victim() {
    let mut table = FlowTable::new(3 * RECLAIM_BUCKETS * SLOTS, SEED);
    let full = table.capacity as u32;
    for n in 0..full {
        assert_eq!(put(&mut table, entry(n, State::Established)), Inserted::Placed);
    }
    table.begin();
    let from = table.search_hand;
    for n in full..full + 64 {
        let (new, homes) = (entry(n, State::SynRecv), table.homes(key(n)));
        assert_eq!(table.insert(new, homes, NOW), Inserted::Full);
    }
    assert_eq!(table.search_hand - from, RECLAIM_BUCKETS, "all 64 together");
}

#[test]
fn unconfirmed_connections_are_evicted_whatever_their_protocol() {
    for (confirmed, unconfirmed) in [(State::Established, State::SynRecv), (State::Udp, State::UdpNew)] {
        evicts(confirmed, unconfirmed);
    }
}

fn evicts(confirmed: State, unconfirmed: State) {
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
    assert!((0..1000).step_by(2).all(|n| get(&mut table, n).is_some()), "a confirmed one is gone");
}

#[test]
fn the_oldest_unconfirmed_one_goes_first() {
    let mut table = FlowTable::new(3, SEED); // two buckets
    for n in 0..3 {
        let deadline = NOW.after(Span::from_secs(60 - n));
        put(&mut table, Entry { deadline, ..entry(n, State::SynRecv) });
    }
    let Inserted::Replaced(gone) = put(&mut table, entry(9, State::SynRecv)) else {
        panic!("nobody gave way")
    };
    assert_eq!(gone.key, key(2));
}

/// 8/9 of a shared table are one service's, and what it opens then takes the place of its own.
#[test]
fn a_service_leaves_a_ninth_of_the_table_to_the_others() {
    let of = |service, n: u32, state| Entry {
        key: V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n), 7, ServiceId(service)),
        ..entry(n, state)
    };
    let mut table = FlowTable::new(900, SEED);
    table.set_shared(true);
    for n in 0..100_000 {
        let inserted = put(&mut table, of(1, n, State::Udp));
        assert_eq!(inserted == Inserted::Placed, n < 801, "{n}: {inserted:?}");
    }
    let mut next = 100_000;
    let mut open = |table: &mut FlowTable<V4Key>, service, state| {
        next += 1;
        put(table, of(service, next, state))
    };
    // Two more, each of which finds eight ninths of what is left.
    for (service, least) in [(2, 88), (3, 9)] {
        let placed = (0..1000).filter(|_| open(&mut table, service, State::SynRecv) == Inserted::Placed);
        assert!(placed.count() >= least, "{service}");
    }
    for _ in 0..100 {
        let Inserted::Replaced(old) = open(&mut table, 2, State::SynRecv) else { panic!("full") };
        assert_eq!(old.key.service(), ServiceId(2), "of its own, as the others have less or are confirmed");
    }
    table.set_shared(false);
    while open(&mut table, 3, State::Established) == Inserted::Placed {}
    assert_eq!(table.len(), 900, "alone, it may have all that is left");
}

#[test]
fn a_service_takes_unconfirmed_places_from_one_that_holds_more() {
    let of = |service, n: u32, state| Entry {
        key: V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n), 7, ServiceId(service)),
        ..entry(n, state)
    };
    let mut table = FlowTable::new(900, SEED);
    table.set_shared(true);
    for n in 0..2000 {
        put(&mut table, of(1, n, State::UdpNew));
    }
    let opened = (2000..10_000).filter(|n| put(&mut table, of(2, *n, State::Established)) != Inserted::Full);
    let opened = opened.count();
    assert!((440..=460).contains(&opened), "{opened}: until both hold the same");
    for n in 10_000..20_000 {
        let Inserted::Replaced(old) = put(&mut table, of(1, n, State::UdpNew)) else { panic!("full") };
        assert_eq!(old.key.service(), ServiceId(1));
    }
}

#[test]
fn expired_connections_give_way_whatever_their_state() {
    let mut table = FlowTable::new(100, SEED);
    for n in 0..100 {
        let deadline = if n == 42 { NOW } else { entry(n, State::Established).deadline };
        put(&mut table, Entry { deadline, ..entry(n, State::Established) });
    }
    let Inserted::Replaced(gone) = put(&mut table, entry(100, State::SynRecv)) else {
        panic!("nobody gave way")
    };
    assert_eq!(gone.key, key(42));
}

#[test]
fn expired_connections_are_replaced_and_never_moved_away_from_the_sweep() {
    let mut table = FlowTable::new(600, SEED);
    let (mut places, mut replaced) = (HashMap::new(), 0);
    for n in 0..600 {
        let expired = Entry { deadline: NOW, ..entry(n, State::Established) };
        match put(&mut table, expired) {
            Inserted::Placed => {}
            Inserted::Replaced(old) => replaced += usize::from(places.remove(&old.server).is_some()),
            Inserted::Full => panic!("{n}: nobody gave way"),
        }
        for bucket in 0..table.buckets() {
            for held in table.entries(bucket) {
                assert_eq!(*places.entry(held.server).or_insert(bucket), bucket, "{held:?} was moved");
            }
        }
    }
    assert!(replaced > 0 && replaced + table.len() == 600, "{replaced} replaced");
}

/// Chains of moves reach buckets that are not the new entry's own: there, too, one in ten has expired.
#[test]
fn chains_of_moves_go_round_what_has_expired() {
    let mut table = FlowTable::new(10_000, SEED);
    let mut places = HashMap::new();
    for n in 0..10_000 {
        let deadline = if n % 10 == 0 { NOW } else { entry(n, State::Established).deadline };
        if let Inserted::Replaced(old) = put(&mut table, Entry { deadline, ..entry(n, State::Established) }) {
            places.remove(&old.server);
        }
        if n % 500 == 499 {
            for (bucket, held) in
                (0..table.buckets()).flat_map(|b| table.entries(b).map(move |held| (b, held)))
            {
                let expired = NOW.reached(held.deadline);
                assert!(
                    !expired || *places.entry(held.server).or_insert(bucket) == bucket,
                    "{held:?} was moved"
                );
            }
        }
    }
    assert!(table.len() > 9000);
}

#[test]
fn a_sweep_takes_out_what_has_expired_and_nothing_else() {
    let mut table = FlowTable::new(5000, SEED);
    for n in 0..5000 {
        let deadline = NOW.after(Span::from_millis(n + 1));
        assert_eq!(put(&mut table, Entry { deadline, ..entry(n, State::Established) }), Inserted::Placed);
    }
    let mut expired = Vec::new();
    let later = NOW.after(Span::from_millis(2000));
    for _ in 0..7 {
        let before = expired.len();
        table.sweep(later, table.buckets().div_ceil(7), |entry| expired.push(entry.server.0));
        assert!(expired.len() - before < 2000, "one call swept more than its share");
    }
    expired.sort_unstable();
    assert!(expired.into_iter().eq(0..2000));
    table.sweep(later, usize::MAX, |entry| panic!("{entry:?} has not expired"));
    assert_eq!(table.len(), 3000);
}

#[test]
fn listing_shows_every_connection_once() {
    let mut table = FlowTable::new(5000, SEED);
    for n in 0..5000 {
        put(&mut table, entry(n, State::Established));
    }
    let mut seen: Vec<u16> = (0..table.buckets() + 1)
        .flat_map(|b| table.entries(b).map(|e| e.server.0).collect::<Vec<_>>())
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..5000));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, State),
    /// Whether several services share the table.
    Share(bool),
    Remove(u32),
    Find(u32),
    Sweep(usize),
    Wait(u32),
}

/// In which connections may be.
const STATES: [State; 4] = [State::SynRecv, State::Established, State::UdpNew, State::Udp];

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
    fn it_behaves_like_a_map_that_forgets_by_rule(steps in steps(), capacity in prop_oneof![1usize..6, 32usize..64]) {
        behaves_like_a_map(steps, capacity);
    }
}

#[test]
fn a_million_steps_are_those_of_a_map() {
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
        behaves_like_a_map(step.collect(), capacity);
    }
}

/// Against a map: the table never loses, invents or alters a connection, except by the rule
/// for who may give way.
fn behaves_like_a_map(steps: Vec<Step>, capacity: usize) {
    let mut table = FlowTable::new(capacity, SEED);
    let mut model: HashMap<u32, Entry<V4Key>> = HashMap::new();
    let (mut now, mut shared) = (NOW, false);
    for step in steps {
        match step {
            Step::Insert(n, state) if !model.contains_key(&n) => {
                insert_both((&mut table, &mut model), entry(n, state), (now, shared));
            }
            Step::Share(of_several) => {
                shared = of_several;
                table.set_shared(shared);
            }
            Step::Insert(n, _) | Step::Find(n) => assert_eq!(get(&mut table, n), model.get(&n).copied()),
            Step::Remove(n) => {
                let homes = table.homes(key(n));
                assert_eq!(table.remove(key(n), homes), model.remove(&n));
            }
            Step::Sweep(buckets) => table.sweep(now, buckets, |gone| {
                assert!(now.reached(forget(&mut model, &gone).deadline));
            }),
            Step::Wait(ms) => now = now.after(Span::from_millis(ms)),
        }
        assert_eq!(table.len(), model.len());
    }
    assert!((0..80).all(|n| get(&mut table, n) == model.get(&n).copied()));
}

type Model = HashMap<u32, Entry<V4Key>>;

/// By the rule for who may be evicted, and for how much of the table a service may hold.
fn insert_both(
    (table, model): (&mut FlowTable<V4Key>, &mut Model),
    new: Entry<V4Key>,
    (now, shared): (Tick, bool),
) {
    let new = Entry { deadline: now.after(Span::from_secs(60)), ..new };
    let free = table.capacity - model.len();
    let of = |service| model.values().filter(|held| held.key.service() == service).count();
    let own = of(new.key.service());
    let grows = !shared || own <= 8 * free;
    let may_go = |held: &Entry<V4Key>| {
        let over = now.reached(held.deadline) || matches!(held.state, State::SynRecv | State::UdpNew);
        let other = held.key.service();
        over && (!shared || other == new.key.service() || of(other) > own)
    };
    let homes = table.homes(new.key);
    table.begin();
    match table.insert(new, homes, now) {
        Inserted::Placed => assert!(grows && free > 0),
        Inserted::Replaced(old) => {
            assert!(may_go(&old));
            forget(model, &old);
        }
        Inserted::Full => {
            assert!(!grows || free == 0);
            return assert!(!model.values().any(may_go));
        }
    }
    model.insert(u32::from(new.server.0), new);
}

fn forget(model: &mut Model, gone: &Entry<V4Key>) -> Entry<V4Key> {
    let n = *model.iter().find(|(_, held)| *held == gone).expect("it was there").0;
    model.remove(&n).expect("it was found")
}
