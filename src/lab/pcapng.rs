//! Writer of pcapng files (draft-ietf-opsawg-pcapng, little-endian), with an interface for each port of the switch.

use std::io::{self, Write};
use std::time::Duration;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const OPT_IF_NAME: u16 = 2;
const OPT_IF_TSRESOL: u16 = 9;
const NANOSECONDS: u8 = 9;

/// A pcapng file that is being written.
pub(super) struct Pcapng<W>(W);

impl<W: Write> Pcapng<W> {
    /// Starts a file with `interfaces`. Frames refer to them by index.
    ///
    /// # Errors
    /// Errors of the output, here and below.
    pub(super) fn begin(output: W, interfaces: &[&str]) -> io::Result<Self> {
        let mut file = Self(output);
        let version_and_length = [1, u32::MAX, u32::MAX]; // 1.0; -1: the section ends with the file
        file.block(SECTION_HEADER, &words(&[&[BYTE_ORDER_MAGIC], &version_and_length[..]].concat()))?;
        for name in interfaces {
            let mut body = words(&[LINKTYPE_ETHERNET, 0]); // no snap length
            option(&mut body, OPT_IF_NAME, name.as_bytes());
            option(&mut body, OPT_IF_TSRESOL, &[NANOSECONDS]);
            option(&mut body, 0, &[]);
            file.block(INTERFACE_DESCRIPTION, &body)?;
        }
        Ok(file)
    }

    /// Adds a frame received on interface `interface`, `time` after the Unix epoch.
    pub(super) fn frame(&mut self, interface: usize, time: Duration, frame: &[u8]) -> io::Result<()> {
        let (length, time) = (frame.len() as u32, time.as_nanos() as u64);
        let mut body = words(&[interface as u32, (time >> 32) as u32, time as u32, length, length]);
        body.extend(frame);
        pad(&mut body);
        self.block(ENHANCED_PACKET, &body)
    }

    /// Flushes the output.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }

    /// Writes a block. Its length precedes and follows it, for reading in both directions.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = body.len() as u32 + 12;
        self.0.write_all(&words(&[kind, length]))?;
        self.0.write_all(body)?;
        self.0.write_all(&length.to_le_bytes())
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Pads to a multiple of 32 bits.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn tcpdump(file: &[u8]) -> String {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), file).unwrap();
        let output = Command::new("tcpdump").args(["-ntttt", "-er"]).arg(place.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn tcpdump_reads_frames_and_timestamps() {
        let mut file = Vec::new();
        let mut writer = Pcapng::begin(&mut file, &["router", "rs1"]).unwrap();
        let times = [1_700_000_000_123_456_000, 1_700_000_001_000_000_000].map(Duration::from_nanos);
        for (interface, (time, length)) in times.into_iter().zip([60, 61]).enumerate() {
            let payload = vec![7; length - 42];
            let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([198, 51, 100, 10], [192, 168, 195, 150], 64)
                .udp(1000, 53);
            let mut frame = Vec::new();
            builder.write(&mut frame, &payload).unwrap();
            writer.frame(interface, time, &frame).unwrap();
        }
        writer.finish().unwrap();
        let text = tcpdump(&file);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains(".123456 02:02:02:02:02:02 > 04:04:04:04:04:04"), "{text}");
        assert!(lines[0].contains("length 60: 198.51.100.10.1000 > 192.168.195.150.53"), "{text}");
        assert!(lines[1].contains(".000000 ") && lines[1].contains("length 61: "), "{text}");
    }
}
