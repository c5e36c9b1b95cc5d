//! Options of setup, check and undo.

use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Default directory of the state files.
pub const DEFAULT_STATE_DIR: &str = "/run/directrix/realserver";

/// Options of setup, check and undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServerOptions {
    /// VIPs, at least one.
    pub vips: Vec<Ipv4Addr>,
    /// Interface of the VIPs: lo, or another one without ARP.
    pub interface: String,
    /// Directory of the state files.
    pub state_dir: PathBuf,
    /// Root directory of the configuration files: `/`, or that of an image.
    pub root: PathBuf,
}
