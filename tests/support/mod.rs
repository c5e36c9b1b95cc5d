//! What several tests share.
#![allow(missing_docs)]

pub mod frames;
