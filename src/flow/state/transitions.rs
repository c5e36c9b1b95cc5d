//! Next states, by the client's flag or chunk (row) and the current state (column).

use super::ConnState;
use crate::wire::sctp::SctpEvent;
use crate::wire::transport::TcpFlags;

/// The input-only part of `tcp_states` in net/netfilter/ipvs/ip_vs_proto_tcp.c, where the three states of SYN_RECV are one.
/// Any second datagram confirms a UDP flow.
#[rustfmt::skip]
mod tcp {
    use super::ConnState::{self, *};
    pub(super) type Row = [ConnState; 15];
    pub(super) const SYN: Row =
        [SynRecv, Established, Established, SynRecvAgain, SynRecv, SynRecv, SynRecv, SynRecv, SynRecv, SynRecv, SynRecv, Udp, Udp, SynRecvAgain, SynRecvReset];
    pub(super) const FIN: Row =
        [Close, FinWait, SynSent, TimeWait, FinWait, TimeWait, Close, CloseWait, LastAck, Listen, TimeWait, Udp, Udp, TimeWait, TimeWait];
    pub(super) const ACK: Row =
        [Established, Established, SynSent, Established, FinWait, TimeWait, Close, CloseWait, Close, Listen, Established, Udp, Udp, Established, Established];
    pub(super) const RST: Row =
        [Close, Close, Close, SynRecvReset, Close, Close, Close, Close, LastAck, Listen, Close, Udp, Udp, SynRecvReset, SynRecvReset];
    /// None of the four flags.
    pub(super) const BARE: Row =
        [Close, Close, Close, Close, Close, Close, Close, Close, Close, Close, Close, Udp, Udp, Close, Close];
}

/// The input-only part of `sctp_states` in net/netfilter/ipvs/ip_vs_proto_sctp.c.
#[rustfmt::skip]
mod sctp {
    use super::ConnState::{
        self, SctpClosed as CL, SctpCookie as CO, SctpCookieEchoed as CE, SctpCookieReplied as CR, SctpCookieSent as CS,
        SctpCookieWait as CW, SctpEstablished as ES, SctpInit as IN, SctpInit1 as I1, SctpRejected as RJ,
        SctpShutdownAckSent as SA, SctpShutdownReceived as SR, SctpShutdownSent as SS,
    };
    pub(super) type Row = [ConnState; 14];
    pub(super) const DATA: Row              = [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL];
    pub(super) const INIT: Row              = [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN];
    pub(super) const INIT_ACK: Row          = [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL];
    pub(super) const COOKIE_ECHO: Row       = [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL];
    pub(super) const COOKIE_ACK: Row        = [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL];
    pub(super) const SHUTDOWN: Row          = [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL];
    pub(super) const SHUTDOWN_ACK: Row      = [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL];
    pub(super) const SHUTDOWN_COMPLETE: Row = [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL];
    pub(super) const ERROR: Row             = [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL];
    pub(super) const ABORT: Row             = [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL];
}

impl ConnState {
    /// The state after a segment with `flags` from the client. RST has precedence over SYN, FIN and ACK.
    ///
    /// A segment with none of the four closes the connection, as in the kernel. A UDP flow is confirmed. A state of SCTP
    /// is moved by the [event](crate::wire::sctp::SctpEvent::flags) in `flags`.
    #[inline]
    #[must_use]
    pub fn after(self, flags: TcpFlags) -> ConnState {
        NEXT[usize::from(flags.0 & MOVING)][self as usize]
    }

    /// First state of a TCP connection that a segment with `flags` opens; `None` if it opens none (`tcp_conn_schedule` in
    /// net/netfilter/ipvs/ip_vs_proto_tcp.c). A SYN opens one; with `sloppy`, any segment does. One with RST never does.
    #[inline]
    #[must_use]
    pub fn opened_by_tcp(flags: TcpFlags, sloppy: bool) -> Option<Self> {
        let opens = (sloppy || flags.any(TcpFlags::SYN)) && !flags.any(TcpFlags::RST);
        opens.then(|| Self::None.after(flags))
    }

    /// First state of an SCTP connection that a packet with `event` opens; `None` if it opens none (`sctp_conn_schedule` in
    /// net/netfilter/ipvs/ip_vs_proto_sctp.c). An INIT opens one; with `sloppy`, any packet but an ABORT does.
    #[must_use]
    pub fn opened_by_sctp(event: TcpFlags, sloppy: bool) -> Option<Self> {
        let opens = event == SctpEvent::Init.flags() || (sloppy && event != SctpEvent::Abort.flags());
        opens.then(|| Self::SctpNone.after(event))
    }
}

/// Flags that select a row.
const MOVING: u8 = TcpFlags::RST | TcpFlags::SYN | TcpFlags::FIN | TcpFlags::ACK;

/// Columns of a row in [`NEXT`]: a power of two, so that a row is found by a shift.
const ROW: usize = ConnState::COUNT.next_power_of_two();

/// Next state by the value of the [`MOVING`] flags, so that a look-up has no branch. TCP and UDP have the first columns,
/// SCTP the others. The flags have values of 0 to 7 and 16 to 23: 512 bytes are read.
static NEXT: [[ConnState; ROW]; MOVING as usize + 1] = {
    let mut next = [[ConnState::None; ROW]; MOVING as usize + 1];
    let mut flags = 0;
    while flags <= MOVING {
        next[flags as usize] = row(flags);
        flags += 1;
    }
    next
};

const fn row(flags: u8) -> [ConnState; ROW] {
    let (tcp, sctp) = (tcp_row(TcpFlags(flags)), sctp_row(flags));
    let mut row = [ConnState::None; ROW];
    let mut state = 0;
    while state < ConnState::COUNT {
        row[state] = if state < tcp.len() { tcp[state] } else { sctp[state - tcp.len()] };
        state += 1;
    }
    row
}

const fn tcp_row(flags: TcpFlags) -> tcp::Row {
    if flags.any(TcpFlags::RST) {
        tcp::RST
    } else if flags.any(TcpFlags::SYN) {
        tcp::SYN
    } else if flags.any(TcpFlags::FIN) {
        tcp::FIN
    } else if flags.any(TcpFlags::ACK) {
        tcp::ACK
    } else {
        tcp::BARE
    }
}

/// The row of an event by its number. Other numbers are no events.
const fn sctp_row(number: u8) -> sctp::Row {
    let rows = [
        (SctpEvent::Init, sctp::INIT),
        (SctpEvent::InitAck, sctp::INIT_ACK),
        (SctpEvent::CookieEcho, sctp::COOKIE_ECHO),
        (SctpEvent::CookieAck, sctp::COOKIE_ACK),
        (SctpEvent::Shutdown, sctp::SHUTDOWN),
        (SctpEvent::ShutdownAck, sctp::SHUTDOWN_ACK),
        (SctpEvent::ShutdownComplete, sctp::SHUTDOWN_COMPLETE),
        (SctpEvent::Error, sctp::ERROR),
        (SctpEvent::Abort, sctp::ABORT),
    ];
    let mut at = 0;
    while at < rows.len() {
        if rows[at].0 as u8 == number {
            return rows[at].1;
        }
        at += 1;
    }
    sctp::DATA
}
