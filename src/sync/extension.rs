//! Messages between directrix alone: version 1 without records, which kernels accept and ignore.
//!
//! ```text
//!  0     4        5     6  8        24
//!  DXSY  version  kind  0  boot id  fields of the kind
//! ```

use super::digest::{GROUPS, GroupDigest, GroupSet, SyncDigest};
use super::fields::{array, long, word};
use super::{SyncRefusal, header};

const MAGIC: [u8; 4] = *b"DXSY";
const VERSION: u8 = 1;
const HELLO: u8 = 1;
const REQUEST: u8 = 2;
const END: u8 = 3;
const BOOT_ID: usize = 8;
const FIELDS: usize = 24;
const GROUP_LEN: usize = 12;
const HELLO_GROUPS: usize = 80;
/// Longest message of this kind, with its header.
pub(super) const EXTENSION_LEN_MAX: usize = header::LEN + HELLO_GROUPS + GROUPS * GROUP_LEN;

/// Random number of one start of a director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

/// Role of a director as its hello says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncRole {
    /// No other director takes its VIPs over.
    #[default]
    Standalone = 0,
    /// It answers for the VIPs.
    Master = 1,
    /// Another one answers for the VIPs.
    Backup = 2,
    /// It must not answer for the VIPs.
    Fault = 3,
}

impl SyncRole {
    /// Name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Master => "master",
            Self::Backup => "backup",
            Self::Fault => "fault",
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Standalone, Self::Master, Self::Backup, Self::Fault].into_iter().find(|of| *of as u8 == number)
    }
}

/// State of a director, sent at an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncHello {
    /// The sender's start.
    pub boot_id: BootId,
    /// Starts over the same connections: warm restarts and recoveries.
    pub epoch: u32,
    /// The sender's role.
    pub role: SyncRole,
    /// True once the sender has all connections of its peers, or has given up waiting for them.
    pub is_complete: bool,
    /// Hash of services and real servers: different ones refuse each other's connections.
    pub config_hash: u64,
    /// Hash of the tables of scheduler mh: equal ones send a client to the same server.
    pub mh_hash: u64,
    /// Records sent since the start.
    pub records_sent: u64,
    /// The sender's tick, in milliseconds: differences alone mean something.
    pub sent_at_ms: u32,
    /// Connections in the sender's tables.
    pub connections: u32,
    /// Templates in the sender's tables.
    pub templates: u32,
    /// Digest of both; `None` if the message was too short for it.
    pub digest: Option<SyncDigest>,
}

/// Request for all connections of some groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResyncRequest {
    /// The requester's start.
    pub boot_id: BootId,
    /// The start of the director that is to answer.
    pub to: BootId,
    /// Groups of names.
    pub groups: GroupSet,
    /// Number that the end of the answer repeats.
    pub number: u32,
}

/// End of an answer to a [`ResyncRequest`]: all its records have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResyncEnd {
    /// The answerer's start.
    pub boot_id: BootId,
    /// The requester's start.
    pub to: BootId,
    /// Number of the request.
    pub number: u32,
    /// Records of the answer.
    pub records: u32,
}

/// Message between directrix alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncExtension {
    /// State of a director.
    Hello(Box<SyncHello>),
    /// Request for connections.
    Request(ResyncRequest),
    /// End of an answer.
    End(ResyncEnd),
}

impl SyncExtension {
    /// Reads what follows the header of a message without records.
    ///
    /// # Errors
    /// It is no message of directrix, of another version or kind, or too short.
    pub fn parse(body: &[u8]) -> Result<Self, SyncRefusal> {
        if body.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(SyncRefusal::ForeignExtension);
        }
        let &[version, kind] = body.get(4..6).unwrap_or_default() else {
            return Err(SyncRefusal::ExtensionCut);
        };
        let read = match (version, kind) {
            (VERSION, HELLO) => SyncHello::read(body).map(|hello| Self::Hello(Box::new(hello))),
            (VERSION, REQUEST) => ResyncRequest::read(body).map(Self::Request),
            (VERSION, END) => ResyncEnd::read(body).map(Self::End),
            _ => return Err(SyncRefusal::ExtensionKind),
        };
        read.ok_or(SyncRefusal::ExtensionCut)
    }

    /// The sender's start.
    #[must_use]
    pub fn boot_id(&self) -> BootId {
        match self {
            Self::Hello(hello) => hello.boot_id,
            Self::Request(request) => request.boot_id,
            Self::End(end) => end.boot_id,
        }
    }

    /// Replaces `bytes` by the message with its header.
    pub fn write(&self, syncid: u8, bytes: &mut Vec<u8>) {
        let kind = match self {
            Self::Hello(_) => HELLO,
            Self::Request(_) => REQUEST,
            Self::End(_) => END,
        };
        bytes.clear();
        bytes.resize(header::LEN, 0);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, kind, 0, 0]);
        bytes.extend(self.boot_id().0);
        match self {
            Self::Hello(hello) => hello.write_fields(bytes),
            Self::Request(request) => request.write_fields(bytes),
            Self::End(end) => end.write_fields(bytes),
        }
        let size = bytes.len() as u16; // EXTENSION_LEN_MAX at most
        bytes[..header::LEN].copy_from_slice(&header::of(syncid, size, 0));
    }
}

