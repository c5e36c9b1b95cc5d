//! The throughput bench: DUTs side by side on veth pairs, one generator, one counting sink.
//!
//! | file | holds |
//! |---|---|
//! | [`trial`] | what a trial is, and what comes out of one |
//! | [`session`] | a run from the command line's words to the report's folder |
//! | [`plan`], [`experiment`], [`search`] | what is measured and how often; the order of the trials; the search for the NDR |
//! | [`statistics`], [`results`] | medians, quartiles, ratios; what was found, as figures |
//! | [`report`], [`conditions`], [`tables`], [`plots`], [`csv`] | what was found, for programs and for people |
//! | [`testbed`], [`external`] | veth pairs with everybody on them; a real interface with a device behind it |
//! | [`device`] | this machine as the device: DUTs in turn on a real interface |
//! | [`generator`], [`sink`] | where frames come from and where they end |
//! | [`dut`] | who forwards |
//! | [`cores`] | who works on which core, and how busy cores are |
//!
//! Of the rest, `port_pair` is one DUT's veth pair, `program` a BPF program of those in bpf/, and
//! `anchor` and `napi` make the kernel do what a bench needs.
//!
//! # Terms
//!
//! - **DUT**: who forwards. All are up at once; those that are not on trial are suspended.
//! - **Trial**: one DUT, one offered rate, one stretch of time. **Round**: a trial of each
//!   DUT in turn. What is compared, is compared within rounds.
//! - **Offered**: frames that the generator put on the wire. **Delivered**: frames that reached the
//!   sink with the forwarder's source and a real server's destination MAC address.
//! - **Highest rate**: delivered at full speed of the generator. **Peak**: the most that is
//!   delivered at any offered rate of the curve. **Overload**: four times the peak, or what the
//!   generator can make.
//! - **NDR**, no-drop rate: the highest rate without loss, by the rule that [`search`] states.
//! - **Latency**: from the making of a frame to the sink, of a sample of the frames.

#![forbid(unsafe_code)]

mod anchor;

pub mod conditions;
pub mod cores;
pub mod csv;
pub mod device;
pub mod dut;
pub mod experiment;
pub mod external;
#[cfg(test)]
mod fake;
pub mod folder;
pub mod generator;
mod histogram;
mod namespace;

pub mod plan;
pub mod plots;
mod port_pair;
mod program;
pub mod report;
pub mod results;
pub mod search;
pub mod session;
pub mod sink;
pub mod statistics;
mod summary;
pub mod tables;
pub mod testbed;
pub mod trial;
