//! What a file of another tool means, before anybody asks whether directrix can do it.

pub(super) use crate::ipvsadm::{Forward, Transport};

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file as named by the user.
    pub(super) file: Rc<str>,
    /// 1-based; 0: the file as a whole.
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Something with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

impl<T> At<T> {
    pub(super) fn new(place: &Place, value: T) -> Self {
        Self { place: place.clone(), value }
    }
}

/// A whole file, with those that it includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) interface: Option<At<String>>,
    pub(super) timeouts: Timeouts,
    pub(super) services: Vec<Service>,
}

/// Seconds, where they are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) tcp: Option<At<u32>>,
    pub(super) tcp_fin: Option<At<u32>>,
    pub(super) udp: Option<At<u32>>,
}

/// How a service is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vip {
    /// Port 0 is the wildcard port.
    Address(Transport, SocketAddr),
    /// A firewall mark.
    Mark(u32),
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(transport, address) => {
                write!(f, "{} {address}", transport.name().to_uppercase())
            }
            Self::Mark(mark) => write!(f, "firewall mark {mark}"),
        }
    }
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Where it begins, and the line as it stands there.
    pub(super) origin: At<String>,
    pub(super) vip: Vip,
    pub(super) settings: Settings,
    pub(super) servers: Vec<Server>,
}

/// How a virtual service treats new connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) scheduler: Option<At<String>>,
    pub(super) flags: Vec<At<String>>,
    pub(super) persistence: Option<At<Persistence>>,
    /// Persistence engine.
    pub(super) engine: Option<At<String>>,
    pub(super) one_packet: Option<Place>,
}

/// A client's later connections go where the first one went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Persistence {
    /// Seconds.
    pub(super) timeout: u32,
    /// As written: a dotted mask for IPv4, a length for IPv6. None: each address for itself.
    pub(super) netmask: Option<String>,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) place: Place,
    pub(super) address: IpAddr,
    /// 0: the service's.
    pub(super) port: u16,
    pub(super) forward: Forward,
    pub(super) weight: u32,
    /// Connections; 0: no limit.
    pub(super) upper: u32,
    pub(super) lower: u32,
}
