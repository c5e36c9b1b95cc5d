//! Header views over bytes on the wire, and ARP and NDP packets.
//!
//! Nothing here does I/O, allocates or reads a clock. Views never panic: each constructor checks the
//! lengths that its accessors need. Lengths come from the IP header, never from the frame, because Ethernet
//! pads short frames to 60 bytes.

#![forbid(unsafe_code)]

pub mod answer;
pub mod arp;
mod bytes;
pub mod checksum;
pub mod crc32c;
pub mod echo;
pub mod ethernet;
pub mod fast_path;
pub mod fast_path_v6;
pub mod fragment;
pub mod hairpin;
pub mod hop;
pub mod icmp;
pub mod icmp_error;
pub mod ip_fragment;
pub mod ipv4;
pub mod ipv6;
mod mac;
mod malformed;
pub mod ndp;
pub mod packet;
mod protocol;
pub mod sctp;
pub mod sctp_checksum;
pub mod transport;
pub mod transport_header;
pub mod vlan;

pub use ip_fragment::{Fragment, FragmentPart, IpFragment};
pub use mac::{MacAddr, ParseMacError};
pub use malformed::Malformed;
pub use packet::{IpPacket, Packet};
pub use protocol::Protocol;
