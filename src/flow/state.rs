//! Connection states and timeouts, from the client's half of the connection alone (IPVS's input-only table).

use crate::model::{ConnReuseMode, Timeouts};
use crate::time::Span;
use crate::wire::transport::TcpFlags;

macro_rules! states {
    ($($variant:ident = $name:literal,)+) => {
        /// Connection states: IPVS's (`IP_VS_TCP_S_*` in include/net/ip_vs.h), but two for UDP. A UDP flow
        /// of a single datagram is evictable, one of several is not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are TCP's own
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
}

use ConnState::{
    Close, CloseWait, Established, FinWait, LastAck, Listen, SynAck, SynRecv, SynSent, TimeWait, Udp, UdpNew,
};

/// Next state by the client's flag (row) and the current state (column, in `ConnState`'s order): the
/// input-only part of `tcp_states` in net/netfilter/ipvs/ip_vs_proto_tcp.c. Any second datagram
/// confirms a UDP flow.
#[rustfmt::skip]
mod transitions {
    use super::ConnState::{self, *};
    type Row = [ConnState; ConnState::COUNT];
    pub(super) const SYN: Row =
        [SynRecv, Established, Established, SynRecv, SynRecv, SynRecv, SynRecv, SynRecv, SynRecv, SynRecv, SynRecv, Udp, Udp];
    pub(super) const FIN: Row =
        [Close, FinWait, SynSent, TimeWait, FinWait, TimeWait, Close, CloseWait, LastAck, Listen, TimeWait, Udp, Udp];
    pub(super) const ACK: Row =
        [Established, Established, SynSent, Established, FinWait, TimeWait, Close, CloseWait, Close, Listen, Established, Udp, Udp];
    pub(super) const RST: Row =
        [Close, Close, Close, SynRecv, Close, Close, Close, Close, LastAck, Listen, Close, Udp, Udp];
    /// None of the four flags.
    pub(super) const BARE: Row =
        [Close, Close, Close, Close, Close, Close, Close, Close, Close, Close, Close, Udp, Udp];
}

/// Flags that select a row of [`transitions`].
const MOVING: u8 = TcpFlags::RST | TcpFlags::SYN | TcpFlags::FIN | TcpFlags::ACK;

/// Columns of a row in [`NEXT`]: a power of two, so that a row is found by a shift.
const ROW: usize = ConnState::COUNT.next_power_of_two();

/// [`transitions`] by the value of the [`MOVING`] flags, so that a look-up has no branch.
static NEXT: [[ConnState; ROW]; MOVING as usize + 1] = {
    let mut next = [[ConnState::None; ROW]; MOVING as usize + 1];
    let mut flags = 0;
    while flags <= MOVING {
        let row = row(TcpFlags(flags));
        let mut state = 0;
        while state < ConnState::COUNT {
            next[flags as usize][state] = row[state];
            state += 1;
        }
        flags += 1;
    }
    next
};

const fn row(flags: TcpFlags) -> [ConnState; ConnState::COUNT] {
    if flags.any(TcpFlags::RST) {
        transitions::RST
    } else if flags.any(TcpFlags::SYN) {
        transitions::SYN
    } else if flags.any(TcpFlags::FIN) {
        transitions::FIN
    } else if flags.any(TcpFlags::ACK) {
        transitions::ACK
    } else {
        transitions::BARE
    }
}

impl ConnState {
    /// The state after a segment with `flags` from the client. RST has precedence over SYN, FIN and ACK.
    ///
    /// A segment with none of the four closes the connection, as in the kernel. A UDP flow is confirmed.
    #[inline]
    #[must_use]
    pub fn after(self, flags: TcpFlags) -> ConnState {
        NEXT[usize::from(flags.0 & MOVING)][self as usize]
    }

    /// True for the states of active connections (IPVS's ActiveConn).
    #[inline]
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Established | SynSent | SynRecv | SynAck)
    }

    /// True for unconfirmed connections: half-open TCP, and UDP of a single datagram. A forged source
    /// address is enough to open them, so they are evictable.
    #[inline]
    #[must_use]
    pub const fn is_unconfirmed(self) -> bool {
        matches!(self, SynRecv | SynAck | UdpNew)
    }

    /// True if a segment with `flags` opens a new connection in place of this one, which must not have a
    /// persistence template (`is_new_conn_expected` in net/netfilter/ipvs/ip_vs_core.c). False with RST,
    /// which never opens a connection.
    #[inline]
    #[must_use]
    pub const fn is_reused_by(self, flags: TcpFlags, mode: ConnReuseMode) -> bool {
        let closing = match self {
            TimeWait | Close => mode.reuses_closed(),
            FinWait => mode.reuses_fin_wait(),
            _ => false,
        };
        closing && flags.any(TcpFlags::SYN) && !flags.any(TcpFlags::RST)
    }

    /// Idle timeout in this state (`tcp_timeouts` and `udp_timeouts` in net/netfilter/ipvs/ip_vs_proto_tcp.c
    /// and ip_vs_proto_udp.c).
    #[must_use]
    pub const fn timeout(self, configured: &Timeouts) -> Span {
        match self {
            Self::None => Span::from_secs(2),
            Established => configured.tcp,
            FinWait => configured.tcp_fin,
            Udp | UdpNew => configured.udp,
            SynSent | TimeWait | Listen | SynAck => Span::from_secs(120),
            SynRecv | CloseWait => Span::from_secs(60),
            Close => Span::from_secs(10),
            LastAck => Span::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIN: TcpFlags = TcpFlags(TcpFlags::FIN | TcpFlags::ACK);
    const SYN: TcpFlags = TcpFlags(TcpFlags::SYN);
    const RST: TcpFlags = TcpFlags(TcpFlags::RST | TcpFlags::ACK);
    const ACK: TcpFlags = TcpFlags(TcpFlags::ACK);

    /// The kernel's table with two-letter names, to be compared by eye.
    const TABLE: &str = "
        NO ES SS SR FW TW CL CW LA LI SA
   syn: SR ES ES SR SR SR SR SR SR SR SR
   fin: CL FW SS TW FW TW CL CW LA LI TW
   ack: ES ES SS ES FW TW CL CW CL LI ES
   rst: CL CL CL SR CL CL CL CL LA LI CL";

    fn state(letters: &str) -> ConnState {
        let names = ["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"];
        ConnState::ALL[names.iter().position(|name| *name == letters).unwrap()]
    }

    #[test]
    fn transitions_match_the_kernel_table() {
        let mut lines = TABLE.trim_start_matches('\n').lines();
        let columns: Vec<_> = lines.next().unwrap().split_whitespace().map(state).collect();
        for (line, flags) in lines.zip([SYN, FIN, ACK, RST]) {
            for (from, to) in columns.iter().zip(line.split_whitespace().skip(1)) {
                assert_eq!(from.after(flags), state(to), "{from:?} on {flags:?}");
            }
        }
    }

    #[test]
    fn rst_precedes_syn_precedes_fin_precedes_ack() {
        assert_eq!(Established.after(TcpFlags(0xff)), Close);
        assert_eq!(FinWait.after(TcpFlags(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::ACK)), SynRecv);
        assert_eq!(Established.after(FIN), FinWait);
        assert_eq!(Established.after(TcpFlags(0x08)), Close, "a bare PSH ends it");
    }

    #[test]
    fn a_second_datagram_confirms_a_udp_flow() {
        for flags in 0..=255 {
            assert_eq!([UdpNew, Udp].map(|state| state.after(TcpFlags(flags))), [Udp; 2]);
        }
        assert!(UdpNew.is_unconfirmed() && !Udp.is_unconfirmed());
        assert_eq!(UdpNew.name(), Udp.name(), "IPVS lists one state");
    }

    #[test]
    fn a_connection_is_active_then_inactive() {
        let life = [SYN, ACK, ACK, FIN, ACK];
        let states: Vec<_> = life
            .iter()
            .scan(ConnState::None, |state, flags| {
                *state = state.after(*flags);
                Some(*state)
            })
            .collect();
        assert_eq!(states, [SynRecv, Established, Established, FinWait, FinWait]);
        let active: Vec<_> = states.iter().map(|state| state.is_active()).collect();
        assert_eq!(active, [true, true, true, false, false]);
    }

    #[test]
    fn only_a_syn_reuses_a_closing_connection() {
        let by = |mode, flags| {
            let renewed =
                ConnState::ALL.into_iter().filter(|state| state.is_reused_by(flags, ConnReuseMode(mode)));
            renewed.collect::<Vec<_>>()
        };
        assert_eq!([0, 1].map(|mode| by(mode, SYN)), [vec![], vec![TimeWait, Close]]);
        assert_eq!([2, 3].map(|mode| by(mode, SYN)), [(); 2].map(|()| vec![FinWait, TimeWait, Close]));
        assert_eq!(by(3, ACK), []);
        assert_eq!(by(3, TcpFlags(TcpFlags::SYN | TcpFlags::RST)), []);
    }

    #[test]
    fn timeouts_match_ipvs() {
        let seconds = ConnState::ALL.map(|state| state.timeout(&Timeouts::default()).secs());
        assert_eq!(seconds, [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300, 300]);
    }

    #[test]
    fn an_optional_state_is_one_byte() {
        assert_eq!(size_of::<Option<ConnState>>(), 1);
        assert!(ConnState::ALL.iter().enumerate().all(|(index, state)| *state as usize == index));
    }
}
