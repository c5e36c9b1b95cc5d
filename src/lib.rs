//! directrix: an LVS-DR director in pure user space.
//!
//! Modules import only from those to their left:
//!
//! `wire, time, hash, random, popt` → `model, ipvsadm, sys` → `flow, schedule, stats` → `forward, neighbor` → `io` →
//! `worker, control` → `lab, bench_wire, realserver, import, top, cli`
//!
//! Within a level only: `control → worker`, `bench_wire → lab`, `cli → lab`, `cli → bench_wire`, `cli → realserver`, `cli → import`, `cli → top`.

pub mod bench_wire;
pub mod cli;
pub mod control;
pub mod flow;
pub mod forward;
pub mod hash;
pub mod import;
pub mod io;
mod ipvsadm;
pub mod lab;
pub mod model;
pub mod neighbor;
mod popt;
mod random;
pub mod realserver;
pub mod schedule;
pub mod stats;
pub mod sys;
pub mod time;
pub mod top;
pub mod wire;
pub mod worker;
