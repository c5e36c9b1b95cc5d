//! Sync messages as a receiver reads them: a header, then records (`ip_vs_process_message` in
//! net/netfilter/ipvs/ip_vs_sync.c).

use super::fields::word;
use super::header::{self, VERSION};
use super::{RefusalScope, SyncRecord, SyncRefusal, v0, v1};

/// Messages that a receiver takes, by their syncid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncIdFilter {
    /// Messages of this syncid alone.
    Exactly(u8),
    /// Every message, as a kernel with syncid 0 does.
    Any,
}

/// Version of a message and its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncVersion {
    /// Of kernels before 2.6.39, and with `sync_version` 0.
    V0,
    /// Of all others.
    V1,
}

/// Message whose header is right.
#[derive(Clone, Copy, Debug)]
pub struct SyncMessage<'a> {
    /// Version.
    pub version: SyncVersion,
    /// Number of the group of directors that share connections.
    pub syncid: u8,
    /// Number of records by the header.
    pub count: u8,
    body: &'a [u8],
}

impl<'a> SyncMessage<'a> {
    /// Reads the header of a datagram, in the kernel's order of tests.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn parse(datagram: &'a [u8], filter: SyncIdFilter) -> Result<Self, SyncRefusal> {
        let &[first, syncid, ..] = datagram else { return Err(SyncRefusal::TooShort) };
        let size = word(datagram, header::SIZE).ok_or(SyncRefusal::TooShort)?;
        if usize::from(size) != datagram.len() {
            return Err(SyncRefusal::Size);
        }
        if matches!(filter, SyncIdFilter::Exactly(own) if own != syncid) {
            return Err(SyncRefusal::SyncId);
        }
        match (first, datagram.get(header::COUNT..header::LEN)) {
            (0, Some(&[count, VERSION, 0, 0])) => {
                Ok(Self { version: SyncVersion::V1, syncid, count, body: &datagram[header::LEN..] })
            }
            (0, Some(_)) => Err(SyncRefusal::HeaderVersion),
            (0, None) => Err(SyncRefusal::TooShort),
            (count, _) => {
                Ok(Self { version: SyncVersion::V0, syncid, count, body: &datagram[header::V0_LEN..] })
            }
        }
    }

    /// Iterates over the records.
    #[must_use]
    pub fn records(&self) -> SyncRecords<'a> {
        SyncRecords { version: self.version, left: self.count, rest: self.body }
    }

    /// The bytes behind the header of a message of version 1 without records, which kernels ignore.
    #[must_use]
    pub fn extension(&self) -> Option<&'a [u8]> {
        let is_extension = self.version == SyncVersion::V1 && self.count == 0 && !self.body.is_empty();
        is_extension.then_some(self.body)
    }
}

/// Records of a message, or the reasons why they are refused. Ends with the first refusal of the rest.
#[derive(Clone, Debug)]
pub struct SyncRecords<'a> {
    version: SyncVersion,
    left: u8,
    rest: &'a [u8],
}

impl SyncRecords<'_> {
    fn read(&mut self) -> Result<SyncRecord, SyncRefusal> {
        let (length, read): (fn(&_) -> _, fn(&_) -> _) = match self.version {
            SyncVersion::V0 => (v0::length, v0::read),
            SyncVersion::V1 => (v1::length, v1::read),
        };
        let len = length(self.rest)?;
        let (record, behind) = self.rest.split_at(len);
        // No padding follows the last record.
        let padding = (len.next_multiple_of(v1::ALIGNMENT) - len).min(behind.len());
        self.rest = &behind[padding..];
        read(record)
    }
}

impl Iterator for SyncRecords<'_> {
    type Item = Result<SyncRecord, SyncRefusal>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = self.read();
        if matches!(read, Err(refusal) if refusal.scope() == RefusalScope::Rest) {
            self.left = 0;
        }
        Some(read)
    }
}
