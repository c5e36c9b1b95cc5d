//! Records to messages: a message goes when it is full, or 10 ms after its first record.

use super::{SyncRecord, SyncWriter};
use crate::flow::ConnState;
use crate::time::{Span, Tick};

/// Longest time from a record to its message. A kernel's is 2 s.
pub const FLUSH_AFTER: Span = Span::from_millis(10);
/// Longest time between two records of a connection that stands.
const REFRESH_AFTER_MAX: Span = Span::from_secs(60);

/// Change of a connection that a record may be due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOccasion {
    /// Its state has changed.
    Changed {
        /// The state before.
        from: ConnState,
    },
    /// It has another real server.
    Moved,
    /// Its last record is [`refresh_after`] old.
    Refreshed,
}

impl SyncOccasion {
    /// True if a connection that is now in `state` gets a record: on the client's last step of the handshake, on each closing state, on
    /// a move and a refresh. Half-open connections never do; their clients repeat the SYN. The states are a kernel's
    /// (`ip_vs_sync_conn_needed` in net/netfilter/ipvs/ip_vs_sync.c).
    #[must_use]
    pub fn is_due(self, state: ConnState) -> bool {
        let changes = !matches!(self, Self::Changed { from } if from == state);
        changes && is_sent(state)
    }
}

const fn is_sent(state: ConnState) -> bool {
    use ConnState::{
        Close, CloseWait, Established, FinWait, SctpClosed, SctpEstablished, SctpShutdownAckSent,
        SctpShutdownReceived, SctpShutdownSent, TimeWait, Udp,
    };
    matches!(
        state,
        Established
            | FinWait
            | Close
            | CloseWait
            | TimeWait
            | Udp
            | SctpEstablished
            | SctpShutdownSent
            | SctpShutdownReceived
            | SctpShutdownAckSent
            | SctpClosed
    )
}

/// Time after which a connection or template with this timeout gets another record: a receiver that has lost two of them
/// in turn still has it.
#[must_use]
pub fn refresh_after(timeout: Span) -> Span {
    REFRESH_AFTER_MAX.min(Span::from_millis(timeout.millis() / 3))
}

/// Message in the making.
#[derive(Debug)]
pub struct SyncSender {
    writer: SyncWriter,
    flush_at: Option<Tick>,
    records: u64,
    messages: u64,
}

impl SyncSender {
    /// Without records; messages have `len_max` bytes at most.
    #[must_use]
    pub fn new(syncid: u8, len_max: u16) -> Self {
        Self { writer: SyncWriter::new(syncid, len_max), flush_at: None, records: 0, messages: 0 }
    }

    /// Appends a record; sends the message before it if that is full.
    pub fn push(&mut self, record: &SyncRecord, now: Tick, send: &mut impl FnMut(&[u8])) {
        if !self.writer.push(record) {
            self.flush(send);
            self.writer.push(record);
        }
        self.flush_at.get_or_insert(now.after(FLUSH_AFTER));
    }

    /// Sends the message if it is due.
    pub fn turn(&mut self, now: Tick, send: &mut impl FnMut(&[u8])) {
        if self.flush_at.is_some_and(|at| now.reached(at)) {
            self.flush(send);
        }
    }

    /// Sends the message now, if it has records.
    pub fn flush(&mut self, send: &mut impl FnMut(&[u8])) {
        self.flush_at = None;
        if self.writer.count() > 0 {
            send(self.writer.bytes());
            self.records += u64::from(self.writer.count());
            self.messages += 1;
            self.writer.clear();
        }
    }

    /// Next time at which [`Self::turn`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.flush_at
    }

    /// Records in messages that were sent.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Messages that were sent.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timeouts;
    use crate::sync::{MESSAGE_LEN_DEFAULT, SyncEnds};
    use crate::wire::Protocol;
    use crate::wire::transport::TcpFlags;

    fn record() -> SyncRecord {
        let end = |text: &str| text.parse().unwrap();
        let ends = SyncEnds::new(end("192.0.2.1:4000"), end("192.0.2.2:80"), end("192.0.2.3:80")).unwrap();
        SyncRecord::connection(Protocol::Tcp, ends, ConnState::Established, &Timeouts::default())
    }

    #[test]
    fn a_message_goes_10_ms_after_its_first_record() {
        let (mut sender, mut sent) = (SyncSender::new(7, MESSAGE_LEN_DEFAULT), Vec::new());
        let mut send = |message: &[u8]| sent.push(message.len());
        sender.push(&record(), Tick(u32::MAX), &mut send);
        sender.push(&record(), Tick(5), &mut send);
        assert_eq!(sender.deadline(), Some(Tick(9)));
        sender.turn(Tick(8), &mut send);
        sender.turn(Tick(9), &mut send);
        sender.turn(Tick(10), &mut send);
        assert_eq!((sent, sender.records(), sender.messages(), sender.deadline()), (vec![80], 2, 1, None));
    }

    #[test]
    fn a_full_message_goes_at_once() {
        let (mut sender, mut sent) = (SyncSender::new(7, MESSAGE_LEN_DEFAULT), Vec::new());
        (0..81).for_each(|_| sender.push(&record(), Tick(0), &mut |message| sent.push(message.len())));
        assert_eq!(sent, [1448, 1448]);
        assert_eq!(sender.deadline(), Some(Tick(10)));
    }

    /// The records of a connection, as the client's segments move it.
    fn records(segments: &[u8]) -> Vec<ConnState> {
        let mut state = ConnState::opened_by_tcp(TcpFlags(segments[0]), false).unwrap();
        let mut sent = Vec::new();
        for flags in &segments[1..] {
            let from = state;
            state = state.after(TcpFlags(*flags));
            if (SyncOccasion::Changed { from }).is_due(state) {
                sent.push(state);
            }
        }
        sent
    }

    #[test]
    fn a_short_connection_has_two_records() {
        const SYN: u8 = TcpFlags::SYN;
        const ACK: u8 = TcpFlags::ACK;
        const FIN: u8 = TcpFlags::FIN | TcpFlags::ACK;
        const RST: u8 = TcpFlags::RST;
        assert_eq!(records(&[SYN, ACK, ACK, FIN, ACK]), [ConnState::Established, ConnState::FinWait]);
        assert_eq!(records(&[SYN, SYN, ACK, RST]), [ConnState::Established, ConnState::Close]);
        assert_eq!(records(&[SYN, SYN, RST]), []);
    }

    #[test]
    fn flows_of_one_datagram_have_no_record() {
        let from = ConnState::UdpNew;
        assert!(!SyncOccasion::Refreshed.is_due(from));
        assert!(SyncOccasion::Changed { from }.is_due(ConnState::Udp));
        assert!(!SyncOccasion::Changed { from: ConnState::Udp }.is_due(ConnState::Udp));
        assert!(SyncOccasion::Moved.is_due(ConnState::SctpEstablished));
    }

    #[test]
    fn refreshes_come_twice_before_the_timeout() {
        assert_eq!(refresh_after(Span::from_secs(900)), Span::from_secs(60));
        assert_eq!(refresh_after(Span::from_secs(90)), Span::from_secs(30));
    }
}
