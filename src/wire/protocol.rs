//! Transport protocols of virtual services.

use std::fmt;

/// Transport protocol of a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
    /// RFC 9260.
    Sctp = 132,
}

impl Protocol {
    /// Protocol number in the IP header.
    pub const TCP: u8 = Self::Tcp as u8;
    /// Protocol number in the IP header.
    pub const UDP: u8 = Self::Udp as u8;
    /// Protocol number in the IP header.
    pub const SCTP: u8 = Self::Sctp as u8;
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Name in configurations, and in /etc/services.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol with this name; `None` if services have none of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// The protocol with this number in the IP header, if services have it.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            Self::TCP => Some(Self::Tcp),
            Self::UDP => Some(Self::Udp),
            Self::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}
