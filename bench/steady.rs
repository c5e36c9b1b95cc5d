//! A fixed number of established frames, for instruction counts: see tools/instructions.
//!
//! `cargo bench --bench steady -- FLOWS BATCHES`
#![allow(missing_docs)]

mod traffic;

use directrix::forward::BATCH;
use traffic::{ACK, Pipeline};

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [flows, batches] = numbers[..] else { return println!("usage: steady FLOWS BATCHES") };
    let mut pipeline = Pipeline::established(flows, 10);
    for _ in 0..batches {
        pipeline.refill(ACK);
        pipeline.decide();
        assert_eq!(pipeline.forwarded(), BATCH, "every frame has its connection");
    }
}
