//! A finding: a host that misuses an address.

use super::macs::{VirtualRouter, vendor};
use crate::wire::MacAddr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Misuse of an address by a host. The name of each is a section of docs/audit.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misuse {
    /// It answers ARP or neighbor solicitations for the VIP.
    Answers,
    /// It answers for the VIP or a real server's address as for any address: proxy ARP.
    Proxy,
    /// It announces the VIP to all hosts (gratuitous ARP, unsolicited advertisement).
    Announces,
    /// It asks for other hosts with the VIP as its own address (`arp_announce`).
    Leaks,
    /// It asks whether the VIP is free, as a host does before it configures an address.
    Probes,
    /// It asks for the VIP again and again: the director's answers do not arrive.
    Unheard,
    /// It claims the address of a real server that another host has.
    Duplicate,
    /// It is the gateway, and sends the frames for the VIP to another host.
    Diverted,
}

/// Weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuditLevel {
    /// Worth knowing; no fault.
    Info,
    /// A fault that may come, or one with a part of the clients.
    Warning,
    /// Clients are lost.
    Error,
}

/// The host of a finding, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditedHost {
    /// A configured real server.
    RealServer {
        /// RIP.
        rip: IpAddr,
        /// True if the MAC address is that of another interface than the RIP's.
        by_other_interface: bool,
    },
    /// A virtual router.
    Router(VirtualRouter),
    /// The gateway at this address.
    Gateway(Ipv4Addr),
    /// Another host, which uses this address.
    Other(IpAddr),
    /// A host of which only the MAC address is known.
    Unknown,
}

/// A host that misuses an address. Displayed as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFinding {
    /// The misuse.
    pub misuse: Misuse,
    /// Its weight.
    pub level: AuditLevel,
    /// The VIP; the RIP in [`Misuse::Duplicate`].
    pub address: IpAddr,
    /// MAC address of the host.
    pub mac: MacAddr,
    /// The host.
    pub host: AuditedHost,
    /// True if a question of the director showed it, false if it was heard unasked.
    pub asked: bool,
    /// The host that is asked for in [`Misuse::Leaks`].
    pub target: Option<IpAddr>,
    /// The MAC address of the real server in [`Misuse::Duplicate`].
    pub known: Option<MacAddr>,
    /// Messages that showed it.
    pub count: u64,
    /// Milliseconds since the first of them.
    pub since_ms: u64,
    /// Milliseconds since the last of them.
    pub last_ms: u64,
}

impl Misuse {
    /// Every misuse.
    pub const ALL: [Self; 8] = [
        Self::Answers,
        Self::Proxy,
        Self::Announces,
        Self::Leaks,
        Self::Probes,
        Self::Unheard,
        Self::Duplicate,
        Self::Diverted,
    ];

    /// Name in the API, the metrics and docs/audit.md.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Proxy => "proxy-arp",
            Self::Announces => "announces",
            Self::Leaks => "leaks",
            Self::Probes => "probes",
            Self::Unheard => "unheard",
            Self::Duplicate => "duplicate",
            Self::Diverted => "diverted",
        }
    }

    /// Weight of the misuse by a host that is neither a virtual router nor a peer.
    pub(super) fn level(self) -> AuditLevel {
        match self {
            Self::Answers
            | Self::Proxy
            | Self::Announces
            | Self::Leaks
            | Self::Duplicate
            | Self::Diverted => AuditLevel::Error,
            Self::Probes | Self::Unheard => AuditLevel::Warning,
        }
    }
}

impl AuditLevel {
    /// Name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl AuditFinding {
    /// RIP of the host, if it is a real server.
    #[must_use]
    pub fn rip(&self) -> Option<IpAddr> {
        match self.host {
            AuditedHost::RealServer { rip, .. } => Some(rip),
            AuditedHost::Router(_)
            | AuditedHost::Gateway(_)
            | AuditedHost::Other(_)
            | AuditedHost::Unknown => None,
        }
    }

    /// Name and MAC address of the host.
    #[must_use]
    pub fn host_name(&self) -> String {
        let mac = self.mac;
        match self.host {
            AuditedHost::RealServer { rip, by_other_interface: false } => {
                format!("real server {rip} ({mac})")
            }
            AuditedHost::RealServer { rip, by_other_interface: true } => {
                format!("real server {rip}, by another of its interfaces ({mac}),")
            }
            AuditedHost::Router(router) => format!("{router} ({mac})"),
            AuditedHost::Gateway(address) => format!("gateway {address} ({mac})"),
            AuditedHost::Other(address) => format!("{address} ({mac}), not a configured real server,"),
            AuditedHost::Unknown => {
                let vendor = vendor(mac).map(|vendor| format!(", {vendor}")).unwrap_or_default();
                format!("{mac}{vendor}, not a configured real server,")
            }
        }
    }

    /// Protocol of the family.
    fn protocol(&self) -> &'static str {
        if self.address.is_ipv6() { "neighbor solicitations" } else { "ARP" }
    }
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, address, protocol) = (self.host_name(), self.address, self.protocol());
        match self.misuse {
            Misuse::Answers => write!(f, "{host} answers {protocol} for the VIP {address}"),
            Misuse::Proxy => write!(f, "{host} answers {protocol} for {address}, as for any address"),
            Misuse::Announces => write!(f, "{host} announces the VIP {address} to all hosts"),
            Misuse::Leaks => match self.target {
                Some(target) => {
                    write!(f, "{host} asks for {target} as the VIP {address}: {target} learns the VIP there")
                }
                None => {
                    write!(f, "{host} asks for other hosts as the VIP {address}: they learn the VIP there")
                }
            },
            Misuse::Probes => {
                write!(f, "{host} asks whether the VIP {address} is free, as before it configures it")
            }
            Misuse::Unheard => {
                write!(
                    f,
                    "{host} asks for the VIP {address} again and again: the answers do not arrive there"
                )
            }
            Misuse::Duplicate => match self.known {
                Some(known) => {
                    write!(f, "{host} has the address {address} of the real server at {known}, too")
                }
                None => write!(f, "{host} and another host take the address {address} from each other"),
            },
            Misuse::Diverted => write!(
                f,
                "{host} sends frames for the VIP {address} to another host: they came to this director before"
            ),
        }
    }
}
