//! Report of connection sync for control: peers, counts and refusals at one moment.

use crate::sync::{SyncCounts, SyncMachine, SyncPeer, SyncRefusal, SyncRole, SyncVersion};
use crate::time::Tick;
use std::net::IpAddr;

/// State of connection sync; the default while none runs.
#[derive(Clone, Debug, Default)]
pub struct SyncReport {
    /// True while messages are sent or received.
    pub is_running: bool,
    /// True once all connections of a peer have come, or there is no peer to ask.
    pub is_complete: bool,
    /// Own connections and templates.
    pub counts: SyncCounts,
    /// Records sent.
    pub records_sent: u64,
    /// Datagrams sent, a copy to each unicast peer counted.
    pub datagrams_sent: u64,
    /// Datagrams that the kernel did not take.
    pub send_failures: u64,
    /// Refusals by reason, without reasons that did not occur.
    pub refusals: Vec<(SyncRefusal, u64)>,
    /// The directors that were heard.
    pub peers: Vec<SyncPeerReport>,
}

/// A director that was heard.
#[derive(Clone, Debug)]
pub struct SyncPeerReport {
    /// Source address of its messages.
    pub source: IpAddr,
    /// Version of its last message.
    pub version: Option<SyncVersion>,
    /// Milliseconds since its last message.
    pub heard_ms: u32,
    /// Messages with a right header.
    pub messages: u64,
    /// Records with right fields.
    pub records: u64,
    /// Messages and parts of them that were refused.
    pub refused: u64,
    /// Records that have not arrived, by its hellos.
    pub lost: u64,
    /// Its last hello; `None` of a kernel.
    pub hello: Option<SyncHelloReport>,
}

/// State of a directrix by its last hello.
#[derive(Clone, Copy, Debug)]
pub struct SyncHelloReport {
    /// Milliseconds since it came.
    pub age_ms: u32,
    /// Starts that were seen.
    pub starts: u32,
    /// Role.
    pub role: SyncRole,
    /// True once it has all connections of its own peers.
    pub is_complete: bool,
    /// Its connections and templates.
    pub counts: SyncCounts,
    /// Least number of connections that one of the two has and the other has not.
    pub difference: Option<u64>,
    /// Milliseconds by which the hello came later than the fastest one.
    pub lag_ms: u32,
    /// Hash of its services and real servers.
    pub config_hash: u64,
    /// Hash of its tables of scheduler mh.
    pub mh_hash: u64,
}

impl SyncReport {
    /// The report of a machine whose transmitter has `sent` datagrams and failed to send others.
    #[must_use]
    pub fn new(machine: &SyncMachine, counts: SyncCounts, (sent, failed): (u64, u64), now: Tick) -> Self {
        let refusals = SyncRefusal::ALL.iter().map(|of| (*of, machine.refusals().of(*of).get()));
        Self {
            is_running: true,
            is_complete: machine.is_complete(),
            counts,
            records_sent: machine.sender().records(),
            datagrams_sent: sent,
            send_failures: failed,
            refusals: refusals.filter(|(_, count)| *count > 0).collect(),
            peers: machine.peers().map(|peer| SyncPeerReport::new(peer, now)).collect(),
        }
    }
}

impl SyncPeerReport {
    fn new(peer: &SyncPeer, now: Tick) -> Self {
        let hello = peer.hello.as_ref().map(|(at, hello)| SyncHelloReport {
            age_ms: now.since(*at).millis(),
            starts: peer.starts,
            role: hello.role,
            is_complete: hello.is_complete,
            counts: SyncCounts { connections: hello.connections, templates: hello.templates },
            difference: peer.difference(),
            lag_ms: peer.lag().unwrap_or_default().millis(),
            config_hash: hello.config_hash,
            mh_hash: hello.mh_hash,
        });
        let SyncPeer { source, version, messages, records, refused, lost, .. } = *peer;
        let heard_ms = now.since(peer.heard_at).millis();
        Self { source, version, heard_ms, messages, records, refused, lost, hello }
    }
}
