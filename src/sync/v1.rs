//! Records of version 1 (`ip_vs_sync_v4` and `ip_vs_sync_v6` in net/netfilter/ipvs/ip_vs_sync.c).
//!
//! ```text
//!  0     1        2                3..4   4     8     10    12   14     16   20      24     .       .
//!  type  protocol version:4 size:12      flags state cport vport dport  mark timeout client VIP     server
//! ```

use super::fields::{array, long, word};
use super::{SyncEnds, SyncFlags, SyncProtocol, SyncRecord, SyncRefusal, options, state};
use crate::model::IpFamily;
use std::net::IpAddr;

/// Bytes of an IPv4 record without options.
pub(super) const V4_LEN: usize = 36;
/// Bytes of an IPv6 record without options.
pub(super) const V6_LEN: usize = 72;
/// Each record begins at a multiple of this many bytes.
pub(super) const ALIGNMENT: usize = 4;

const TYPE_V4: u8 = 0;
const TYPE_V6: u8 = 1;
const SIZE_BITS: u16 = 12;
const FLAGS: usize = 4;
const STATE: usize = 8;
const CLIENT_PORT: usize = 10;
const VIP_PORT: usize = 12;
const SERVER_PORT: usize = 14;
const MARK: usize = 16;
const TIMEOUT: usize = 20;
const ADDRESSES: usize = 24;

/// Bytes of the record at the beginning of `rest`, with its options.
///
/// # Errors
/// There is no whole record, or it has another version.
pub(super) fn length(rest: &[u8]) -> Result<usize, SyncRefusal> {
    if rest.len() < V4_LEN {
        return Err(SyncRefusal::MissingRecord);
    }
    let field = word(rest, 2).ok_or(SyncRefusal::MissingRecord)?;
    let size = usize::from(field & ((1 << SIZE_BITS) - 1));
    match field >> SIZE_BITS {
        _ if size > rest.len() => Err(SyncRefusal::RecordPastEnd),
        0 => Ok(size),
        _ => Err(SyncRefusal::RecordVersion),
    }
}

/// Reads a record of exactly these bytes.
///
/// # Errors
/// The first that is wrong, in the kernel's order of tests.
pub(super) fn read(record: &[u8]) -> Result<SyncRecord, SyncRefusal> {
    let family = match record.first() {
        Some(kind) if kind & TYPE_V6 != 0 => IpFamily::Ipv6,
        Some(&TYPE_V4) => IpFamily::Ipv4,
        // Of size 0, too: its type stands behind it, and is wrong or its size.
        None => return Err(SyncRefusal::RecordSize),
        Some(_) => return Err(SyncRefusal::RecordType),
    };
    let (fixed, rest) = record.split_at_checked(len(family)).ok_or(SyncRefusal::RecordSize)?;
    let options = options::read(rest)?;
    let fields = fields(fixed, family).ok_or(SyncRefusal::RecordSize)?;
    let record = checked(fields)?;
    if options.engine_data { Err(SyncRefusal::PersistenceEngine) } else { Ok(record) }
}

/// Bytes of a record of `family` without options.
pub(super) const fn len(family: IpFamily) -> usize {
    match family {
        IpFamily::Ipv4 => V4_LEN,
        IpFamily::Ipv6 => V6_LEN,
    }
}

/// Fields of a record whose protocol and state are not checked.
pub(super) struct SyncFields {
    pub(super) protocol: u8,
    pub(super) ends: SyncEnds,
    pub(super) flags: u32,
    pub(super) state: u16,
    pub(super) mark: u32,
    pub(super) timeout_secs: u32,
}

fn fields(fixed: &[u8], family: IpFamily) -> Option<SyncFields> {
    let ports = [word(fixed, CLIENT_PORT)?, word(fixed, VIP_PORT)?, word(fixed, SERVER_PORT)?];
    Some(SyncFields {
        protocol: *fixed.get(1)?,
        ends: match family {
            IpFamily::Ipv4 => SyncEnds::of(addresses::<4>(fixed)?, ports),
            IpFamily::Ipv6 => SyncEnds::of(addresses::<16>(fixed)?, ports),
        },
        flags: long(fixed, FLAGS)?,
        state: word(fixed, STATE)?,
        mark: long(fixed, MARK)?,
        timeout_secs: long(fixed, TIMEOUT)?,
    })
}

fn addresses<const N: usize>(fixed: &[u8]) -> Option<[[u8; N]; 3]> {
    let at = |index: usize| array(fixed, ADDRESSES + index * N);
    Some([at(0)?, at(1)?, at(2)?])
}

/// The record, if protocol and state are known. A template may have any protocol, and has states of its own.
pub(super) fn checked(fields: SyncFields) -> Result<SyncRecord, SyncRefusal> {
    let SyncFields { protocol, ends, flags, state, mark, timeout_secs } = fields;
    let flags = SyncFlags::from_bits(flags);
    let protocol = SyncProtocol::of(protocol).ok_or(SyncRefusal::Protocol)?;
    let is_template = flags.has(SyncFlags::TEMPLATE);
    if protocol == SyncProtocol::Mark && !is_template {
        return Err(SyncRefusal::Protocol);
    }
    let states = if is_template { state::TEMPLATE_STATES } else { state::states(protocol) };
    let state = u8::try_from(state).ok().filter(|state| *state < states).ok_or(SyncRefusal::State)?;
    Ok(SyncRecord { protocol, ends, flags, state, mark, timeout_secs })
}

/// Appends a record without options.
pub(super) fn write(record: &SyncRecord, bytes: &mut Vec<u8>) {
    let (family, ends) = (record.ends.family(), &record.ends);
    bytes.push(if family == IpFamily::Ipv6 { TYPE_V6 } else { TYPE_V4 });
    bytes.push(record.protocol.number());
    bytes.extend((len(family) as u16).to_be_bytes());
    bytes.extend(record.flags.bits().to_be_bytes());
    bytes.extend(u16::from(record.state).to_be_bytes());
    for end in [ends.client(), ends.vip(), ends.server()] {
        bytes.extend(end.port().to_be_bytes());
    }
    bytes.extend(record.mark.to_be_bytes());
    bytes.extend(record.timeout_secs.to_be_bytes());
    for end in [ends.client(), ends.vip(), ends.server()] {
        match end.ip() {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
}
