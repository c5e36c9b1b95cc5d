//! Ports and control bits of TCP (RFC 9293) and UDP (RFC 768).

/// Length of a TCP header without options, in bytes.
pub const TCP_MIN_HEADER_LEN: usize = 20;
/// Length of a UDP header in bytes.
pub const UDP_HEADER_LEN: usize = 8;

/// Offset of the checksum in a TCP header.
pub const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: usize = 6;

/// Source and destination port, host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

impl PortPair {
    /// Reads the ports at the beginning of a transport header, alike in all three protocols; `None` if it ends before.
    #[inline]
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        let both = u32::from_be_bytes(*payload.first_chunk()?);
        Some(Self { source: (both >> 16) as u16, destination: both as u16 })
    }
}

/// TCP control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN: the sender has no more data.
    pub const FIN: u8 = 0x01;
    /// SYN: opens a connection.
    pub const SYN: u8 = 0x02;
    /// RST: aborts a connection.
    pub const RST: u8 = 0x04;
    /// ACK: the acknowledgment number counts.
    pub const ACK: u8 = 0x10;

    /// True if any bit of `mask` is set.
    #[inline]
    #[must_use]
    pub const fn any(self, mask: u8) -> bool {
        self.0 & mask != 0
    }
}

/// Control bits of a TCP segment.
///
/// `None` if the segment ends within its header, or its data offset points outside it.
#[inline]
#[must_use]
pub fn tcp(segment: &[u8]) -> Option<TcpFlags> {
    let header: &[u8; TCP_MIN_HEADER_LEN] = segment.first_chunk()?;
    let header_len = usize::from(header[12] >> 4) * 4;
    let fits = (TCP_MIN_HEADER_LEN..=segment.len()).contains(&header_len);
    fits.then_some(TcpFlags(header[13]))
}

/// Checks a UDP datagram of `len` bytes, of which `datagram` is the first part. Returns no control bits.
///
/// `None` if it ends within its header, or its length field contradicts the IP header's.
#[inline]
#[must_use]
pub fn udp(datagram: &[u8], len: usize) -> Option<TcpFlags> {
    let header: &[u8; UDP_HEADER_LEN] = datagram.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let fits = (UDP_HEADER_LEN..=len).contains(&length);
    fits.then_some(TcpFlags(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: [u8; 24] =
        [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4];

    #[test]
    fn a_segment_with_options() {
        let flags = tcp(&SEGMENT).unwrap();
        assert_eq!(PortPair::of(&SEGMENT).unwrap(), PortPair { source: 40000, destination: 80 });
        assert!(flags.any(TcpFlags::SYN) && flags.any(TcpFlags::ACK));
        assert!(!flags.any(TcpFlags::FIN | TcpFlags::RST));
    }

    #[test]
    fn a_data_offset_outside_the_segment_is_refused() {
        assert_eq!(tcp(&SEGMENT[..19]), None);
        assert_eq!(tcp(&SEGMENT[..23]), None);
        let mut short = SEGMENT;
        short[12] = 0x40;
        assert_eq!(tcp(&short), None);
    }

    #[test]
    fn a_udp_length_must_fit() {
        let datagram = |length: u8| [0x9c, 0x40, 0, 53, 0, length, 0, 0, 1, 2];
        assert_eq!(PortPair::of(&datagram(10)), Some(PortPair { source: 40000, destination: 53 }));
        assert_eq!(PortPair::of(&datagram(10)[..3]), None);
        assert_eq!(udp(&datagram(10), 10), Some(TcpFlags(0)));
        assert_eq!(udp(&datagram(8), 10), Some(TcpFlags(0)));
        assert_eq!(udp(&datagram(11), 10), None);
        assert_eq!(udp(&datagram(11), 11), Some(TcpFlags(0)), "its end lies elsewhere");
        assert_eq!(udp(&datagram(7), 10), None);
        assert_eq!(udp(&datagram(8)[..7], 7), None);
    }
}
