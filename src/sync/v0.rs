//! Records of version 0 (`ip_vs_sync_conn_v0` in net/netfilter/ipvs/ip_vs_sync.c): IPv4, without mark and timeout. They
//! are read, and never written.

use super::fields::{array, word};
use super::v1::{SyncFields, checked};
use super::{SyncEnds, SyncFlags, SyncRecord, SyncRefusal};

/// Bytes of a record.
const LEN: usize = 24;
/// Bytes of the sequence numbers behind it, in the byte order of the sender.
const SEQUENCES_LEN: usize = 24;
const PROTOCOL: usize = 1;
const PORTS: usize = 2;
const ADDRESSES: usize = 8;
const FLAGS: usize = 20;
const STATE: usize = 22;

/// Bytes of the record at the beginning of `rest`, with its sequence numbers.
///
/// # Errors
/// There is no whole record.
pub(super) fn length(rest: &[u8]) -> Result<usize, SyncRefusal> {
    let flags = word(rest, FLAGS).filter(|_| rest.len() >= LEN).ok_or(SyncRefusal::MissingRecord)?;
    let has_sequences = u32::from(flags) & SyncFlags::SEQUENCES != 0;
    let len = LEN + if has_sequences { SEQUENCES_LEN } else { 0 };
    if len > rest.len() { Err(SyncRefusal::RecordPastEnd) } else { Ok(len) }
}

/// Reads a record of exactly these bytes.
///
/// # Errors
/// Its protocol or state is unknown.
pub(super) fn read(record: &[u8]) -> Result<SyncRecord, SyncRefusal> {
    checked(fields(record).ok_or(SyncRefusal::MissingRecord)?)
}

fn fields(record: &[u8]) -> Option<SyncFields> {
    let port = |index: usize| word(record, PORTS + 2 * index);
    let address = |index: usize| array::<4>(record, ADDRESSES + 4 * index);
    Some(SyncFields {
        protocol: *record.get(PROTOCOL)?,
        ends: SyncEnds::of([address(0)?, address(1)?, address(2)?], [port(0)?, port(1)?, port(2)?]),
        flags: word(record, FLAGS)?.into(),
        state: word(record, STATE)?,
        mark: 0,
        timeout_secs: 0,
    })
}
