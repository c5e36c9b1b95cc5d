//! Options of setup, check and undo.

use std::net::IpAddr;
use std::path::PathBuf;

/// Default directory of the state files.
pub const DEFAULT_STATE_DIR: &str = "/run/directrix/realserver";

/// Options of setup, check and undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServerOptions {
    /// VIPs of either family, at least one.
    pub vips: Vec<IpAddr>,
    /// Interface of the VIPs: lo, or another one without ARP and NDP.
    pub interface: String,
    /// Directory of the state files.
    pub state_dir: PathBuf,
    /// Root directory of the configuration files: `/`, or that of an image.
    pub root: PathBuf,
}

impl RealServerOptions {
    /// Whether a VIP is an IPv4 address: those need the ARP settings.
    pub(super) fn has_ipv4(&self) -> bool {
        self.vips.iter().any(IpAddr::is_ipv4)
    }

    /// Whether a VIP is an IPv6 address.
    pub(super) fn has_ipv6(&self) -> bool {
        self.vips.iter().any(IpAddr::is_ipv6)
    }
}
