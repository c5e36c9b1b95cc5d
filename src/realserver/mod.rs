//! The real server's side of direct routing: the VIP on lo, quiet in ARP.
//!
//! A real server must own the VIP to accept the director's frames, and must not tell anybody:
//! - `arp_ignore=1`: it answers ARP only for addresses of the interface that is asked, so not
//!   for those on lo.
//! - `arp_announce=2`: it asks for others, its gateway above all, with that interface's own
//!   address, so the VIP is in no router's ARP table by its doing.
//! - VIP/32 on lo. A host route to the VIP through lo, as older instructions have it, is not
//!   needed: with the address the kernel makes `local VIP dev lo` in its table `local`, which is
//!   looked up before all others, and replies take the VIP from their socket.
//!
//! The kernel takes the larger of `conf/all` and `conf/IFACE` (IN_DEV_MAXCONF in
//! include/linux/inetdevice.h), so setting `all` is enough unless an interface has more.
//!
//! What was there before is kept in a state file, one per network namespace, for [`undo`]. All of it is gone with the
//! next boot, unless a unit sets it up again.

#![forbid(unsafe_code)]

mod check;
mod facts;
mod host;
mod persist;
mod setup;
mod state;
mod sysctl;

pub use check::{Finding, Severity, check};
pub use setup::{Step, setup, undo};

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where the state is kept unless told otherwise.
pub const DEFAULT_STATE_DIR: &str = "/run/directrix/realserver";

/// What to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The VIPs, at least one.
    pub vips: Vec<Ipv4Addr>,
    /// The interface that the VIPs are put on: lo, or another that does no ARP.
    pub interface: String,
    /// Directory of the state files.
    pub state_dir: PathBuf,
    /// Whose `etc` is read and written: `/`, or the root folder of an image.
    pub root: PathBuf,
}

/// What makes a host a real server after a reboot, as files to be copied: `exe` is the program that a unit runs.
#[must_use]
pub fn advice(options: &Options, exe: &Path) -> String {
    persist::advice(options, exe)
}
