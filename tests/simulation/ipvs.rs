//! Naive model of IPVS's connections by its documentation: a map, a state table, timeouts.

use crate::support::frames::{ACK, FIN, RST, SYN};
use directrix::flow::{ConnState, V4Key};
use directrix::model::{ConnReuseMode, ServerId, Timeouts};

/// Rows by flag, columns by state, both in the order of the documentation.
const TABLE: &str = "
     NO ES SS SR FW TW CL CW LA LI SA
rst: CL CL CL SR CL CL CL CL LA LI CL
syn: SR ES ES SR SR SR SR SR SR SR SR
fin: CL FW SS TW FW TW CL CW LA LI TW
ack: ES ES SS ES FW TW CL CW CL LI ES";
const FLAGS: [u8; 4] = [RST, SYN, FIN, ACK];
const NAMES: [(&str, ConnState); 11] = [
    ("NO", ConnState::None),
    ("ES", ConnState::Established),
    ("SS", ConnState::SynSent),
    ("SR", ConnState::SynRecv),
    ("FW", ConnState::FinWait),
    ("TW", ConnState::TimeWait),
    ("CL", ConnState::Close),
    ("CW", ConnState::CloseWait),
    ("LA", ConnState::LastAck),
    ("LI", ConnState::Listen),
    ("SA", ConnState::SynAck),
];

/// Segment or datagram of a client.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) key: V4Key,
    /// TCP's flags; `None` for UDP.
    pub(crate) flags: Option<u8>,
    pub(crate) frame: Vec<u8>,
}

impl Segment {
    /// True if it may open a connection.
    pub(crate) fn opens(&self) -> bool {
        self.flags.is_none_or(|flags| flags & SYN != 0 && flags & RST == 0)
    }
}

/// Connection of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) server: ServerId,
    pub(crate) state: ConnState,
    pub(crate) deadline_ms: u64,
    /// True if the last comparison has found it confirmed in the table. Frames since then may have met an
    /// eviction.
    pub(crate) seen_confirmed: bool,
}

impl Known {
    /// The connection that `segment` opens.
    pub(crate) fn opened(server: ServerId, segment: &Segment, now_ms: u64, timeouts: &Timeouts) -> Self {
        let none = Self { server, state: ConnState::None, deadline_ms: 0, seen_confirmed: false };
        none.after(segment, now_ms, timeouts)
    }

    /// The connection after a further segment.
    pub(crate) fn after(self, segment: &Segment, now_ms: u64, timeouts: &Timeouts) -> Self {
        let datagram = if self.state == ConnState::None { ConnState::UdpNew } else { ConnState::Udp };
        let state = segment.flags.map_or(datagram, |flags| next(self.state, flags));
        Self { state, deadline_ms: now_ms + lifetime_ms(state, timeouts), ..self }
    }

    /// True if `segment` belongs to the connection, false if it opens a new one with the same addresses and
    /// ports.
    pub(crate) fn goes_on_with(&self, segment: &Segment, now_ms: u64, reuse: ConnReuseMode) -> bool {
        let over = match self.state {
            ConnState::TimeWait | ConnState::Close => reuse != ConnReuseMode(0),
            ConnState::FinWait => reuse == ConnReuseMode(2) || reuse == ConnReuseMode(3),
            _ => false,
        };
        now_ms < self.deadline_ms && !(over && segment.opens())
    }

    /// True if it must be in the table: neither unconfirmed nor expired.
    pub(crate) fn must_stay(&self, now_ms: u64) -> bool {
        now_ms < self.deadline_ms && self.is_confirmed()
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        !matches!(self.state, ConnState::SynRecv | ConnState::SynAck | ConnState::UdpNew)
    }

    pub(crate) fn is_active(&self) -> bool {
        matches!(
            self.state,
            ConnState::Established | ConnState::SynSent | ConnState::SynRecv | ConnState::SynAck
        )
    }
}

fn next(state: ConnState, flags: u8) -> ConnState {
    let Some(row) = FLAGS.iter().position(|flag| flags & flag != 0) else { return ConnState::Close };
    let column = NAMES.iter().position(|(_, named)| *named == state).expect("a state of TCP");
    let name = TABLE.lines().nth(row + 2).and_then(|line| line.split_whitespace().nth(column + 1));
    NAMES.iter().find(|(letters, _)| Some(*letters) == name).expect("a state of the table").1
}

fn lifetime_ms(state: ConnState, timeouts: &Timeouts) -> u64 {
    let seconds = match state {
        ConnState::Established => return timeouts.tcp.millis().into(),
        ConnState::FinWait => return timeouts.tcp_fin.millis().into(),
        ConnState::Udp | ConnState::UdpNew => return timeouts.udp.millis().into(),
        ConnState::None => 2,
        ConnState::Close => 10,
        ConnState::LastAck => 30,
        ConnState::SynRecv | ConnState::CloseWait => 60,
        ConnState::SynSent | ConnState::TimeWait | ConnState::Listen | ConnState::SynAck => 120,
        other => panic!("{other:?} is no state of TCP or UDP"),
    };
    seconds * 1000
}
