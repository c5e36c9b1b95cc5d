//! What control is told.

use super::InterfaceIndex;
use crate::wire::MacAddr;
use std::fmt;
use std::net::Ipv4Addr;

/// A change that control acts on or logs; as text, a sentence for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpReport {
    /// The VIP is the director's now: it is answered for from here on.
    Claimed {
        /// The VIP.
        vip: Ipv4Addr,
    },
    /// Another station acts as if it had the VIP. Reported once for each station, and once more when
    /// it turns out which real server it is.
    Conflict {
        /// The VIP.
        vip: Ipv4Addr,
        /// Who.
        mac: MacAddr,
        /// The real server that has this MAC address, if one is known to.
        server: Option<Ipv4Addr>,
    },
    /// Another station has the VIP, and the policy is to stand by: the VIP is not the director's, or not
    /// any more. The station is asked regularly, and the VIP claimed when it does not answer.
    Standby {
        /// The VIP.
        vip: Ipv4Addr,
        /// The holder.
        mac: MacAddr,
    },
    /// Another station answers probes for the claimed VIP again and again: a real server with a wrong
    /// `arp_ignore`, or another director. [`ArpReport::ConflictOver`] is the end of it.
    Held {
        /// The VIP.
        vip: Ipv4Addr,
        /// The station.
        mac: MacAddr,
        /// The real server that has this MAC address, if one is known to.
        server: Option<Ipv4Addr>,
    },
    /// That station is not heard with the VIP any more.
    ConflictOver {
        /// The VIP.
        vip: Ipv4Addr,
        /// Who.
        mac: MacAddr,
        /// The real server that it was, if known.
        server: Option<Ipv4Addr>,
    },
    /// The server is reachable, at this address: new, or back again.
    Resolved {
        /// The interface that it is behind.
        interface: InterfaceIndex,
        /// The server.
        rip: Ipv4Addr,
        /// Its address.
        mac: MacAddr,
    },
    /// The server is reachable at another address than before. The old one was asked and did not
    /// answer.
    Moved {
        /// The interface that it is behind.
        interface: InterfaceIndex,
        /// The server.
        rip: Ipv4Addr,
        /// Its address until now.
        old: MacAddr,
        /// Its address from now on.
        new: MacAddr,
    },
    /// Another station claims a reachable server's address, and the known one still answers: frames
    /// go on to that. Reported once for each claimant.
    Disputed {
        /// The interface that it is behind.
        interface: InterfaceIndex,
        /// The server.
        rip: Ipv4Addr,
        /// Its known address, which answers.
        mac: MacAddr,
        /// The other one.
        claimant: MacAddr,
    },
    /// That station does not claim the server's address any more.
    DisputeOver {
        /// The interface that it is behind.
        interface: InterfaceIndex,
        /// The server.
        rip: Ipv4Addr,
        /// The other station.
        claimant: MacAddr,
    },
    /// The server does not answer, or has never answered. It is still asked.
    Lost {
        /// The interface that it is behind.
        interface: InterfaceIndex,
        /// The server.
        rip: Ipv4Addr,
    },
}

impl ArpReport {
    /// The VIP or the real server that it is about.
    #[must_use]
    pub fn about(&self) -> Ipv4Addr {
        match *self {
            Self::Claimed { vip }
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

impl fmt::Display for ArpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Claimed { vip } => write!(f, "VIP {vip} is claimed"),
            Self::Conflict { vip, mac, server: None } => {
                write!(f, "VIP {vip} is in use by {mac} too: take it off that host")
            }
            Self::Conflict { vip, mac, server: Some(rip) } => {
                write!(f, "VIP {vip} is in use by real server {rip} ({mac}) too: {REMEDY}")
            }
            Self::Standby { vip, mac } => write!(f, "VIP {vip} is left to {mac}"),
            Self::Held { vip, mac, server: None } => write!(f, "{mac} answers every probe for VIP {vip}"),
            Self::Held { vip, mac, server: Some(rip) } => {
                write!(f, "real server {rip} ({mac}) answers every probe for VIP {vip}: {REMEDY}")
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
            Self::Lost { rip, .. } => write!(f, "real server {rip} does not answer ARP"),
        }
    }
}

const REMEDY: &str = "set arp_ignore=1 and arp_announce=2 there";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_everybody_involved() {
        let vip = Ipv4Addr::new(192, 0, 2, 80);
        let mac = MacAddr([2, 0, 0, 0, 0, 7]);
        let rip = Ipv4Addr::new(192, 0, 2, 7);
        let of = |report: ArpReport| report.to_string();
        let server = ArpReport::Conflict { vip, mac, server: Some(rip) };
        assert_eq!(
            of(server),
            "VIP 192.0.2.80 is in use by real server 192.0.2.7 (02:00:00:00:00:07) too: \
             set arp_ignore=1 and arp_announce=2 there"
        );
        let stranger = ArpReport::Conflict { vip, mac, server: None };
        assert_eq!(of(stranger), "VIP 192.0.2.80 is in use by 02:00:00:00:00:07 too: take it off that host");
        let interface = InterfaceIndex::CLIENT;
        assert_eq!(
            of(ArpReport::Resolved { interface, rip, mac }),
            "real server 192.0.2.7 is at 02:00:00:00:00:07"
        );
    }
}
