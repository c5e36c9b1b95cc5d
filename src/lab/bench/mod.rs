//! The throughput bench: contenders side by side on veth pairs, one generator, one counting sink.
//!
//! | file | holds |
//! |---|---|
//! | [`trial`] | what a trial is, and what comes out of one |
//! | [`arena`] | the veth pairs with everybody on them |
//! | [`generator`], [`sink`] | where frames come from and where they end |
//! | [`contender`] | who forwards |
//! | [`cores`] | who works on which core, and how busy cores are |
//!
//! Of the rest, `lane` is one contender's veth pair, `program` a BPF program of those in bpf/, and
//! `anchor` and `napi` make the kernel do what a bench needs.

mod anchor;
pub mod arena;
pub mod contender;
pub mod cores;
pub mod generator;
mod histogram;
mod lane;
mod namespace;
mod napi;
mod program;
pub mod sink;
pub mod trial;
