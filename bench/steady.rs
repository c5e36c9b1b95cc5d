//! A fixed number of frames of one kind, for instruction counts: see tools/instructions.
//!
//! `cargo bench --bench steady -- FLOWS BATCHES [syn|life|ipv6|wildcard|udp] [shadow]`: frames of established connections, SYNs that
//! each open one, whole connections of five frames each with the sweep that removes them, of which FLOWS are
//! opened in four seconds, frames of established connections with wide keys, or UDP datagrams that each open a flow beside
//! established connections. With `shadow`, the worker has a journal and the shadow table, as in a running director.
#![allow(missing_docs)]

mod traffic;

use directrix::forward::BATCH;
use traffic::{ACK, Kind, Lives, Pipeline, Site};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u32> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let [flows, batches] = numbers[..] else {
        return println!("usage: steady FLOWS BATCHES [syn|life|ipv6|wildcard|udp] [shadow]");
    };
    let is = |kind: &str| arguments.iter().any(|argument| argument == kind);
    let made = |pipeline: Pipeline| if is("shadow") { pipeline.shadowed() } else { pipeline };
    if is("syn") {
        let mut pipeline = made(Pipeline::empty(flows.max(batches * 2 * BATCH as u32), &Site::new(10)));
        run(&mut pipeline, batches, Pipeline::refill_with_new_clients);
    } else if is("life") {
        live(&mut made(Pipeline::empty(flows, &Site::new(10))), Lives::new(flows / 4000), batches / 5);
    } else if is("udp") {
        let mut pipeline = made(Pipeline::empty(4 * flows, &Site::with_udp(10)));
        pipeline.establish(flows);
        run(&mut pipeline, batches, Pipeline::refill_with_datagrams);
    } else if is("ipv6") || is("wildcard") {
        let kind = if is("ipv6") { Kind::TcpV6 } else { Kind::Wildcard };
        let mut pipeline = made(Pipeline::for_kinds(&[kind], flows));
        pipeline.establish_kinds(&[kind], flows);
        run(&mut pipeline, batches, |pipeline| pipeline.refill_of(&[kind]));
    } else {
        let mut pipeline = made(Pipeline::empty(flows, &Site::new(10)));
        pipeline.establish(flows);
        run(&mut pipeline, batches, |pipeline| pipeline.refill(ACK));
    }
}

fn run(pipeline: &mut Pipeline, batches: u32, prepare: impl Fn(&mut Pipeline)) {
    for _ in 0..batches {
        prepare(pipeline);
        pipeline.decide();
        assert_eq!(pipeline.forwarded(), BATCH, "every frame is forwarded");
        pipeline.keep();
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
        pipeline.keep();
    }
}
