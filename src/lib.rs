//! directrix: an LVS-DR director in pure user space.
//!
//! # Map
//!
//! A module imports only from layers above its own, and files never import each other in a circle; `tests/layers.rs`
//! reads this table and fails otherwise. ARCHITECTURE.md has the way of a frame and of a change through it.
//!
//! | layer | modules | promise |
//! |---|---|---|
//! | 1 | `wire` | Views of headers over bytes, and the frame parser. No I/O, no allocation, no clock. |
//! | 1 | `time`, `hash`, `random` | Ticks, seeded hashing, SplitMix64. Time is a parameter everywhere; no clock is read. |
//! | 1 | `popt` | Command lines as ipvsadm reads them, without ipvsadm's words. |
//! | 2 | `model` | Services, real servers, the checked configuration, rules and their differences. No sockets, no tables. |
//! | 2 | `deadlines` | A queue of deadlines for many keys. Time is a parameter. |
//! | 2 | `ipvsadm` | ipvsadm's commands, options and switches, for the command line and for import. |
//! | 2 | `sys` | Thin system calls: netlink, ethtool, packet sockets, credentials, memory. No decisions. |
//! | 3 | `flow` | The flow table, its keys, the TCP states. No lock, no allocation after `new`. |
//! | 3 | `shadow` | The connections of all workers in shared memory. One writer, readers without a lock. |
//! | 3 | `schedule` | IPVS's schedulers, loads, thresholds, slow start, templates. Shared by workers without a lock. |
//! | 3 | `role` | The role of a director among several, as a machine of (input, now) → role. No I/O, no clock. |
//! | 3 | `stats` | Counters with one writer each, and every drop reason. |
//! | 3 | `import` | Rules of ipvsadm and keepalived to a configuration: text in, text out. |
//! | 4 | `forward` | All policy about frames: the decision and the rewrite. No I/O, no threads, no clock. |
//! | 4 | `neighbor` | ARP as a machine of (event, now) → actions. No sockets. |
//! | 4 | `health` | Health checks as a machine of (event, now) → actions. No sockets, no clock. |
//! | 4 | `sync` | Connection sync in IPVS's messages, as a machine of (event, now) → messages. No sockets, no clock. |
//! | 5 | `audit` | Hosts that misuse a VIP or a RIP, as a machine of (input, now) → actions. No sockets, no clock. |
//! | 5 | `io` | Frames in and out over AF_XDP, AF_PACKET and memory; BPF programs; sockets that probe a VIP. No decisions. |
//! | 6 | `worker` | The loop of a worker: receive, decide, transmit, sweep. |
//! | 6 | `control` | The control thread: rules, snapshots, ARP driver, control socket, metrics. No frames. |
//! | 7 | `realserver` | The real server's side: the VIP without ARP. |
//! | 7 | `lab`, `bench_wire` | The reference deployment in network namespaces, and the throughput bench over it. |
//! | 7 | `top` | The live screen: state and events in, lines out. |
//! | 7 | `doctor` | Diagnosis of a host: facts in, findings out. Changes nothing. |
//! | 7 | `cli` | One file for each subcommand. No logic. |
//!
//! Within a layer only: `shadow → flow`, `control → worker`, `bench_wire → lab`, `cli → lab`, `cli → bench_wire`, `cli → realserver`, `cli → top`, `cli → doctor`,
//! `doctor → realserver`.
//!
//! `unsafe` is in `sys` and `io` alone, each block with its proof.

pub mod audit;
pub mod bench_wire;
pub mod cli;
pub mod control;
mod deadlines;
pub mod doctor;
pub mod flow;
pub mod forward;
pub mod hash;
pub mod health;
pub mod import;
pub mod io;
mod ipvsadm;
pub mod lab;
pub mod model;
pub mod neighbor;
mod popt;
mod random;
pub mod realserver;
pub mod role;
pub mod schedule;
pub mod shadow;
pub mod stats;
pub mod sync;
pub mod sys;
pub mod time;
pub mod top;
pub mod wire;
pub mod worker;
