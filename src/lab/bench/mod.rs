//! The throughput bench: contenders side by side on veth pairs, one generator, one counting sink.

pub mod trial;
