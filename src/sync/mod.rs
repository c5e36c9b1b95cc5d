//! Connection sync between directors, in the messages of Linux IPVS (net/netfilter/ipvs/ip_vs_sync.c).
//!
//! A [`SyncMessage`] reads what a master sends, version 1 or 0; a [`SyncWriter`] writes version 1, byte for byte as a
//! kernel does for the same connection. A [`SyncRecord`] names a connection by addresses and ports, so that it means
//! the same to each director. Each [`SyncRefusal`] has a name and a counter.
//!
//! [`SyncMachine`] is one director's part: records go out within 10 ms, datagrams come in, each sender is kept book of.
//! Between directrix there are messages without records, which kernels ignore ([`SyncExtension`]): hellos with counts
//! and a digest of the table, and requests for what one lacks, answered by records at a limited rate. No sockets, no clock.

#![forbid(unsafe_code)]

mod bulk;
mod digest;
mod divergence;
mod ends;
mod extension;
mod fields;
mod flags;
mod header;
mod host;
mod lag;
mod machine;
mod message;
mod options;
mod peers;
mod protocol;
mod rate;
mod receiver;
mod record;
mod refusal;
mod resync;
mod sender;
mod state;
mod v0;
mod v1;
mod writer;

pub use digest::{GROUPS, GroupDigest, GroupSet, NameHash, SyncDigest};
pub use ends::SyncEnds;
pub use extension::{BootId, ResyncEnd, ResyncRequest, SyncExtension, SyncHello, SyncRole};
pub use flags::SyncFlags;
pub use host::{SyncCounts, SyncHost};
pub use machine::{SyncFacts, SyncMachine, SyncSettings};
pub use message::{SyncIdFilter, SyncMessage, SyncRecords, SyncVersion};
pub use peers::{PEERS_MAX, SyncPeer, SyncPeers};
pub use protocol::SyncProtocol;
pub use receiver::{SyncReceiver, SyncTrust};
pub use record::SyncRecord;
pub use refusal::{RefusalScope, SyncRefusal, SyncRefusals};
pub use resync::GIVE_UP_AFTER;
pub use sender::{FLUSH_AFTER, SyncOccasion, SyncSender, refresh_after};
pub use state::{number_of as state_number, numbered as state_numbered};
pub use writer::{MESSAGE_LEN_DEFAULT, MESSAGE_LEN_DEFAULT_V6, MESSAGE_LEN_MAX, SyncWriter};
