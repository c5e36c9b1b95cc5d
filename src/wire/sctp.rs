//! SCTP packets (RFC 9260), as far as IPVS looks into them: ports, and the type of the first chunk.

use super::transport::TcpFlags;

/// Length of the common header in bytes: ports, verification tag, checksum.
pub const COMMON_HEADER_LEN: usize = 12;
/// Length of a chunk's header in bytes: type, flags, length.
pub const CHUNK_HEADER_LEN: usize = 4;

/// Chunk types (RFC 9260 section 3.2) that are events of their own.
mod chunk {
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const ABORT: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const ERROR: u8 = 9;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Event that moves the state of an association (`sctp_events` in net/netfilter/ipvs/ip_vs_proto_sctp.c).
///
/// A packet's event takes the place of TCP's control bits. The numbers have only bits that select a transition of TCP,
/// so that one table serves both protocols. INIT alone has the bit of SYN without that of RST, and ABORT is RST alone:
/// INIT opens a connection as SYN does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SctpEvent {
    /// Any other chunk: DATA, SACK, HEARTBEAT, ECNE and so on.
    Data = 0x00,
    /// INIT.
    Init = 0x02,
    /// INIT ACK.
    InitAck = 0x01,
    /// COOKIE ECHO.
    CookieEcho = 0x10,
    /// COOKIE ACK.
    CookieAck = 0x11,
    /// SHUTDOWN.
    Shutdown = 0x05,
    /// SHUTDOWN ACK.
    ShutdownAck = 0x06,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete = 0x07,
    /// ERROR.
    Error = 0x14,
    /// ABORT, as the first chunk or behind a COOKIE ECHO or COOKIE ACK.
    Abort = 0x04,
}

impl SctpEvent {
    /// Every event.
    pub const ALL: [Self; 10] = [
        Self::Data,
        Self::Init,
        Self::InitAck,
        Self::CookieEcho,
        Self::CookieAck,
        Self::Shutdown,
        Self::ShutdownAck,
        Self::ShutdownComplete,
        Self::Error,
        Self::Abort,
    ];

    /// The event of a packet, of which `packet` is the first part (`set_sctp_state` in ip_vs_proto_sctp.c).
    ///
    /// `None` if it ends within the header of its first chunk.
    #[inline]
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Self> {
        let chunks = packet.get(COMMON_HEADER_LEN..)?;
        let [kind, _, high, low] = *chunks.first_chunk::<CHUNK_HEADER_LEN>()?;
        let event = Self::of_chunk(kind);
        if !matches!(event, Self::CookieEcho | Self::CookieAck) {
            return Some(event);
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        let next =
            chunks.get(len.next_multiple_of(4)..).and_then(|next| next.first_chunk::<CHUNK_HEADER_LEN>());
        let aborts = len >= CHUNK_HEADER_LEN && next.is_some_and(|next| next[0] == chunk::ABORT);
        Some(if aborts { Self::Abort } else { event })
    }

    /// The event of a chunk type.
    #[inline]
    const fn of_chunk(kind: u8) -> Self {
        match kind {
            chunk::INIT => Self::Init,
            chunk::INIT_ACK => Self::InitAck,
            chunk::ABORT => Self::Abort,
            chunk::SHUTDOWN => Self::Shutdown,
            chunk::SHUTDOWN_ACK => Self::ShutdownAck,
            chunk::ERROR => Self::Error,
            chunk::COOKIE_ECHO => Self::CookieEcho,
            chunk::COOKIE_ACK => Self::CookieAck,
            chunk::SHUTDOWN_COMPLETE => Self::ShutdownComplete,
            _ => Self::Data,
        }
    }

    /// The event in place of TCP's control bits.
    #[inline]
    #[must_use]
    pub const fn flags(self) -> TcpFlags {
        TcpFlags(self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with these chunks, each of a type and a length in its header.
    fn packet(chunks: &[(u8, u16)]) -> Vec<u8> {
        let mut packet = vec![0xa5; COMMON_HEADER_LEN];
        for (kind, len) in chunks {
            packet.extend([*kind, 0]);
            packet.extend(len.to_be_bytes());
            packet.resize(packet.len() + usize::from(len.next_multiple_of(4)).saturating_sub(4), 0xa5);
        }
        packet
    }

    #[test]
    fn the_first_chunk_is_the_event() {
        use SctpEvent::*;
        let events: Vec<_> = (0..=15).map(|kind| SctpEvent::of(&packet(&[(kind, 20), (6, 4)]))).collect();
        let expected = [
            Data,
            Init,
            InitAck,
            Data,
            Data,
            Data,
            Abort,
            Shutdown,
            ShutdownAck,
            Error,
            Abort,
            Abort,
            Data,
            Data,
            ShutdownComplete,
            Data,
        ];
        assert_eq!(events, expected.map(Some));
        assert_eq!(SctpEvent::of(&packet(&[(192, 8)])), Some(Data), "FORWARD TSN");
    }

    #[test]
    fn an_abort_behind_a_cookie_counts() {
        for kind in [10, 11] {
            let of = |first: u16, second| SctpEvent::of(&packet(&[(kind, first), (second, 4)]));
            assert!([4, 5, 8, 19, 20].into_iter().all(|len| of(len, 6) == Some(SctpEvent::Abort)));
            assert_ne!(of(8, 0), Some(SctpEvent::Abort));
            assert_ne!(of(3, 6), Some(SctpEvent::Abort), "the length of the first chunk is no length");
            let mut cut = packet(&[(kind, 8), (6, 4)]);
            cut.pop();
            assert_ne!(SctpEvent::of(&cut), Some(SctpEvent::Abort), "cut off");
            assert_eq!(SctpEvent::of(&packet(&[(kind, 65532)])[..16]), SctpEvent::of(&packet(&[(kind, 4)])));
        }
    }

    #[test]
    fn a_packet_without_a_chunk_has_no_event() {
        let packet = packet(&[(1, 20)]);
        assert!((0..16).all(|len| SctpEvent::of(&packet[..len]).is_none()));
        assert_eq!(SctpEvent::of(&packet[..16]), Some(SctpEvent::Init));
    }

    #[test]
    fn numbers_fit_the_control_bits() {
        let moving = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::ACK | TcpFlags::RST;
        assert!(SctpEvent::ALL.iter().all(|event| event.flags().0 & !moving == 0));
        let opens =
            |event: &&SctpEvent| event.flags().any(TcpFlags::SYN) && !event.flags().any(TcpFlags::RST);
        assert_eq!(SctpEvent::ALL.iter().filter(opens).collect::<Vec<_>>(), [&SctpEvent::Init]);
        assert_eq!(SctpEvent::Abort.flags(), TcpFlags(TcpFlags::RST));
    }
}
