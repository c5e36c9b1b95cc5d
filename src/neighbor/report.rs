//! Reports to the control thread.

use crate::model::InterfaceIndex;
use crate::wire::MacAddr;
use std::fmt;
use std::net::IpAddr;

/// Change that control acts on or logs. Displayed as a sentence for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborReport {
    /// The VIP is claimed: it is answered for from now on.
    Claimed {
        /// The VIP.
        vip: IpAddr,
    },
    /// The director's role is backup or fault: the VIP is not, or no longer, answered for.
    Released {
        /// The VIP.
        vip: IpAddr,
    },
    /// Another station uses the VIP. Reported once per station, and again when its real server is
    /// identified.
    Conflict {
        /// The VIP.
        vip: IpAddr,
        /// MAC address of the station.
        mac: MacAddr,
        /// Real server with this MAC address, if known.
        server: Option<IpAddr>,
    },
    /// Another station has the VIP, and the policy is to stand by: the VIP is not, or no longer, claimed.
    /// The station is probed regularly, and the VIP is claimed when it does not answer.
    Standby {
        /// The VIP.
        vip: IpAddr,
        /// MAC address of the holder.
        mac: MacAddr,
    },
    /// Another station answers probes for the claimed VIP repeatedly: a real server with a wrong
    /// `arp_ignore`, or another director. Ends with [`NeighborReport::ConflictOver`].
    Held {
        /// The VIP.
        vip: IpAddr,
        /// MAC address of the station.
        mac: MacAddr,
        /// Real server with this MAC address, if known.
        server: Option<IpAddr>,
    },
    /// The station no longer uses the VIP.
    ConflictOver {
        /// The VIP.
        vip: IpAddr,
        /// MAC address of the station.
        mac: MacAddr,
        /// Real server with this MAC address, if known.
        server: Option<IpAddr>,
    },
    /// The server is reachable at this address: for the first time, or again.
    Resolved {
        /// Interface of the server.
        interface: InterfaceIndex,
        /// RIP.
        rip: IpAddr,
        /// Its MAC address.
        mac: MacAddr,
    },
    /// The MAC address of the server has changed. The old one was solicited and did not answer.
    Moved {
        /// Interface of the server.
        interface: InterfaceIndex,
        /// RIP.
        rip: IpAddr,
        /// Previous MAC address.
        old: MacAddr,
        /// New MAC address.
        new: MacAddr,
    },
    /// Another station claims the address of a reachable server, and the known one still answers: frames
    /// still go there. Reported once per claiming station.
    Disputed {
        /// Interface of the server.
        interface: InterfaceIndex,
        /// RIP.
        rip: IpAddr,
        /// Known MAC address, which answers.
        mac: MacAddr,
        /// Claiming MAC address.
        claimant: MacAddr,
    },
    /// The station no longer claims the server's address.
    DisputeOver {
        /// Interface of the server.
        interface: InterfaceIndex,
        /// RIP.
        rip: IpAddr,
        /// Claiming MAC address.
        claimant: MacAddr,
    },
    /// The server does not answer solicitations. They continue.
    Lost {
        /// Interface of the server.
        interface: InterfaceIndex,
        /// RIP.
        rip: IpAddr,
    },
}

impl NeighborReport {
    /// VIP or RIP of the report.
    #[must_use]
    pub fn about(&self) -> IpAddr {
        match *self {
            Self::Claimed { vip }
            | Self::Released { vip }
            | Self::Conflict { vip, .. }
            | Self::Standby { vip, .. }
            | Self::Held { vip, .. }
            | Self::ConflictOver { vip, .. } => vip,
            Self::Resolved { rip, .. }
            | Self::Moved { rip, .. }
            | Self::Disputed { rip, .. }
            | Self::DisputeOver { rip, .. }
            | Self::Lost { rip, .. } => rip,
        }
    }
}

impl fmt::Display for NeighborReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Claimed { vip } => write!(f, "VIP {vip} is claimed"),
            Self::Released { vip } => write!(f, "VIP {vip} is released"),
            Self::Conflict { vip, mac, server: None } => {
                write!(f, "VIP {vip} is in use by {mac} too: take it off that host")
            }
            Self::Conflict { vip, mac, server: Some(rip) } => {
                write!(f, "VIP {vip} is in use by real server {rip} ({mac}) too: {}", remedy(vip))
            }
            Self::Standby { vip, mac } => write!(f, "VIP {vip} is left to {mac}"),
            Self::Held { vip, mac, server: None } => write!(f, "{mac} answers every probe for VIP {vip}"),
            Self::Held { vip, mac, server: Some(rip) } => {
                write!(f, "real server {rip} ({mac}) answers every probe for VIP {vip}: {}", remedy(vip))
            }
            Self::ConflictOver { vip, mac, server: None } => {
                write!(f, "VIP {vip} is not in use by {mac} any more")
            }
            Self::ConflictOver { vip, mac, server: Some(rip) } => {
                write!(f, "VIP {vip} is not in use by real server {rip} ({mac}) any more")
            }
            Self::Resolved { rip, mac, .. } => write!(f, "real server {rip} is at {mac}"),
            Self::Moved { rip, old, new, .. } => write!(f, "real server {rip} is at {new} now, not at {old}"),
            Self::Disputed { rip, mac, claimant, .. } => {
                write!(f, "real server {rip} ({mac}): {claimant} claims its address, too")
            }
            Self::DisputeOver { rip, claimant, .. } => {
                write!(f, "real server {rip}: {claimant} does not claim its address any more")
            }
            Self::Lost { rip, .. } if rip.is_ipv6() => {
                write!(f, "real server {rip} does not answer neighbor solicitations")
            }
            Self::Lost { rip, .. } => write!(f, "real server {rip} does not answer ARP"),
        }
    }
}

/// Linux answers ARP for addresses of any interface, and neighbor solicitations for those of the receiving one.
fn remedy(vip: IpAddr) -> &'static str {
    match vip {
        IpAddr::V4(_) => "set arp_ignore=1 and arp_announce=2 there",
        IpAddr::V6(_) => "move the VIP to its interface lo",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_sentence_names_vip_server_and_mac() {
        let vip = Ipv4Addr::new(192, 0, 2, 80).into();
        let mac = MacAddr([2, 0, 0, 0, 0, 7]);
        let rip = Ipv4Addr::new(192, 0, 2, 7).into();
        let of = |report: NeighborReport| report.to_string();
        let server = NeighborReport::Conflict { vip, mac, server: Some(rip) };
        assert_eq!(
            of(server),
            "VIP 192.0.2.80 is in use by real server 192.0.2.7 (02:00:00:00:00:07) too: \
             set arp_ignore=1 and arp_announce=2 there"
        );
        let unknown = NeighborReport::Conflict { vip, mac, server: None };
        assert_eq!(of(unknown), "VIP 192.0.2.80 is in use by 02:00:00:00:00:07 too: take it off that host");
        let interface = InterfaceIndex::CLIENT;
        assert_eq!(
            of(NeighborReport::Resolved { interface, rip, mac }),
            "real server 192.0.2.7 is at 02:00:00:00:00:07"
        );
    }
}
