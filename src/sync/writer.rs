//! Sync messages as a sender writes them: version 1 alone.

use super::{SyncRecord, header, v1};

/// Longest message without fragments on Ethernet over IPv4, the kernel's default.
pub const MESSAGE_LEN_DEFAULT: u16 = 1472;
/// Longest message without fragments on Ethernet over IPv6, the kernel's default.
pub const MESSAGE_LEN_DEFAULT_V6: u16 = 1452;
/// Longest message that a UDP datagram over IPv4 holds.
pub const MESSAGE_LEN_MAX: u16 = 65507;

/// Message that takes records up to a length. It has room for one record at least, as a kernel's.
#[derive(Clone, Debug)]
pub struct SyncWriter {
    syncid: u8,
    len_max: u16,
    count: u8,
    bytes: Vec<u8>,
}

impl SyncWriter {
    /// An empty message of `len_max` bytes at most.
    #[must_use]
    pub fn new(syncid: u8, len_max: u16) -> Self {
        let len_max = len_max.min(MESSAGE_LEN_MAX);
        let mut writer = Self { syncid, len_max, count: 0, bytes: Vec::with_capacity(len_max.into()) };
        writer.clear();
        writer
    }

    /// Appends `record` and returns true, or false if the message is full: then it is as before.
    pub fn push(&mut self, record: &SyncRecord) -> bool {
        let len = self.bytes.len() + v1::len(record.ends.family());
        if self.count > 0 && (len > self.len_max.into() || self.count == u8::MAX) {
            return false;
        }
        v1::write(record, &mut self.bytes);
        self.count += 1;
        self.write_header();
        true
    }

    /// The message as it is now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> u8 {
        self.count
    }

    /// Removes all records.
    pub fn clear(&mut self) {
        self.count = 0;
        self.bytes.resize(header::LEN, 0);
        self.write_header();
    }

    fn write_header(&mut self) {
        let size = self.bytes.len() as u16; // MESSAGE_LEN_MAX at most
        self.bytes[..header::LEN].copy_from_slice(&header::of(self.syncid, size, self.count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::ConnState;
    use crate::model::Timeouts;
    use crate::sync::{SyncEnds, SyncIdFilter, SyncMessage};
    use crate::wire::Protocol;

    /// Recorded from a kernel: 10.0.0.100:33333 to 192.168.195.150:80 on .170, ESTABLISHED, syncid 7.
    const ESTABLISHED: [u8; 44] = [
        0x00, 0x07, 0x00, 0x2c, 0x01, 0x01, 0x00, 0x00, 0x00, 0x06, 0x00, 0x24, 0x00, 0x00, 0x00, 0x83, 0x00,
        0x01, 0x82, 0x35, 0x00, 0x50, 0x00, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x84, 0x0a, 0x00,
        0x00, 0x64, 0xc0, 0xa8, 0xc3, 0x96, 0xc0, 0xa8, 0xc3, 0xaa,
    ];

    fn established() -> SyncRecord {
        let [client, vip, server] = ["10.0.0.100:33333", "192.168.195.150:80", "192.168.195.170:80"];
        let ends = SyncEnds::new(client.parse().unwrap(), vip.parse().unwrap(), server.parse().unwrap());
        let timeouts = Timeouts::default();
        SyncRecord::connection(Protocol::Tcp, ends.unwrap(), ConnState::Established, &timeouts)
    }

    #[test]
    fn a_connection_is_written_as_a_kernel_writes_it() {
        let mut writer = SyncWriter::new(7, MESSAGE_LEN_DEFAULT);
        assert!(writer.push(&established()));
        assert_eq!(writer.bytes(), ESTABLISHED);
        writer.clear();
        assert_eq!((writer.bytes(), writer.count()), (&[0, 7, 0, 8, 0, 1, 0, 0][..], 0));
    }

    #[test]
    fn a_recorded_message_is_read() {
        let message = SyncMessage::parse(&ESTABLISHED, SyncIdFilter::Exactly(7)).unwrap();
        assert_eq!(message.records().collect::<Vec<_>>(), [Ok(established())]);
        assert!(message.extension().is_none());
    }

    #[test]
    fn a_message_takes_what_fits_and_one_record_at_least() {
        for (len_max, fits) in [(1, 1), (44, 1), (79, 1), (80, 2), (1472, 40), (MESSAGE_LEN_MAX, 255)] {
            let mut writer = SyncWriter::new(7, len_max);
            let count = (0..).take_while(|_| writer.push(&established())).count();
            assert_eq!((count, usize::from(writer.count())), (fits, fits), "{len_max}");
            assert_eq!(writer.bytes().len(), 8 + 36 * fits);
        }
    }
}
