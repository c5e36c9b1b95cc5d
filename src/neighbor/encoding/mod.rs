//! Encodings of neighbor messages: the edge between the machine and the protocols.

pub mod arp;
