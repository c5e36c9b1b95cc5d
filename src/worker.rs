//! A worker: receive, decide, transmit, keep house; pinned to a core, never blocked by another thread.
#![forbid(unsafe_code)]
