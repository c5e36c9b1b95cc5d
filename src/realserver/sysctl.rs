//! Sysctls below /proc/sys/net/ipv4/conf and /proc/sys/net/ipv6/conf, in the calling thread's network namespace.

use crate::model::Diagnostic;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// A sysctl of one interface, or of `all`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SysctlKey {
    pub(super) interface: String,
    pub(super) name: SysctlName,
}

/// Names of sysctls (Documentation/networking/ip-sysctl.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SysctlName {
    ArpIgnore,
    ArpAnnounce,
    RpFilter,
    DisableIpv6,
    Forwarding,
    ProxyNdp,
}

impl SysctlName {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
            Self::RpFilter => "rp_filter",
            Self::DisableIpv6 => "disable_ipv6",
            Self::Forwarding => "forwarding",
            Self::ProxyNdp => "proxy_ndp",
        }
    }

    /// Directory of the sysctls; `forwarding` means that of IPv6.
    fn directory(self) -> &'static str {
        match self {
            Self::ArpIgnore | Self::ArpAnnounce | Self::RpFilter => "/proc/sys/net/ipv4/conf",
            Self::DisableIpv6 | Self::Forwarding | Self::ProxyNdp => "/proc/sys/net/ipv6/conf",
        }
    }
}

impl SysctlKey {
    pub(super) fn new(interface: &str, name: SysctlName) -> Self {
        Self { interface: interface.into(), name }
    }

    pub(super) fn path(&self) -> PathBuf {
        [self.name.directory(), &self.interface, self.name.as_str()].iter().collect()
    }

    /// Current value; `None` if the interface does not exist, or the kernel has no IPv6.
    pub(super) fn read(&self) -> Result<Option<i32>, Diagnostic> {
        let text = match std::fs::read_to_string(self.path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| self.failed("reading", &error))?,
        };
        text.trim().parse().map(Some).map_err(|_| self.failed("reading", &ErrorKind::InvalidData.into()))
    }

    pub(super) fn write(&self, value: i32) -> Result<(), Diagnostic> {
        std::fs::write(self.path(), value.to_string()).map_err(|error| self.failed("writing", &error))
    }

    /// Shell command equivalent to [`SysctlKey::write`].
    pub(super) fn command(&self, value: i32) -> String {
        format!("echo {value} > {}", self.path().display())
    }

    fn failed(&self, doing: &str, error: &io::Error) -> Diagnostic {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => "run as root, or with CAP_NET_ADMIN",
            ErrorKind::ReadOnlyFilesystem => {
                "a container's /proc/sys is read-only: set it from the host, or start the container with these sysctls"
            }
            _ => "is /proc mounted?",
        };
        Diagnostic::system(format!("{doing} {}", self.path().display()))
            .cause(error.to_string())
            .remedy(remedy)
    }
}
