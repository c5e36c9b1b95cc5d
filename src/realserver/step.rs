//! Steps of setup and undo.

use super::host::single_prefix;
use std::fmt;
use std::net::IpAddr;

/// A change of the host, or a remark about an unchanged part. Displayed as a line of shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupStep {
    /// Equivalent shell command; empty for a remark.
    pub command: String,
    /// Explanation.
    pub remark: String,
}

impl SetupStep {
    /// A step without a change.
    pub(super) fn remark(remark: String) -> Self {
        Self { command: String::new(), remark }
    }
}

/// Shell command that puts a VIP on an interface, an IPv6 one as deprecated.
pub(super) fn add_command(vip: IpAddr, interface: &str) -> String {
    let deprecated = if vip.is_ipv6() { " preferred_lft 0" } else { "" };
    format!("ip address add {vip}/{} dev {interface}{deprecated}", single_prefix(vip))
}

impl fmt::Display for SetupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, remark } = self;
        match command.as_str() {
            "" => write!(f, "# {remark}"),
            _ => write!(f, "{command:<62} # {remark}"),
        }
    }
}
