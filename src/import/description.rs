//! Content of an imported file, independent of its format and of what directrix supports.

use super::check::ImportedCheck;
pub(super) use crate::ipvsadm::Forward;
use crate::model::IpFamily;
pub(super) use crate::model::Place;
use crate::wire::Protocol;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A value with its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) location: Place,
    pub(super) value: T,
}

impl<T> At<T> {
    pub(super) fn new(location: &Place, value: T) -> Self {
        Self { location: location.clone(), value }
    }
}

/// Services and timeouts of a file and its includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) interface: Option<At<String>>,
    pub(super) timeouts: ImportedTimeouts,
    pub(super) sync: Option<At<ImportedSync>>,
    /// Lines of `[director]` for IPVS's switches.
    pub(super) switches: Vec<At<String>>,
    pub(super) services: Vec<ImportedService>,
}

/// Connection sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedSync {
    pub(super) interface: String,
    /// Keys of `[sync]` with their values, as they are in the file.
    pub(super) keys: Vec<(&'static str, String)>,
}

/// Timeouts in seconds, where the file sets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImportedTimeouts {
    pub(super) tcp: Option<At<u32>>,
    pub(super) tcp_fin: Option<At<u32>>,
    pub(super) udp: Option<At<u32>>,
}

/// Key of a service in IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImportedIdentity {
    /// Port 0 is the wildcard port.
    Address(Protocol, SocketAddr),
    /// A firewall mark: IPv4 and IPv6 have services of their own.
    Mark(u32, IpFamily),
}

impl ImportedIdentity {
    pub(super) fn is_ipv6(self) -> bool {
        match self {
            Self::Address(_, address) => address.is_ipv6(),
            Self::Mark(_, family) => family == IpFamily::Ipv6,
        }
    }
}

impl fmt::Display for ImportedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(transport, address) => {
                write!(f, "{} {address}", transport.name().to_uppercase())
            }
            Self::Mark(mark, IpFamily::Ipv4) => write!(f, "firewall mark {mark}"),
            Self::Mark(mark, IpFamily::Ipv6) => write!(f, "firewall mark {mark} of IPv6"),
        }
    }
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedService {
    /// Its first line, verbatim.
    pub(super) origin: At<String>,
    pub(super) vip: ImportedIdentity,
    pub(super) settings: ImportedSettings,
    /// Lines of the configuration for the effects of health.
    pub(super) health: Vec<At<String>>,
    pub(super) servers: Vec<ImportedServer>,
    pub(super) sorry_server: Option<ImportedSorryServer>,
}

/// A sorry server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedSorryServer {
    pub(super) server: ImportedServer,
    /// Whether it is listed with weight 0 while it is not in use.
    pub(super) inhibit: bool,
}

/// Scheduler, persistence and flags of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImportedSettings {
    pub(super) scheduler: Option<At<String>>,
    pub(super) flags: Vec<At<String>>,
    pub(super) persistence: Option<At<ImportedPersistence>>,
    /// Persistence engine (`--pe`).
    pub(super) engine: Option<At<String>>,
    pub(super) one_packet: Option<Place>,
}

/// Persistence of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedPersistence {
    /// Seconds.
    pub(super) timeout: u32,
    /// As written: dotted for IPv4, prefix length for IPv6. `None`: each address is its own client.
    pub(super) netmask: Option<String>,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedServer {
    pub(super) location: Place,
    pub(super) address: IpAddr,
    /// 0: the port of the service.
    pub(super) port: u16,
    pub(super) forward: Forward,
    pub(super) weight: u32,
    /// Connections; 0: no limit.
    pub(super) upper: u32,
    pub(super) lower: u32,
    pub(super) checks: Vec<ImportedCheck>,
}
