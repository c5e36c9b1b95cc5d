use super::*;
use proptest::prelude::*;

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

/// The state that IPVS has for this one.
fn ipvs(state: ConnState) -> ConnState {
    if state.is_syn_recv() { SynRecv } else { state }
}

#[test]
fn transitions_match_the_kernel_table() {
    let mut lines = TABLE.trim_start_matches('\n').lines();
    let columns: Vec<_> = lines.next().unwrap().split_whitespace().map(state).collect();
    for (line, flags) in lines.zip([SYN, FIN, ACK, RST]) {
        for (from, to) in columns.iter().zip(line.split_whitespace().skip(1)) {
            let to = state(to);
            assert_eq!(ipvs(from.after(flags)), to, "{from:?} on {flags:?}");
            if *from == SynRecv {
                let others = [SynRecvAgain, SynRecvReset].map(|from| ipvs(from.after(flags)));
                assert_eq!(others, [to; 2], "{flags:?}");
            }
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
    assert_eq!([0, 1].map(|mode| by(mode, SYN)), [vec![], vec![TimeWait, Close, SctpClosed]]);
    assert_eq!(
        [2, 3].map(|mode| by(mode, SYN)),
        [(); 2].map(|()| vec![FinWait, TimeWait, Close, SctpClosed])
    );
    assert_eq!(by(3, ACK), []);
    assert_eq!(by(3, TcpFlags(TcpFlags::SYN | TcpFlags::RST)), []);
}

#[test]
fn timeouts_match_ipvs() {
    let seconds = ConnState::ALL.map(|state| state.timeout(&Timeouts::default()).secs());
    assert_eq!(seconds[..15], [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300, 300, 60, 60]);
    assert_eq!(seconds[15..], [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61]);
    let by_number = ConnState::timeouts(&Timeouts::default());
    assert!(
        ConnState::ALL.iter().all(|state| by_number[*state as usize] == state.timeout(&Timeouts::default()))
    );
}

#[test]
fn an_optional_state_is_one_byte() {
    assert_eq!(size_of::<Option<ConnState>>(), 1);
    assert!(ConnState::ALL.iter().enumerate().all(|(index, state)| *state as usize == index));
}

/// The steps of a handshake that these segments of a client are.
fn steps(segments: &[TcpFlags]) -> Vec<HandshakeStep> {
    let mut state = ConnState::None;
    let step = |flags: &TcpFlags| {
        let from = state;
        state = state.after(*flags);
        (from != state).then(|| from.handshake_step(state)).flatten()
    };
    segments.iter().filter_map(step).collect()
}

#[test]
fn a_handshake_has_each_step_once() {
    use HandshakeStep::{Completed, Opened, Repeated};
    for (segments, expected) in [
        (&[SYN, ACK, ACK, FIN, ACK][..], &[Opened, Completed][..]),
        (&[SYN, SYN, SYN, SYN], &[Opened, Repeated]),
        (&[SYN, SYN, ACK, SYN, ACK], &[Opened, Repeated, Completed]),
        (&[SYN, RST, RST, SYN, SYN, ACK], &[Opened, Completed]),
        (&[SYN, SYN, RST, ACK], &[Opened, Repeated, Completed]),
        (&[SYN, FIN, ACK], &[Opened, Completed]),
        (&[SYN, TcpFlags(0), ACK], &[Opened]),
        (&[ACK, ACK, FIN], &[]),
        (&[SYN, ACK, FIN, SYN, ACK], &[Opened, Completed, Opened, Completed]),
    ] {
        assert_eq!(steps(segments), expected, "{segments:?}");
    }
}

proptest! {
    #[test]
    fn no_segments_repeat_a_step_without_a_new_handshake(flags in proptest::collection::vec(0_u8..64, 0..40)) {
        let (mut opened, mut repeated, mut completed) = (0, 0, 0);
        for step in steps(&flags.into_iter().map(TcpFlags).collect::<Vec<_>>()) {
            match step {
                HandshakeStep::Opened => opened += 1,
                HandshakeStep::Repeated => repeated += 1,
                HandshakeStep::Completed => completed += 1,
            }
            prop_assert!(repeated <= opened && completed <= opened);
        }
    }
}
