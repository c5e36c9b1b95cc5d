//! The reference deployment in network namespaces.
#![forbid(unsafe_code)]
