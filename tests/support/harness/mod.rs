//! Bodies of the fuzz targets, which tests run, too: each takes bytes, and panics if an invariant is violated.

pub mod answer;
pub mod config;
pub mod decide;
pub mod fragment;
pub mod icmp;
pub mod import;
mod input;
mod ledger;
pub mod ndp;
pub mod packet;
pub mod packet_v6;
pub mod shadow;
pub mod sync;
