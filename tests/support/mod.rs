//! Support code shared by the tests.
#![allow(missing_docs, dead_code, unreachable_pub)] // each test uses its part

pub mod bench;
pub mod certificates;
pub mod frames;
pub mod harness;
pub mod imports;
pub mod netns;
pub mod responder;
pub mod rust;
pub mod site;
pub mod traffic;
pub mod wire;
