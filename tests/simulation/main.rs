//! Simulation of a director over hours of virtual time: clients that connect, send, close, reset or stop,
//! real servers that are added and removed, floods. All randomness comes from a seed. A failing seed is
//! reported, and DIRECTRIX_SEED replays it.
//!
//! ```text
//!  clients ─┐                 ┌─ worker 0 ─┐            ┌─ web servers
//!           ├─ by their hash ─┼─ …         ├─ loads ────┤
//!  flood ───┘                 └─ worker n ─┘            └─ DNS servers
//! ```
//! After every batch the tables of the workers must equal those of [`ipvs`], a plain map that follows
//! IPVS's documentation.
#![allow(missing_docs)]

mod clients;
mod director;
mod ipvs;
mod random;
#[path = "../support/mod.rs"]
mod support;

use clients::Clients;
use director::Director;
use random::Random;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

const STEPS: usize = 1200;
/// Environment variable with the one seed to run.
const SEED: &str = "DIRECTRIX_SEED";

/// Reports the seed if its run fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with {SEED}={} cargo test --test simulation random_runs", self.0);
        }
    }
}

/// One run of a director, from the first client to the end of the last connection, then a new start with
/// measured shares. Returns the counters by name.
fn live(seed: u64) -> HashMap<&'static str, u64> {
    let _named = Named(seed);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut director = Director::new(&mut random);
    let mut clients = Clients::new(&mut random);
    for _ in 0..STEPS {
        let gap_ms = if random.one_in(40) { random.below(120_000) } else { random.below(400) };
        director.pass(gap_ms);
        if random.one_in(15) {
            director.trouble(&mut random);
        }
        let segments = clients.act(director.now_ms(), &mut random);
        director.receive(segments);
    }
    director.settle();
    director.shares_are_right(&mut random);
    director.counted()
}

#[test]
fn random_runs_match_the_model() {
    match std::env::var(SEED) {
        Ok(seed) => drop(live(seed.parse().expect("a seed is a number"))),
        Err(_) => (0..12).for_each(|n| drop(live(RandomState::new().hash_one(n)))),
    }
}

/// The same seeds every time, long enough to reach every outcome.
#[test]
fn fixed_runs_reach_every_outcome() {
    let mut sum = HashMap::<_, u64>::new();
    for seed in 0..8 {
        live(seed).into_iter().for_each(|(name, count)| *sum.entry(name).or_default() += count);
    }
    for fate in ["forwarded", "connections", "expired", "evicted", "no_connection", "no_server"] {
        assert!(sum[fate] > 100, "{fate}: {sum:?}");
    }
    for fate in ["server_removed", "table_full"] {
        assert!(sum[fate] > 20, "{fate}: {sum:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(live(7), live(7));
}
