//! A fixed number of frames of one kind, for instruction counts: see tools/instructions.
//!
//! `cargo bench --bench steady -- FLOWS BATCHES [syn]`: frames of established connections, or SYNs
//! that each open one.
#![allow(missing_docs)]

mod traffic;

use directrix::forward::BATCH;
use traffic::{ACK, Pipeline, Site};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u32> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let [flows, batches] = numbers[..] else { return println!("usage: steady FLOWS BATCHES [syn]") };
    if arguments.iter().any(|argument| argument == "syn") {
        let mut pipeline = Pipeline::empty(flows.max(batches * 2 * BATCH as u32), &Site::new(10));
        run(&mut pipeline, batches, Pipeline::refill_with_new_clients);
    } else {
        run(&mut Pipeline::established(flows, 10), batches, |pipeline| pipeline.refill(ACK));
    }
}

fn run(pipeline: &mut Pipeline, batches: u32, prepare: impl Fn(&mut Pipeline)) {
    for _ in 0..batches {
        prepare(pipeline);
        pipeline.decide();
        assert_eq!(pipeline.forwarded(), BATCH, "every frame is forwarded");
    }
}
