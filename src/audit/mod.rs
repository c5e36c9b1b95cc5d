//! Auditor of addresses as a machine of (input, now) → actions: every host that misuses a VIP or a real server's address.
//!
//! In direct routing each real server has the VIP, and must be silent about it. One that answers ARP for the VIP,
//! announces it, or writes it into its own ARP requests takes clients away from the director, and no frame shows it there.
//! The auditor listens to the messages that [`crate::neighbor`] receives, and asks questions of its own:
//!
//! - all hosts about each VIP, once from the director's own address and once without a sender address, as Linux answers
//!   the two by different rules (`arp_process` in net/ipv4/arp.c);
//! - each real server about each VIP, by unicast: a switch that suppresses ARP broadcasts does not hide its answer;
//! - all hosts about the address of each real server;
//! - a host that answered about two addresses that it hardly has (proxy ARP), and about every real server's address, to tell
//!   which real server it is.
//!
//! It also tests the gateway's entry for each IPv4 VIP, by a frame that the gateway must send back (`entry_test.rs`).
//!
//! Invariants:
//! - At most one question or frame of a test is sent in 50 ms, 20 a second.
//! - Nothing is found about the director's own addresses and configured peers. A virtual router (VRRP, HSRP, GLBP, CARP)
//!   is named, at the level [`AuditLevel::Info`].
//! - A VIP that this director leaves to another one is not asked for. Its holder is no finding unless it is a real server
//!   or does proxy ARP.
//! - IPv6 VIPs are asked for from the link-local address only. Linux answers the probe of duplicate address detection to
//!   all nodes, with the override flag: the question would move the VIP in the router's cache.
//! - A finding is reported once when it opens and once when it closes.

#![forbid(unsafe_code)]

mod auditor;
mod case;
mod entry_test;
mod events;
mod finding;
mod gateway;
mod hosts;
mod inquiry;
mod intake;
mod macs;
mod questions;
mod remedy;
mod repeats;
mod round;
mod verify;

pub use auditor::Auditor;
pub use events::{AuditAction, AuditCounters, AuditInput, AuditReport, AuditSettings};
pub use finding::{AuditFinding, AuditLevel, AuditedHost, Misuse};
pub use macs::{RouterProtocol, VirtualRouter};
pub use remedy::AuditRemedy;
