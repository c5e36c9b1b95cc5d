//! Connection sync between directors, in the messages of Linux IPVS (net/netfilter/ipvs/ip_vs_sync.c).
//!
//! A [`SyncMessage`] reads what a master sends, version 1 or 0; a [`SyncWriter`] writes version 1, byte for byte as a
//! kernel does for the same connection. A [`SyncRecord`] names a connection by addresses and ports, so that it means
//! the same to each director. Each [`SyncRefusal`] has a name and a counter. No sockets, no clock.

#![forbid(unsafe_code)]

mod ends;
mod fields;
mod flags;
mod header;
mod message;
mod options;
mod protocol;
mod record;
mod refusal;
mod state;
mod v0;
mod v1;
mod writer;

pub use ends::SyncEnds;
pub use flags::SyncFlags;
pub use message::{SyncIdFilter, SyncMessage, SyncRecords, SyncVersion};
pub use protocol::SyncProtocol;
pub use record::SyncRecord;
pub use refusal::{RefusalScope, SyncRefusal, SyncRefusals};
pub use state::{number_of as state_number, numbered as state_numbered};
pub use writer::{MESSAGE_LEN_DEFAULT, MESSAGE_LEN_DEFAULT_V6, MESSAGE_LEN_MAX, SyncWriter};
