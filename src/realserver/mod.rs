//! Real server side of direct routing: the VIP on lo, without answers to ARP or neighbor discovery for it.
//!
//! A real server needs the VIP to accept forwarded frames, and must not announce it. For IPv4:
//!
//! - `arp_ignore=1`: answers ARP requests only for addresses of the receiving interface, so not for those on lo.
//! - `arp_announce=2`: sends ARP requests, above all for the gateway, with the address of the sending interface. No
//!   router learns the VIP from them.
//! - VIP/32 on lo. The host route to the VIP of older instructions is not needed: with the address the kernel adds
//!   `local VIP dev lo` to its table `local`, which precedes all others. Replies take the VIP from their socket.
//!
//! For IPv6, VIP/128 on lo with a preferred lifetime of 0 is all: the kernel answers solicitations for addresses of the
//! receiving interface only, and solicits with those. A deprecated address accepts packets, and is never chosen as source
//! of the host's own connections. VIP/64 on lo would route the whole network to lo.
//!
//! The kernel uses the larger of `conf/all` and `conf/IFACE` (IN_DEV_MAXCONF in include/linux/inetdevice.h). Setting
//! `all` is enough unless an interface has a larger value.
//!
//! The former settings are kept in a state file, one per network namespace, for [`undo`]. A reboot resets everything,
//! unless a unit sets it up again.

#![forbid(unsafe_code)]

mod boot_sysctls;
mod check;
mod configured;
mod facts;
mod finding;
mod host;
mod ifupdown;
mod options;
mod persist;
mod setup;
mod state;
mod step;
mod sysctl;

pub use check::check;
pub use finding::{HostFinding, Severity};
pub use options::{DEFAULT_STATE_DIR, RealServerOptions};
pub use persist::advice;
pub use setup::{setup, undo};
pub use step::SetupStep;
