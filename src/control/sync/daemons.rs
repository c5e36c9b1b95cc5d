//! Sync daemons of a director, as IPVS has them: one that sends, one that receives.

use super::{SyncListener, SyncSocketError, SyncSocketSettings, SyncTransmitter};
use crate::model::{DirectorConfig, SyncConfig};
use crate::sync::{MESSAGE_LEN_DEFAULT, MESSAGE_LEN_DEFAULT_V6, SyncIdFilter, SyncSettings, SyncTrust};
use crate::sys::rtnetlink;
use crate::time::Span;
use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Entries of the table that an answer to a request walks over in a second: 9 MB a second of IPv4 records.
const BULK_PER_SECOND: u32 = 250_000;
/// Most messages that are taken from one sender in a second: twice as many as such an answer of IPv6 records.
const MESSAGES_PER_SECOND: u32 = 25_000;

/// Parameters of one daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemon {
    /// Interface of the messages.
    pub interface: String,
    /// Multicast group.
    pub group: IpAddr,
    /// UDP port.
    pub port: u16,
    /// Time to live.
    pub ttl: u8,
    /// Number of the group of directors.
    pub syncid: u8,
    /// Longest message in bytes.
    pub maxlen: u16,
}

/// The daemons that run or are to run, and what IPVS's daemons lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDaemons {
    /// The one that sends.
    pub master: Option<SyncDaemon>,
    /// The one that receives.
    pub backup: Option<SyncDaemon>,
    /// Addresses that messages are taken from; empty: any.
    pub peers: Vec<IpAddr>,
    /// Whether messages also go to the address of each peer.
    pub unicast: bool,
    /// Time between two hellos; 0: none.
    pub hello: Span,
}

/// Open sockets of the daemons.
pub struct SyncEnding {
    /// Sending end.
    pub transmitter: Option<SyncTransmitter>,
    /// Receiving end.
    pub listener: Option<SyncListener>,
}

impl SyncDaemons {
    /// No daemon.
    #[must_use]
    pub fn none() -> Self {
        Self { master: None, backup: None, peers: Vec::new(), unicast: false, hello: SyncConfig::HELLO }
    }

    /// Daemons of a director's configuration.
    #[must_use]
    pub fn configured(config: &DirectorConfig) -> Self {
        config.sync.as_ref().map_or_else(Self::none, Self::of)
    }

    /// Daemons of a `[sync]` table.
    #[must_use]
    pub fn of(config: &SyncConfig) -> Self {
        let SyncConfig { interface, group, port, ttl, syncid, .. } = config.clone();
        let maxlen = config.maxlen.unwrap_or(default_len(group));
        let daemon = SyncDaemon { interface, group, port, ttl, syncid, maxlen };
        Self {
            master: config.direction.sends().then(|| daemon.clone()),
            backup: config.direction.receives().then_some(daemon),
            peers: config.peers.clone(),
            unicast: config.unicast,
            hello: config.hello,
        }
    }

    /// True if one is to run.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    /// Opens the sockets.
    ///
    /// # Errors
    /// Of the first that cannot be opened.
    pub fn open(&self) -> Result<SyncEnding, SyncSocketError> {
        let listener = self.backup.as_ref().map(|of| SyncListener::open(&self.way(of))).transpose()?;
        let transmitter = self.master.as_ref().map(|of| SyncTransmitter::open(&self.way(of))).transpose()?;
        Ok(SyncEnding { transmitter, listener })
    }

    fn way(&self, of: &SyncDaemon) -> SyncSocketSettings {
        let SyncDaemon { interface, group, port, ttl, .. } = of.clone();
        let unicast = if self.unicast { self.peers.clone() } else { Vec::new() };
        SyncSocketSettings { interface, group, port, ttl, unicast }
    }

    /// Settings of the machine. A backup of syncid 0 takes messages of every id, as a kernel's.
    #[must_use]
    pub fn settings(&self) -> SyncSettings {
        let filter = |syncid| if syncid == 0 { SyncIdFilter::Any } else { SyncIdFilter::Exactly(syncid) };
        let trust = |of: &SyncDaemon| SyncTrust {
            filter: filter(of.syncid),
            peers: self.peers.clone(),
            messages_per_second: MESSAGES_PER_SECOND,
        };
        let master = self.master.as_ref();
        SyncSettings {
            syncid: master.map_or(0, |of| of.syncid),
            len_max: master.map_or(MESSAGE_LEN_DEFAULT, |of| of.maxlen),
            sends: master.is_some(),
            trust: self.backup.as_ref().map(trust),
            hello_every: (self.hello > Span::default()).then_some(self.hello),
            bulk_per_second: BULK_PER_SECOND,
        }
    }
}

/// Longest message without fragments on Ethernet.
#[must_use]
pub fn default_len(group: IpAddr) -> u16 {
    if group.is_ipv4() { MESSAGE_LEN_DEFAULT } else { MESSAGE_LEN_DEFAULT_V6 }
}

/// Buffer of a receiving daemon: the given length, else what a datagram on the interface holds
/// (`start_sync_thread` in net/netfilter/ipvs/ip_vs_sync.c). Longer messages are taken all the same.
#[must_use]
pub fn backup_len(interface: &str, group: IpAddr, given: Option<u16>) -> u16 {
    const BUFFER_MIN: u16 = 1024;
    let headers = if group.is_ipv4() { 28 } else { 48 };
    let mtu = || {
        let index = if_nametoindex(interface).ok()?;
        Some(rtnetlink::link(index).ok()??.mtu)
    };
    let len = given.unwrap_or_else(|| mtu().unwrap_or_default().clamp(1500, 65535) as u16 - headers);
    len.max(BUFFER_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SyncDirection;

    #[test]
    fn each_direction_is_a_daemon() {
        let of = |direction| SyncDaemons::of(&SyncConfig { direction, ..SyncConfig::new("eth1".into(), 7) });
        let both = of(SyncDirection::Both);
        assert_eq!(both.master, both.backup);
        assert_eq!(both.master.as_ref().unwrap().maxlen, 1472);
        assert!(of(SyncDirection::Send).backup.is_none() && of(SyncDirection::Receive).master.is_none());
        let settings = both.settings();
        assert!(settings.sends && settings.trust.is_some_and(|of| of.filter == SyncIdFilter::Exactly(7)));
        assert!(!SyncDaemons::none().is_any());
    }
}
