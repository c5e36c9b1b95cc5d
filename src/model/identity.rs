//! Identity of a virtual service: its address, or the firewall mark of a group.

use super::ServiceAddress;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// Address family of a group, as ipvsadm's `-6` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl From<IpAddr> for IpFamily {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Firewall mark of a group. Nothing marks frames: the matches of the group say which frames it stands for. The same
/// mark names two groups, one for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FirewallMark {
    /// The number, as in `ipvsadm -f`.
    pub mark: NonZeroU32,
    /// IpFamily of all VIPs and real servers.
    pub family: IpFamily,
}

impl fmt::Display for FirewallMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FWM {}", self.mark)?;
        if self.family == IpFamily::Ipv6 { f.write_str(" IPv6") } else { Ok(()) }
    }
}

/// Identity of a virtual service.
///
/// Ordered as ipvsadm lists: services by address first, then marks by number and family (`sort_services` in ipvsadm.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServiceIdentity {
    /// Protocol, VIP and port.
    Address(ServiceAddress),
    /// The firewall mark of a group of matches.
    Mark(FirewallMark),
}

impl ServiceIdentity {
    /// IpFamily of its VIPs and real servers.
    #[must_use]
    pub fn family(&self) -> IpFamily {
        match self {
            Self::Address(of) => of.address.ip().into(),
            Self::Mark(of) => of.family,
        }
    }

    /// The address; `None` for a group.
    #[must_use]
    pub fn address(&self) -> Option<ServiceAddress> {
        match self {
            Self::Address(of) => Some(*of),
            Self::Mark(_) => None,
        }
    }

    /// The mark of a group; `None` for a service by address.
    #[must_use]
    pub fn mark(&self) -> Option<FirewallMark> {
        match self {
            Self::Address(_) => None,
            Self::Mark(of) => Some(*of),
        }
    }

    /// The port of the servers in listings: that of the service, and 0 for a group as in IPVS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address().map_or(0, |of| of.address.port())
    }
}

impl From<ServiceAddress> for ServiceIdentity {
    fn from(address: ServiceAddress) -> Self {
        Self::Address(address)
    }
}

impl From<FirewallMark> for ServiceIdentity {
    fn from(mark: FirewallMark) -> Self {
        Self::Mark(mark)
    }
}

impl PartialEq<ServiceAddress> for ServiceIdentity {
    fn eq(&self, other: &ServiceAddress) -> bool {
        *self == Self::Address(*other)
    }
}

impl fmt::Display for ServiceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(of) => of.fmt(f),
            Self::Mark(of) => of.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Protocol;

    fn mark(mark: u32, family: IpFamily) -> ServiceIdentity {
        FirewallMark { mark: NonZeroU32::new(mark).unwrap(), family }.into()
    }

    #[test]
    fn groups_sort_behind_addresses_by_mark_and_family() {
        let address =
            ServiceAddress { protocol: Protocol::Udp, address: "[2001:db8::1]:53".parse().unwrap() };
        let sorted =
            [address.into(), mark(7, IpFamily::Ipv4), mark(7, IpFamily::Ipv6), mark(8, IpFamily::Ipv4)];
        let mut shuffled = [sorted[2], sorted[3], sorted[0], sorted[1]];
        shuffled.sort();
        assert_eq!(shuffled, sorted);
        assert_eq!(sorted.map(|of| of.to_string()), ["UDP [2001:db8::1]:53", "FWM 7", "FWM 7 IPv6", "FWM 8"]);
    }

    #[test]
    fn identities_are_plain_objects_in_json() {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        for (identity, json) in [
            (address.into(), r#"{"protocol":"tcp","address":"192.0.2.1:80"}"#),
            (mark(7, IpFamily::Ipv6), r#"{"mark":7,"family":"ipv6"}"#),
        ] {
            assert_eq!(serde_json::to_string::<ServiceIdentity>(&identity).unwrap(), json);
            assert_eq!(serde_json::from_str::<ServiceIdentity>(json).unwrap(), identity);
        }
    }
}
