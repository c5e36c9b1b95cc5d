//! Throughput bench by RFC 2544 and RFC 8219: devices under test (DUT), a traffic generator and a counting sink.
//!
//! | file | holds |
//! |---|---|
//! | [`trial`] | trial: DUT, traffic, offered load, outcome |
//! | [`session`] | a run, from the request to the report folder |
//! | [`plan`], [`experiment`], [`search`] | number and order of the trials, search for the NDR |
//! | [`statistics`], `summary`, [`results`] | medians, quartiles, ratios; figures of a run |
//! | [`report`], [`folder`], [`conditions`] | the report and its folder; machine and system |
//! | [`tables`], [`plots`], [`csv`] | formats of the report |
//! | [`testbed`], `veth_pair` | veth pairs, one for each DUT |
//! | [`external`] | a real interface with any device behind it |
//! | [`device`] | DUTs in turn on an interface of this machine, with an external generator |
//! | [`generator`], [`sink`] | source and destination of the frames |
//! | [`dut`] | the devices under test |
//! | [`cores`], `namespace` | CPU affinity, CPU time and counters; network namespaces |
//! | `program`, `anchor`, `histogram` | loading of BPF programs; their attachment; latency buckets |
//!
//! # Terms
//!
//! - **DUT**: the forwarder under test. All are started at once; one is selected, the others are suspended.
//! - **Trial**: one DUT, one offered load, one duration. **Round**: a trial of each DUT in turn. Comparisons are made
//!   within rounds.
//! - **Offered**: frames sent by the generator. **Delivered**: frames counted by the sink, with the DUT's source and a
//!   real server's destination MAC address. Their difference, as a share of the offered frames, is the frame loss rate
//!   (RFC 1242 section 3.6).
//! - **Highest rate**: delivered at full speed of the generator. **Peak**: the highest rate delivered at any offered
//!   load of the curve. **Overload**: four times the peak, or full speed of the generator.
//! - **NDR**, no-drop rate: the throughput of RFC 2544, by the rules of [`search`].
//! - **Latency**: time from the creation of a frame to the sink, of a sample of the frames.

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
mod veth_pair;
