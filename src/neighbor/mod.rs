//! ARP: what to answer, learn, probe and announce.
#![forbid(unsafe_code)]
