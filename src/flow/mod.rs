//! The connection table and the TCP states.
#![forbid(unsafe_code)]
