//! The checks that the tests make too, for the fuzz targets.

#[path = "../../support/frames.rs"]
pub mod frames;
#[path = "../../support/harness/mod.rs"]
pub mod harness;
