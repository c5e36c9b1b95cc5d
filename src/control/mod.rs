//! The control thread: configuration, ARP, the control socket; everything but frames.

#![forbid(unsafe_code)]

pub mod api;
pub mod arp;
