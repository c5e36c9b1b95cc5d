//! The real server's side of direct routing: the VIP on lo, quiet in ARP.
#![forbid(unsafe_code)]
