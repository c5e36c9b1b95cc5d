//! Header views over bytes on the wire, and ARP and NDP packets.
//!
//! Nothing here does I/O, allocates or reads a clock. Views never panic: each constructor checks the
//! lengths that its accessors need. Lengths come from the IP header, never from the frame, because Ethernet
//! pads short frames to 60 bytes.

#![forbid(unsafe_code)]

pub mod arp;
mod bytes;
pub mod checksum;
pub mod ethernet;
pub mod fast_path;
pub mod fast_path_v6;
pub mod hop;
pub mod icmp_error;
pub mod ipv4;
pub mod ipv6;
mod mac;
pub mod ndp;
pub mod packet;
pub mod transport;

pub use mac::{MacAddr, ParseMacError};
pub use packet::{IpPacket, Malformed, Packet, Protocol};
