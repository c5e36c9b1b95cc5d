//! Longest wait of a frame in a worker: rounds of the loop, a batch of 64 and its sweep, under everything
//! that could delay it.
//!
//! `cargo bench --bench stall`. A frame that arrives at the worst moment waits for a whole round. On a
//! shared machine a round is occasionally interrupted from outside. So each sequence of rounds, which is
//! deterministic, runs nine times, and a round counts with its shortest time. Long times that remain are
//! caused by the program.
#![allow(missing_docs)]

mod results;
mod traffic;

use directrix::forward::BATCH;
use directrix::time::Span;
use hdrhistogram::Histogram;
use results::Results;
use std::time::Instant;
use traffic::{ACK, Pipeline, SYN, Site};

const REPETITIONS: usize = 9;
const ROUNDS: usize = 20_000;
const FLOWS: u32 = 1_000_000;
/// Rounds per millisecond of virtual time: 1.6 million frames per second.
const ROUNDS_PER_MS: usize = 25;

struct Scenario {
    name: &'static str,
    set_up: fn() -> Pipeline,
    /// Builds the frames of a round, and makes the change under test.
    prepare: fn(&mut Pipeline, usize),
    /// Part of the round besides decision and sweep.
    extra: fn(&mut Pipeline, usize),
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "established frames",
        set_up: || Pipeline::established(FLOWS, 10),
        prepare: |pipeline, _| pipeline.refill(ACK),
        extra: nothing,
    },
    Scenario {
        name: "a million connections expire within two seconds",
        set_up: expiring,
        prepare: |pipeline, _| pipeline.refill_with(0, SYN),
        extra: nothing,
    },
    Scenario {
        name: "a new snapshot every tenth round, 10,000 servers",
        set_up: || Pipeline::established(FLOWS, 10_000),
        prepare: |pipeline, _| pipeline.refill(ACK),
        extra: adopt,
    },
    Scenario {
        name: "SYN flood, table full of half-open connections",
        set_up: || flooded(Pipeline::empty(FLOWS, &Site::new(10))),
        prepare: |pipeline, _| pipeline.refill_with_new_clients(),
        extra: nothing,
    },
    Scenario {
        name: "SYN flood, table full of established connections",
        set_up: || Pipeline::established(FLOWS, 10),
        prepare: |pipeline, _| pipeline.refill_with_new_clients(),
        extra: nothing,
    },
    Scenario {
        name: "SYN flood, 10,000 servers",
        set_up: || flooded(Pipeline::empty(FLOWS, &Site::new(10_000))),
        prepare: |pipeline, _| pipeline.refill_with_new_clients(),
        extra: nothing,
    },
];

fn nothing(_: &mut Pipeline, _: usize) {}

fn expiring() -> Pipeline {
    let mut pipeline = Pipeline::established(FLOWS, 10);
    pipeline.forwarder.sweep(pipeline.now);
    pipeline.now = pipeline.now.after(Span::from_secs(899));
    while pipeline.forwarder.sweep(pipeline.now) {}
    pipeline.now = pipeline.now.after(Span::from_secs(1));
    pipeline
}

fn flooded(mut pipeline: Pipeline) -> Pipeline {
    for _ in 0..2 * FLOWS as usize / BATCH {
        pipeline.refill_with_new_clients();
        pipeline.decide();
    }
    pipeline
}

/// Publishes as control does. Control keeps the previous snapshot while it is in use.
fn adopt(pipeline: &mut Pipeline, round: usize) {
    thread_local!(static SITES: [Site; 2] = [Site::new(10_000), Site::new(10_000)]);
    if round.is_multiple_of(10) {
        SITES.with(|sites| pipeline.forwarder.adopt(sites[round / 10 % 2].snapshot.clone()));
    }
}

fn main() {
    let mut results = Results::new("stall");
    for scenario in &SCENARIOS {
        let histogram = shortest(scenario);
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            let us = histogram.value_at_quantile(quantile) as f64 / 1000.0;
            results.add(&format!("{}, {name}", scenario.name), "us per round", us);
        }
    }
    results.write();
}

/// Shortest time of each round over all repetitions, in ns.
fn shortest(scenario: &Scenario) -> Histogram<u64> {
    let mut rounds = vec![u64::MAX; ROUNDS];
    for _ in 0..REPETITIONS {
        let mut pipeline = (scenario.set_up)();
        for (number, shortest) in rounds.iter_mut().enumerate() {
            (scenario.prepare)(&mut pipeline, number);
            if number.is_multiple_of(ROUNDS_PER_MS) {
                pipeline.now = pipeline.now.after(Span::from_millis(1));
            }
            *shortest = round(&mut pipeline, scenario, number).min(*shortest);
        }
    }
    let mut histogram = Histogram::new(3).expect("three digits are allowed");
    for ns in rounds {
        histogram.record(ns).expect("it grows");
    }
    histogram
}

fn round(pipeline: &mut Pipeline, scenario: &Scenario, number: usize) -> u64 {
    let start = Instant::now();
    pipeline.decide();
    (scenario.extra)(pipeline, number);
    pipeline.forwarder.sweep(pipeline.now);
    start.elapsed().as_nanos() as u64 // far below 584 years
}
