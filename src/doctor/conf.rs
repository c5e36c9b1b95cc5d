//! IPv4 settings of an interface or of all: `/proc/sys/net/ipv4/conf/NAME/`.

use std::fs;

/// The settings that a director depends on. Those of a missing directory are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ipv4Settings {
    pub(super) forwarding: bool,
    pub(super) send_redirects: bool,
    pub(super) rp_filter: i32,
    pub(super) arp_ignore: i32,
    pub(super) log_martians: bool,
}

impl Ipv4Settings {
    /// Reads the settings of an interface, or of `all`.
    pub(super) fn read(interface: &str) -> Self {
        let value = |name| number(&format!("/proc/sys/net/ipv4/conf/{interface}/{name}")).unwrap_or_default();
        Self {
            forwarding: value("forwarding") != 0,
            send_redirects: value("send_redirects") != 0,
            rp_filter: value("rp_filter"),
            arp_ignore: value("arp_ignore"),
            log_martians: value("log_martians") != 0,
        }
    }
}

/// Reads a setting; `None` if this kernel or network namespace does not have it.
pub(super) fn number(path: &str) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A command that writes an IPv4 setting.
pub(super) fn writes(value: i32, interface: &str, name: &str) -> String {
    format!("echo {value} > /proc/sys/net/ipv4/conf/{interface}/{name}")
}
