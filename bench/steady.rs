//! A fixed number of frames of one kind, for instruction counts: see tools/instructions.
//!
//! `cargo bench --bench steady -- FLOWS BATCHES [syn|life|ipv6|wildcard]`: frames of established connections, SYNs that
//! each open one, whole connections of five frames each with the sweep that removes them, of which FLOWS are
//! opened in four seconds, or frames of established connections with wide keys.
#![allow(missing_docs)]

mod traffic;

use directrix::forward::BATCH;
use traffic::{ACK, Kind, Lives, Pipeline, Site};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u32> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let [flows, batches] = numbers[..] else {
        return println!("usage: steady FLOWS BATCHES [syn|life|ipv6|wildcard]");
    };
    let is = |kind: &str| arguments.iter().any(|argument| argument == kind);
    if is("syn") {
        let mut pipeline = Pipeline::empty(flows.max(batches * 2 * BATCH as u32), &Site::new(10));
        run(&mut pipeline, batches, Pipeline::refill_with_new_clients);
    } else if is("life") {
        live(&mut Pipeline::empty(flows, &Site::new(10)), Lives::new(flows / 4000), batches / 5);
    } else if is("ipv6") {
        wide(Kind::TcpV6, flows, batches);
    } else if is("wildcard") {
        wide(Kind::Wildcard, flows, batches);
    } else {
        run(&mut Pipeline::established(flows, 10), batches, |pipeline| pipeline.refill(ACK));
    }
}

fn wide(kind: Kind, flows: u32, batches: u32) {
    run(&mut Pipeline::of_kinds(&[kind], flows), batches, |pipeline| pipeline.refill_of(&[kind]));
}

fn run(pipeline: &mut Pipeline, batches: u32, prepare: impl Fn(&mut Pipeline)) {
    for _ in 0..batches {
        prepare(pipeline);
        pipeline.decide();
        assert_eq!(pipeline.forwarded(), BATCH, "every frame is forwarded");
    }
}

fn live(pipeline: &mut Pipeline, mut lives: Lives, rounds: u32) {
    for _ in 0..rounds {
        for (first, flags) in lives.round(pipeline) {
            pipeline.refill_with(first, flags);
            pipeline.decide();
            assert!(!lives.all_open() || pipeline.forwarded() == BATCH, "every frame is forwarded");
        }
        pipeline.sweep();
    }
}
