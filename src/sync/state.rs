//! Numbers of connection states on the wire (`IP_VS_TCP_S_*`, `IP_VS_UDP_S_*` and `IP_VS_SCTP_S_*` in
//! include/net/ip_vs.h).

use super::SyncProtocol;
use crate::flow::ConnState;
use crate::wire::Protocol;

const TCP_STATES: u8 = ConnState::Udp as u8;
const SCTP_FIRST: u8 = ConnState::SctpNone as u8;
const SCTP_STATES: u8 = ConnState::COUNT as u8 - SCTP_FIRST;

/// State of a template that the client's later connections use (`IP_VS_CTPL_S_ASSURED`).
pub(super) const ASSURED: u8 = 1;
/// Number of states of a template (`IP_VS_CTPL_S_LAST`).
pub(super) const TEMPLATE_STATES: u8 = 2;

/// Number of a connection's state in its protocol's table.
#[must_use]
pub const fn number_of(state: ConnState) -> u8 {
    match state {
        ConnState::Udp | ConnState::UdpNew => 0,
        ConnState::SynRecvAgain | ConnState::SynRecvReset => ConnState::SynRecv as u8,
        state if state as u8 >= SCTP_FIRST => state as u8 - SCTP_FIRST,
        state => state as u8,
    }
}

/// The state with this number; `None` if the protocol has none, or is not that of a service. A UDP flow is confirmed.
#[must_use]
pub fn numbered(protocol: SyncProtocol, number: u8) -> Option<ConnState> {
    let SyncProtocol::Service(protocol) = protocol else { return None };
    let state = |first: u8| ConnState::ALL.get(usize::from(first) + usize::from(number)).copied();
    match protocol {
        Protocol::Tcp if number < TCP_STATES => state(0),
        Protocol::Udp if number == 0 => Some(ConnState::Udp),
        Protocol::Sctp => state(SCTP_FIRST),
        Protocol::Tcp | Protocol::Udp => None,
    }
}

/// Number of states of a connection of `protocol`; the template of a group is none, and has none.
pub(super) const fn states(protocol: SyncProtocol) -> u8 {
    match protocol {
        SyncProtocol::Service(Protocol::Tcp) => TCP_STATES,
        SyncProtocol::Service(Protocol::Sctp) => SCTP_STATES,
        SyncProtocol::Service(Protocol::Udp) | SyncProtocol::Ah | SyncProtocol::Esp => 1,
        SyncProtocol::Mark => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: SyncProtocol = SyncProtocol::Service(Protocol::Tcp);
    const SCTP: SyncProtocol = SyncProtocol::Service(Protocol::Sctp);

    /// Numbers of include/net/ip_vs.h.
    const NUMBERS: [(SyncProtocol, &[&str]); 3] = [
        (
            TCP,
            &[
                "NONE",
                "ESTABLISHED",
                "SYN_SENT",
                "SYN_RECV",
                "FIN_WAIT",
                "TIME_WAIT",
                "CLOSE",
                "CLOSE_WAIT",
                "LAST_ACK",
                "LISTEN",
                "SYNACK",
            ],
        ),
        (SyncProtocol::Service(Protocol::Udp), &["UDP"]),
        (
            SCTP,
            &[
                "NONE",
                "INIT1",
                "INIT",
                "C-SENT",
                "C-REPLIED",
                "C-WAIT",
                "COOKIE",
                "C-ECHOED",
                "ESTABLISHED",
                "S-SENT",
                "S-RECEIVED",
                "S-ACK-SENT",
                "REJECTED",
                "CLOSED",
            ],
        ),
    ];

    #[test]
    fn numbers_are_the_kernels() {
        for (protocol, names) in NUMBERS {
            let found: Vec<_> = (0..=u8::MAX).map_while(|number| numbered(protocol, number)).collect();
            assert_eq!(found.iter().map(|state| state.name()).collect::<Vec<_>>(), names);
            assert_eq!(usize::from(states(protocol)), names.len());
            assert!((states(protocol)..=u8::MAX).all(|number| numbered(protocol, number).is_none()));
            for (number, state) in (0..).zip(found) {
                assert_eq!(number_of(state), number);
            }
        }
    }

    #[test]
    fn every_state_is_one_of_its_name_on_the_wire() {
        for state in ConnState::ALL {
            let of = |protocol| numbered(protocol, number_of(state)).map(ConnState::name);
            let names = NUMBERS.map(|(protocol, _)| of(protocol));
            assert!(names.contains(&Some(state.name())), "{state:?}: {names:?}");
        }
    }
}
