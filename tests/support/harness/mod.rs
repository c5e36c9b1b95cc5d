//! Bytes in, a panic if something does not hold: the bodies of the fuzz targets, which the tests
//! run as well.

pub mod config;
pub mod decide;
pub mod import;
mod input;
mod ledger;
pub mod packet;
