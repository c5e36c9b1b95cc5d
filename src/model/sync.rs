//! The `[sync]` table: this director and others tell each other their connections.

use crate::time::Span;
use std::net::{IpAddr, Ipv4Addr};

/// The `[sync]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Interface that the group is reached by.
    pub interface: String,
    /// Multicast group.
    pub group: IpAddr,
    /// UDP port.
    pub port: u16,
    /// Time to live, or hop limit, of messages to the group.
    pub ttl: u8,
    /// Number of the group of directors that share connections.
    pub syncid: u8,
    /// Longest message in bytes; `None`: without fragments on Ethernet.
    pub maxlen: Option<u16>,
    /// Addresses that messages are taken from; empty: any.
    pub peers: Vec<IpAddr>,
    /// Whether messages also go to the address of each peer.
    pub unicast: bool,
    /// Ways of messages.
    pub direction: SyncDirection,
    /// Time between two hellos, in whole seconds; 0: none, and no resync.
    pub hello: Span,
}

/// Ways of sync messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncDirection {
    /// This director tells its connections, and takes those of others.
    #[default]
    Both,
    /// It tells its connections alone.
    Send,
    /// It takes those of others alone.
    Receive,
}

impl SyncDirection {
    /// The names in configuration files.
    pub(super) const NAMES: &[(&str, Self)] =
        &[("both", Self::Both), ("send", Self::Send), ("receive", Self::Receive)];

    /// The name in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }

    /// True if messages are sent.
    #[must_use]
    pub fn sends(self) -> bool {
        self != Self::Receive
    }

    /// True if messages are received.
    #[must_use]
    pub fn receives(self) -> bool {
        self != Self::Send
    }
}

impl SyncConfig {
    /// IPVS's group (`IP_VS_SYNC_GROUP` in net/netfilter/ipvs/ip_vs_sync.c).
    pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
    /// IPVS's port (`IP_VS_SYNC_PORT`).
    pub const PORT: u16 = 8848;
    /// IPVS's time to live: messages stay on the segment.
    pub const TTL: u8 = 1;
    /// Default of `hello`.
    pub const HELLO: Span = Span::from_secs(1);
    /// Shortest message with room for a record of IPv6.
    pub const LEN_MIN: u16 = 80;
    /// Longest message that a UDP datagram over IPv4 holds.
    pub const LEN_MAX: u16 = 65507;

    /// The defaults on an interface, with a syncid.
    #[must_use]
    pub fn new(interface: String, syncid: u8) -> Self {
        Self {
            interface,
            group: Self::GROUP,
            port: Self::PORT,
            ttl: Self::TTL,
            syncid,
            maxlen: None,
            peers: Vec::new(),
            unicast: false,
            direction: SyncDirection::default(),
            hello: Self::HELLO,
        }
    }

    /// The keys of the table, each with true if `new` has the same value. All need a restart.
    pub(super) fn compare(old: Option<&Self>, new: Option<&Self>) -> Vec<(&'static str, bool)> {
        let (Some(old), Some(new)) = (old, new) else {
            return vec![("sync.interface", old.is_none() && new.is_none())];
        };
        vec![
            ("sync.interface", old.interface == new.interface),
            ("sync.group", old.group == new.group),
            ("sync.port", old.port == new.port),
            ("sync.ttl", old.ttl == new.ttl),
            ("sync.syncid", old.syncid == new.syncid),
            ("sync.maxlen", old.maxlen == new.maxlen),
            ("sync.peers", old.peers == new.peers),
            ("sync.unicast", old.unicast == new.unicast),
            ("sync.direction", old.direction == new.direction),
            ("sync.hello", old.hello == new.hello),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_that_differs_is_named() {
        let old = SyncConfig::new("eth1".into(), 7);
        let differing = |old: Option<&SyncConfig>, new: Option<&SyncConfig>| -> Vec<_> {
            let keys = SyncConfig::compare(old, new).into_iter();
            keys.filter(|(_, same)| !same).map(|(key, _)| key).collect()
        };
        assert_eq!(differing(None, None), [""; 0]);
        assert_eq!(differing(None, Some(&old)), ["sync.interface"]);
        assert_eq!(differing(Some(&old), Some(&old)), [""; 0]);
        let new = SyncConfig { ttl: 2, direction: SyncDirection::Send, ..old.clone() };
        assert_eq!(differing(Some(&old), Some(&new)), ["sync.ttl", "sync.direction"]);
    }
}
