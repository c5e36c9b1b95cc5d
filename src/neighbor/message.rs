//! Messages between neighbors, free of the protocol that carries them (ARP or NDP).

use crate::wire::MacAddr;
use crate::wire::ndp::Nonce;
use std::net::IpAddr;

/// A received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborMessage {
    /// Ethernet destination.
    pub destination: MacAddr,
    /// Ethernet source. Bridged and proxied messages differ from `mac` here.
    pub source: MacAddr,
    /// The sender's MAC address, as the message gives it.
    pub mac: MacAddr,
    /// The address that the sender uses; `None` in a probe.
    pub sender: Option<IpAddr>,
    /// Subject of the message.
    pub content: Content,
    /// `sender` names another host here, in this segment's network: nothing is learned of it.
    pub is_foreign: bool,
    /// False for an advertisement that leaves a known MAC address as it is (RFC 4861 §4.4, O).
    pub overrides: bool,
}

/// Content of a received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Asks for the MAC address of `target`. Without a sender it is a probe: the station is about to use the address.
    Solicitation {
        /// The address.
        target: IpAddr,
        /// Nonce, by which the sender of a probe knows an echo (RFC 7527). ARP has none.
        nonce: Option<Nonce>,
    },
    /// Gives the sender's MAC address to one station, or to all on behalf of one.
    Answer,
    /// Gives the sender's MAC address to all stations, unasked.
    Announcement,
}

impl NeighborMessage {
    /// Returns the solicited address; `None` for other messages.
    #[must_use]
    pub fn target(&self) -> Option<IpAddr> {
        match self.content {
            Content::Solicitation { target, .. } => Some(target),
            Content::Answer | Content::Announcement => None,
        }
    }

    /// Returns the address that the sender claims by the message; `None` for a foreign one, and in a probe.
    #[must_use]
    pub fn claimed(&self) -> Option<IpAddr> {
        self.sender.filter(|_| !self.is_foreign)
    }

    /// True for a solicitation without a sender address.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.target().is_some() && self.sender.is_none()
    }
}

/// A message to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Asks whether another station uses `address`, without a sender address. Changes no cache.
    Probe {
        /// The address.
        address: IpAddr,
        /// The one station to ask; `None`: all.
        station: Option<MacAddr>,
        /// Nonce, for an IPv6 address.
        nonce: Option<Nonce>,
    },
    /// Announces to all stations that `address` is this director's.
    Announce {
        /// The address.
        address: IpAddr,
        /// The first announcement after the claim.
        is_first: bool,
    },
    /// Answers a solicitation of `address`, which is this director's.
    Answer {
        /// The address.
        address: IpAddr,
        /// MAC address of the soliciting station.
        station: MacAddr,
        /// Its IP address; `None` if it probes.
        to: Option<IpAddr>,
    },
    /// Asks for the MAC address of `address`.
    Solicit {
        /// The address.
        address: IpAddr,
        /// Own address, the sender; `None` if there is none that may be one.
        sender: Option<IpAddr>,
        /// The one station to ask; `None`: all.
        station: Option<MacAddr>,
    },
}