impl SyncHello {
    fn read(body: &[u8]) -> Option<Self> {
        let groups = usize::from(word(body, 30)?);
        Some(Self {
            boot_id: BootId(array(body, BOOT_ID)?),
            epoch: long(body, FIELDS)?,
            role: SyncRole::of(*body.get(28)?)?,
            is_complete: body.get(29)? & 1 != 0,
            config_hash: wide(body, 32)?,
            mh_hash: wide(body, 40)?,
            records_sent: wide(body, 48)?,
            sent_at_ms: long(body, 56)?,
            connections: long(body, 60)?,
            templates: long(body, 64)?,
            digest: if groups == GROUPS { Some(read_groups(body)?) } else { None },
        })
    }

    fn write_fields(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend([self.role as u8, u8::from(self.is_complete)]);
        let groups = if self.digest.is_some() { GROUPS as u16 } else { 0 };
        bytes.extend(groups.to_be_bytes());
        for hash in [self.config_hash, self.mh_hash, self.records_sent] {
            bytes.extend(hash.to_be_bytes());
        }
        for number in [self.sent_at_ms, self.connections, self.templates] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.resize(header::LEN + HELLO_GROUPS, 0);
        for GroupDigest { sum, count } in self.digest.iter().flat_map(SyncDigest::groups) {
            bytes.extend(sum.to_be_bytes());
            bytes.extend(count.to_be_bytes());
        }
    }
}

fn read_groups(body: &[u8]) -> Option<SyncDigest> {
    let bytes = body.get(HELLO_GROUPS..)?.get(..GROUPS * GROUP_LEN)?;
    let group = |index: usize| {
        let at = index * GROUP_LEN;
        GroupDigest { sum: wide(bytes, at).unwrap_or(0), count: long(bytes, at + 8).unwrap_or(0) }
    };
    Some(SyncDigest::new(std::array::from_fn(group)))
}

impl ResyncRequest {
    fn read(body: &[u8]) -> Option<Self> {
        let (boot_id, to) = (BootId(array(body, BOOT_ID)?), BootId(array(body, FIELDS)?));
        Some(Self { boot_id, to, groups: GroupSet(wide(body, 40)?), number: long(body, 48)? })
    }

    fn write_fields(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to.0);
        bytes.extend(self.groups.0.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
    }
}

impl ResyncEnd {
    fn read(body: &[u8]) -> Option<Self> {
        let (boot_id, to) = (BootId(array(body, BOOT_ID)?), BootId(array(body, FIELDS)?));
        Some(Self { boot_id, to, number: long(body, 40)?, records: long(body, 44)? })
    }

    fn write_fields(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to.0);
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.records.to_be_bytes());
    }
}

/// 64 bits at `at`; `None` past the end.
fn wide(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{SyncIdFilter, SyncMessage};

    fn messages() -> [SyncExtension; 4] {
        let groups = std::array::from_fn(|group| GroupDigest { sum: 1 << group, count: group as u32 });
        let (boot_id, to) = (BootId([7; 16]), BootId([9; 16]));
        let hello = SyncHello {
            boot_id,
            epoch: 3,
            role: SyncRole::Backup,
            is_complete: true,
            config_hash: 0x0102_0304_0506_0708,
            mh_hash: 9,
            records_sent: 1 << 40,
            sent_at_ms: 11,
            connections: 12,
            templates: 13,
            digest: Some(SyncDigest::new(groups)),
        };
        let short = SyncHello { digest: None, role: SyncRole::Fault, ..hello.clone() };
        [
            SyncExtension::Hello(hello.into()),
            SyncExtension::Hello(short.into()),
            SyncExtension::Request(ResyncRequest { boot_id, to, groups: GroupSet(0x8001), number: 14 }),
            SyncExtension::End(ResyncEnd { boot_id, to, number: 14, records: 15 }),
        ]
    }

    #[test]
    fn a_kernel_sees_a_message_without_records() {
        let mut bytes = vec![0xee; 9];
        for message in messages() {
            message.write(7, &mut bytes);
            assert!(bytes.len() <= EXTENSION_LEN_MAX);
            let parsed = SyncMessage::parse(&bytes, SyncIdFilter::Exactly(7)).unwrap();
            assert_eq!(parsed.records().count(), 0);
            assert_eq!(SyncExtension::parse(parsed.extension().unwrap()), Ok(message));
        }
    }

    #[test]
    fn cut_messages_are_refused_at_every_length() {
        let mut bytes = Vec::new();
        for message in messages() {
            message.write(7, &mut bytes);
            let body = &bytes[header::LEN..];
            let needed = match message {
                SyncExtension::Hello(hello) if hello.digest.is_none() => HELLO_GROUPS - 12,
                _ => body.len(),
            };
            for len in 0..needed {
                let expected =
                    if len < 4 { SyncRefusal::ForeignExtension } else { SyncRefusal::ExtensionCut };
                assert_eq!(SyncExtension::parse(&body[..len]), Err(expected), "{len}");
            }
            // A later version may append fields.
            assert!(SyncExtension::parse(&[body, &[1, 2, 3]].concat()).is_ok());
        }
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        let mut bytes = Vec::new();
        messages()[2].write(7, &mut bytes);
        for (at, byte) in [(4, 2), (5, 9)] {
            let mut body = bytes[header::LEN..].to_vec();
            body[at] = byte;
            assert_eq!(SyncExtension::parse(&body), Err(SyncRefusal::ExtensionKind));
        }
    }
}
