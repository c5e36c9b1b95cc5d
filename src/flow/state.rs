//! Connection states and timeouts, from the client's half of the connection alone (IPVS's input-only tables).

mod transitions;

use crate::model::{ConnReuseMode, Timeouts};
use crate::time::Span;
use crate::wire::transport::TcpFlags;

macro_rules! states {
    ($($variant:ident = $name:literal,)+) => {
        /// Connection states: IPVS's (`IP_VS_TCP_S_*` and `IP_VS_SCTP_S_*` in include/net/ip_vs.h), but two for UDP and
        /// three for SYN_RECV. A UDP flow of a single datagram is evictable, one of several is not. A handshake is in
        /// `SynRecvAgain` after a repeated SYN, and in `SynRecvReset` after a RST, so that either is counted once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are those of TCP, and of IPVS for SCTP
        pub enum ConnState {
            $($variant,)+
        }

        impl ConnState {
            /// Every state, by discriminant.
            pub const ALL: [ConnState; Self::COUNT] = [$(Self::$variant,)+];

            /// Number of states.
            pub const COUNT: usize = [$($name,)+].len();

            /// Name in `ipvsadm -Lc`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

states! {
    None = "NONE",
    Established = "ESTABLISHED",
    SynSent = "SYN_SENT",
    SynRecv = "SYN_RECV",
    FinWait = "FIN_WAIT",
    TimeWait = "TIME_WAIT",
    Close = "CLOSE",
    CloseWait = "CLOSE_WAIT",
    LastAck = "LAST_ACK",
    Listen = "LISTEN",
    SynAck = "SYNACK",
    Udp = "UDP",
    UdpNew = "UDP",
    SynRecvAgain = "SYN_RECV",
    SynRecvReset = "SYN_RECV",
    SctpNone = "NONE",
    SctpInit1 = "INIT1",
    SctpInit = "INIT",
    SctpCookieSent = "C-SENT",
    SctpCookieReplied = "C-REPLIED",
    SctpCookieWait = "C-WAIT",
    SctpCookie = "COOKIE",
    SctpCookieEchoed = "C-ECHOED",
    SctpEstablished = "ESTABLISHED",
    SctpShutdownSent = "S-SENT",
    SctpShutdownReceived = "S-RECEIVED",
    SctpShutdownAckSent = "S-ACK-SENT",
    SctpRejected = "REJECTED",
    SctpClosed = "CLOSED",
}

use ConnState::{
    Close, CloseWait, Established, FinWait, LastAck, Listen, SctpClosed, SctpEstablished, SctpInit,
    SctpInit1, SctpNone, SctpRejected, SynAck, SynRecv, SynRecvAgain, SynRecvReset, SynSent, TimeWait, Udp,
    UdpNew,
};

impl ConnState {
    /// True for the states of active connections (IPVS's ActiveConn).
    #[inline]
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            Established | SynSent | SynRecv | SynRecvAgain | SynRecvReset | SynAck | SctpEstablished
        )
    }

    /// True for unconfirmed connections: half-open TCP, UDP of a single datagram, SCTP before the client has echoed the
    /// cookie, and a connection that an ICMP error has opened. A forged source address is enough to open them, so they are evictable (`ip_vs_random_dropentry` in
    /// net/netfilter/ipvs/ip_vs_conn.c).
    #[inline]
    #[must_use]
    pub const fn is_unconfirmed(self) -> bool {
        self.is_syn_recv() || matches!(self, Self::None | SynAck | UdpNew | SctpNone | SctpInit1 | SctpInit)
    }

    /// True for the states that IPVS has as SYN_RECV.
    #[inline]
    #[must_use]
    pub const fn is_syn_recv(self) -> bool {
        matches!(self, SynRecv | SynRecvAgain | SynRecvReset)
    }

    /// The step of a TCP handshake that a change to the state `to` is; `None` for any other change. A handshake has each
    /// step at most once. A FIN before any ACK was seen, and a RST, prove like an ACK that the client got the SYN-ACK.
    #[inline]
    #[must_use]
    pub const fn handshake_step(self, to: Self) -> Option<HandshakeStep> {
        match (self, to) {
            (_, SynRecv) => Some(HandshakeStep::Opened),
            (_, SynRecvAgain) => Some(HandshakeStep::Repeated),
            (SynRecv | SynRecvAgain, Established | TimeWait | SynRecvReset) => Some(HandshakeStep::Completed),
            _ => None,
        }
    }

    /// True for states that assure the template of a persistent client (`ip_vs_control_assure_ct` in
    /// net/netfilter/ipvs/ip_vs_conn.c, but for UDP).
    #[inline]
    #[must_use]
    pub const fn assures(self) -> bool {
        matches!(self, Established | Udp | SctpEstablished)
    }

    /// True if a segment with `flags`, or an INIT of SCTP, opens a new connection in place of this one
    /// (`is_new_conn_expected` in net/netfilter/ipvs/ip_vs_core.c). This one must not have a persistence template. False
    /// with RST, which never opens a connection.
    #[inline]
    #[must_use]
    pub const fn is_reused_by(self, flags: TcpFlags, mode: ConnReuseMode) -> bool {
        let closing = match self {
            TimeWait | Close | SctpClosed => mode.reuses_closed(),
            FinWait => mode.reuses_fin_wait(),
            _ => false,
        };
        closing && flags.any(TcpFlags::SYN) && !flags.any(TcpFlags::RST)
    }

    /// Idle timeout of every state, by discriminant.
    #[must_use]
    pub fn timeouts(configured: &Timeouts) -> [Span; Self::COUNT] {
        Self::ALL.map(|state| state.timeout(configured))
    }

    /// Idle timeout in this state (`tcp_timeouts`, `udp_timeouts` and `sctp_timeouts` in net/netfilter/ipvs/
    /// ip_vs_proto_tcp.c, ip_vs_proto_udp.c and ip_vs_proto_sctp.c).
    #[must_use]
    pub const fn timeout(self, configured: &Timeouts) -> Span {
        match self {
            Self::None | SctpNone => Span::from_secs(2),
            SctpInit1 | SctpRejected => Span::from_secs(4),
            Established => configured.tcp,
            SctpEstablished => Span::from_secs(900),
            FinWait => configured.tcp_fin,
            Udp | UdpNew => configured.udp,
            SynSent | TimeWait | Listen | SynAck => Span::from_secs(120),
            SynRecv | SynRecvAgain | SynRecvReset | CloseWait => Span::from_secs(60),
            Close => Span::from_secs(10),
            LastAck => Span::from_secs(30),
            SctpInit
            | Self::SctpCookieSent
            | Self::SctpCookieReplied
            | Self::SctpCookieWait
            | Self::SctpCookie
            | Self::SctpCookieEchoed
            | Self::SctpShutdownSent
            | Self::SctpShutdownReceived
            | Self::SctpShutdownAckSent
            | SctpClosed => Span::from_secs(61),
        }
    }
}

/// Step of a TCP handshake, as the client's half shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeStep {
    /// A SYN.
    Opened,
    /// The SYN again: no SYN-ACK has come.
    Repeated,
    /// ACK, FIN or RST: a SYN-ACK has come.
    Completed,
}

#[cfg(test)]
mod tests;
