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
}

impl Protocol {
    /// Protocol number in the IP header.
    pub const TCP: u8 = Self::Tcp as u8;
    /// Protocol number in the IP header.
    pub const UDP: u8 = Self::Udp as u8;

    /// The protocol with this number in the IP header, if services have it.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            Self::TCP => Some(Self::Tcp),
            Self::UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}
