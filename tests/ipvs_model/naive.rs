//! Naive IPVS: a map of connections, a list of servers, and the kernel's tables as text.

use crate::support::frames::{ACK, FIN, RST, SYN};
use directrix::model::{Persistence, Scheduler};
use directrix::stats::DropReason;
use directrix::wire::Protocol;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Milliseconds for which the fragments of a packet have its server.
const PACKET_MS: u64 = 2000;

/// `tcp_states_input_only` of net/netfilter/ipvs/ip_vs_proto_tcp.c: rows by segment, columns by current state.
const TCP: &str = "
    NO ES SS SR FW TW CL CW LA LI SA
syn SR ES ES SR SR SR SR SR SR SR SR
fin CL FW SS TW FW TW CL CW LA LI TW
ack ES ES SS ES FW TW CL CW CL LI ES
rst CL CL CL SR CL CL CL CL LA LI CL";

/// States by letters, in the order of the columns, with their names in `ipvsadm -Lc` and timeouts in seconds.
const TCP_STATES: [(&str, &str, u64); 11] = [
    ("NO", "NONE", 2),
    ("ES", "ESTABLISHED", 900),
    ("SS", "SYN_SENT", 120),
    ("SR", "SYN_RECV", 60),
    ("FW", "FIN_WAIT", 120),
    ("TW", "TIME_WAIT", 120),
    ("CL", "CLOSE", 10),
    ("CW", "CLOSE_WAIT", 60),
    ("LA", "LAST_ACK", 30),
    ("LI", "LISTEN", 120),
    ("SA", "SYNACK", 120),
];

/// `sctp_states` of net/netfilter/ipvs/ip_vs_proto_sctp.c for input only, likewise. `d` is every other chunk.
const SCTP: &str = "
    NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
d   ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL
i   I1 IN IN IN IN IN CO CE ES SS SR SA IN IN
ia  CE CE CE CE CE CE CO CE ES SS SR SA RJ CL
ce  ES ES ES ES ES ES CO CE ES SS SR SA RJ CL
ca  ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL
s   SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
sa  CL IN IN CS CR CW CO CE CL CL SR CL RJ CL
sc  CL CL CL CL CL CW CO CE ES SS CL CL RJ CL
err CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
ab  CL CL CL CL CL RJ CL CL CL CL CL CL CL CL";

const SCTP_STATES: [(&str, &str, u64); 14] = [
    ("NO", "NONE", 2),
    ("I1", "INIT1", 4),
    ("IN", "INIT", 61),
    ("CS", "C-SENT", 61),
    ("CR", "C-REPLIED", 61),
    ("CW", "C-WAIT", 61),
    ("CO", "COOKIE", 61),
    ("CE", "C-ECHOED", 61),
    ("ES", "ESTABLISHED", 900),
    ("SS", "S-SENT", 61),
    ("SR", "S-RECEIVED", 61),
    ("SA", "S-ACK-SENT", 61),
    ("RJ", "REJECTED", 4),
    ("CL", "CLOSED", 61),
];

/// Settings of the services and their servers.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) is_v6: bool,
    pub(crate) scheduler: Scheduler,
    pub(crate) weights: Vec<u16>,
    /// Upper thresholds; 0: none. Lower ones are not set.
    pub(crate) upper: Vec<u32>,
    pub(crate) persistence: Option<Persistence>,
    /// Ports of the services; every port takes persistence.
    pub(crate) ports: Ports,
    /// One service for all protocols, by a firewall mark.
    pub(crate) is_group: bool,
    /// `conn_reuse_mode`.
    pub(crate) reuse: u8,
    /// `sloppy_tcp` and `sloppy_sctp`.
    pub(crate) sloppy: bool,
    pub(crate) schedule_icmp: bool,
    /// Tick at millisecond 0.
    pub(crate) start: u32,
}

/// Ports of the services of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// One.
    One,
    /// Two that stand one by one; in a group only.
    Two,
    /// Two, as a range; in a group only.
    Range,
    /// The wildcard port.
    Every,
}

/// Protocol, client, and destination port.
pub(crate) type Flow = (Protocol, SocketAddr, u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Forwarded(usize),
    Dropped(DropReason),
    /// A fragment that waits for the first one of its packet.
    Held,
}

pub(crate) struct Naive {
    pub(crate) setup: Setup,
    pub(crate) overloaded: Vec<bool>,
    pub(crate) connections: HashMap<Flow, Connection>,
    /// Connections by server.
    pub(crate) opened: Vec<u64>,
    /// Frames by server.
    pub(crate) forwarded: Vec<u64>,
    /// Last pick of rr.
    last: Option<usize>,
    /// By protocol and client network; those of a group are of all protocols.
    templates: HashMap<(Option<Protocol>, IpAddr), Template>,
    /// Server and end of each packet that was sent in fragments.
    packets: Vec<Option<(usize, u64)>>,
}

struct Template {
    server: usize,
    connections: u32,
    /// Since tick 0, rounded up to units of 256 ms.
    deadline_ms: u64,
}

pub(crate) struct Connection {
    pub(crate) server: usize,
    pub(crate) state: &'static str,
    pub(crate) deadline_ms: u64,
}

impl Naive {
    pub(crate) fn new(setup: Setup) -> Self {
        let servers = setup.weights.len();
        Self {
            setup,
            overloaded: vec![false; servers],
            connections: HashMap::new(),
            opened: vec![0; servers],
            forwarded: vec![0; servers],
            last: None,
            templates: HashMap::new(),
            packets: Vec::new(),
        }
    }

    /// Active and inactive connections of a server.
    pub(crate) fn load(&self, server: usize) -> (u64, u64) {
        let of_server = self.connections.values().filter(|connection| connection.server == server);
        of_server.fold((0, 0), |(active, inactive), connection| {
            if is_active(connection.state) { (active + 1, inactive) } else { (active, inactive + 1) }
        })
    }

    /// Templates that have connections or whose time is not over.
    pub(crate) fn templates(&self, now_ms: u64) -> usize {
        let tick = u64::from(self.setup.start) + now_ms;
        self.templates.values().filter(|of| of.connections > 0 || tick < of.deadline_ms).count()
    }

    pub(crate) fn expire(&mut self, now_ms: u64) {
        let ended: Vec<_> = self.connections.extract_if(|_, of| now_ms >= of.deadline_ms).collect();
        ended.into_iter().for_each(|(of, _)| self.release(of));
        self.judge_all();
    }

    /// A segment, a datagram or a chunk.
    pub(crate) fn packet(&mut self, flow: Flow, event: u8, now_ms: u64) -> Fate {
        let fate = self.decide(flow, event, now_ms);
        self.count(fate)
    }

    /// The first fragment of the next packet.
    pub(crate) fn first_fragment(&mut self, flow: Flow, event: u8, now_ms: u64) -> Fate {
        let first = self.packet(flow, event, now_ms);
        let server = if let Fate::Forwarded(server) = first { Some(server) } else { None };
        self.packets.push(server.map(|server| (server, now_ms + PACKET_MS)));
        first
    }

    /// The second fragment of a packet.
    pub(crate) fn later_fragment(&mut self, packet: usize, now_ms: u64) -> Fate {
        let known = self.packets.get(packet).copied().flatten().filter(|(_, end_ms)| now_ms < *end_ms);
        self.count(known.map_or(Fate::Held, |(server, _)| Fate::Forwarded(server)))
    }

    /// An ICMP error about a packet of the flow's server to its client.
    pub(crate) fn error(&mut self, flow: Flow, now_ms: u64) -> Fate {
        self.expire(now_ms);
        let known = self.connections.get(&flow).map(|connection| connection.server);
        let hashed = || if self.setup.scheduler == Scheduler::Sh { self.hashed(flow.1) } else { None };
        let fate = match known.or_else(hashed) {
            Some(server) => Fate::Forwarded(server),
            None if !self.setup.schedule_icmp => Fate::Dropped(DropReason::IcmpUnknown),
            None => match self.open(flow, now_ms) {
                Some(server) => {
                    self.enter(flow, first_state(flow.0), now_ms);
                    Fate::Forwarded(server)
                }
                None => Fate::Dropped(DropReason::NoServer),
            },
        };
        self.count(fate)
    }

    fn count(&mut self, fate: Fate) -> Fate {
        if let Fate::Forwarded(server) = fate {
            self.forwarded[server] += 1;
        }
        fate
    }

    fn decide(&mut self, flow: Flow, event: u8, now_ms: u64) -> Fate {
        self.expire(now_ms);
        let known = self.connections.get(&flow).map(|connection| connection.state);
        let is_new = self.setup.persistence.is_none()
            && known.is_some_and(|state| reuses(self.setup.reuse, state))
            && is_request(flow.0, event);
        if is_new {
            self.connections.remove(&flow);
            self.judge_all();
        }
        if !self.connections.contains_key(&flow) {
            if !self.may_open(flow.0, event) {
                return Fate::Dropped(DropReason::NoConnection);
            }
            if self.open(flow, now_ms).is_none() {
                return Fate::Dropped(DropReason::NoServer);
            }
        }
        let state = after(flow.0, self.connections[&flow].state, event);
        self.enter(flow, state, now_ms);
        Fate::Forwarded(self.connections[&flow].server)
    }

    fn may_open(&self, protocol: Protocol, event: u8) -> bool {
        match protocol {
            Protocol::Udp => true,
            _ => is_request(protocol, event) || (self.setup.sloppy && !is_reset(protocol, event)),
        }
    }

    /// Opens a connection in its first state.
    fn open(&mut self, flow: Flow, now_ms: u64) -> Option<usize> {
        let server = self.bind(flow, now_ms)?;
        self.opened[server] += 1;
        self.connections.insert(flow, Connection { server, state: first_state(flow.0), deadline_ms: 0 });
        self.judge(server);
        Some(server)
    }

    fn enter(&mut self, flow: Flow, state: &'static str, now_ms: u64) {
        let connection = self.connections.get_mut(&flow).expect("it is open");
        (connection.state, connection.deadline_ms) = (state, now_ms + timeout_ms(flow.0, state));
    }

    /// The server of the client's template, or a new pick.
    fn bind(&mut self, (protocol, client, _): Flow, now_ms: u64) -> Option<usize> {
        let Some(persistence) = self.setup.persistence else { return self.pick(client) };
        let key = (self.of_template(protocol), network(client.ip(), persistence.prefix));
        let tick = u64::from(self.setup.start) + now_ms;
        self.templates.retain(|_, template| template.connections > 0 || tick < template.deadline_ms);
        let (server, connections) = match self.templates.remove(&key) {
            Some(template) => (template.server, template.connections),
            None => (self.pick(client)?, 0),
        };
        let deadline_ms = (tick + u64::from(persistence.timeout.millis())).next_multiple_of(256);
        self.templates.insert(key, Template { server, connections: connections + 1, deadline_ms });
        Some(server)
    }

    fn release(&mut self, (protocol, client, _): Flow) {
        let Some(persistence) = self.setup.persistence else { return };
        let key = (self.of_template(protocol), network(client.ip(), persistence.prefix));
        if let Some(template) = self.templates.get_mut(&key) {
            template.connections -= 1;
        }
    }

    /// The template of a mark has no protocol (`ip_vs_sched_persist` in net/netfilter/ipvs/ip_vs_core.c).
    fn of_template(&self, protocol: Protocol) -> Option<Protocol> {
        (!self.setup.is_group).then_some(protocol)
    }

    fn pick(&mut self, client: SocketAddr) -> Option<usize> {
        match self.setup.scheduler {
            Scheduler::Rr => self.next(),
            Scheduler::Lc => self.least(|active, inactive| active * 256 + inactive, false),
            Scheduler::Sed => self.least(|active, _| active + 1, true),
            Scheduler::Sh => self.hashed(client),
            _ => self.least(|active, inactive| active * 256 + inactive, true),
        }
    }

    fn takes(&self, server: usize) -> bool {
        self.setup.weights[server] > 0 && !self.overloaded[server]
    }

    fn next(&mut self) -> Option<usize> {
        let (servers, first) = (self.overloaded.len(), self.last.map_or(0, |last| last + 1));
        let next = (first..first + servers).map(|at| at % servers).find(|server| self.takes(*server));
        self.last = next.or(self.last);
        next
    }

    fn least(&self, overhead: impl Fn(u64, u64) -> u64, is_weighted: bool) -> Option<usize> {
        let load = |server: usize| overhead(self.load(server).0, self.load(server).1);
        let weight = |server: usize| if is_weighted { u64::from(self.setup.weights[server]) } else { 1 };
        let servers = (0..self.overloaded.len()).filter(|server| self.takes(*server));
        servers.reduce(
            |best, server| {
                if load(best) * weight(server) > load(server) * weight(best) { server } else { best }
            },
        )
    }

    /// sh with sh-port: 256 slots in list order, as many in a row as the weight (net/netfilter/ipvs/ip_vs_sh.c).
    fn hashed(&self, client: SocketAddr) -> Option<usize> {
        let weights = self.setup.weights.iter().enumerate();
        let in_a_row = weights.map(|(server, weight)| (server, usize::from(*weight).max(1)));
        let dealt = in_a_row.cycle().flat_map(|(server, weight)| std::iter::repeat_n(server, weight));
        let address = match client.ip() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => {
                let words = (0..4).map(|word| (address.to_bits() >> (32 * word)) as u32);
                u64::from(words.fold(0, |fold, word| fold ^ word))
            }
        };
        let slot = (((address + u64::from(client.port())) * 0x61c8_8647) & 0xffff_ffff) >> 24;
        dealt.take(256).nth(slot as usize).filter(|server| self.takes(*server))
    }

    /// Updates the overload of `server` after a change of its connections.
    fn judge(&mut self, server: usize) {
        let ((active, inactive), upper) = (self.load(server), u64::from(self.setup.upper[server]));
        let total = active + inactive;
        let stays = self.overloaded[server] && total * 4 >= upper * 3;
        self.overloaded[server] = upper > 0 && (total >= upper || stays);
    }

    fn judge_all(&mut self) {
        (0..self.overloaded.len()).for_each(|server| self.judge(server));
    }
}

fn network(client: IpAddr, prefix: u8) -> IpAddr {
    let mask = |bits: u128, width: u32| bits >> (width - u32::from(prefix)) << (width - u32::from(prefix));
    match client {
        IpAddr::V4(client) => IpAddr::V4(((mask(client.to_bits().into(), 32)) as u32).into()),
        IpAddr::V6(client) => IpAddr::V6(mask(client.to_bits(), 128).into()),
    }
}

/// True for a SYN and an INIT.
fn is_request(protocol: Protocol, event: u8) -> bool {
    match protocol {
        Protocol::Tcp => event & SYN > 0 && event & RST == 0,
        Protocol::Udp => false,
        Protocol::Sctp => event == 1,
    }
}

/// True for a RST and an ABORT.
fn is_reset(protocol: Protocol, event: u8) -> bool {
    match protocol {
        Protocol::Tcp => event & RST > 0,
        Protocol::Udp => false,
        Protocol::Sctp => event == 6,
    }
}

/// True if a request opens another connection in place of one in this state.
fn reuses(mode: u8, state: &str) -> bool {
    match state {
        "TIME_WAIT" | "CLOSE" | "CLOSED" => mode > 0,
        "FIN_WAIT" => mode & 2 > 0,
        _ => false,
    }
}

fn first_state(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Udp { "UDP" } else { "NONE" }
}

/// The row of the protocol's table.
fn row(protocol: Protocol, event: u8) -> Option<&'static str> {
    let name = match (protocol, event) {
        (Protocol::Tcp, flags) if flags & RST > 0 => "rst",
        (Protocol::Tcp, flags) if flags & SYN > 0 => "syn",
        (Protocol::Tcp, flags) if flags & FIN > 0 => "fin",
        (Protocol::Tcp, flags) if flags & ACK > 0 => "ack",
        (Protocol::Sctp, 1) => "i",
        (Protocol::Sctp, 2) => "ia",
        (Protocol::Sctp, 6) => "ab",
        (Protocol::Sctp, 7) => "s",
        (Protocol::Sctp, 8) => "sa",
        (Protocol::Sctp, 9) => "err",
        (Protocol::Sctp, 10) => "ce",
        (Protocol::Sctp, 11) => "ca",
        (Protocol::Sctp, 14) => "sc",
        (Protocol::Sctp, _) => "d",
        (Protocol::Tcp | Protocol::Udp, _) => return None,
    };
    let table = if protocol == Protocol::Tcp { TCP } else { SCTP };
    table.lines().find(|line| line.split_whitespace().next() == Some(name))
}

fn states(protocol: Protocol) -> &'static [(&'static str, &'static str, u64)] {
    match protocol {
        Protocol::Tcp => &TCP_STATES,
        Protocol::Udp => &[("UD", "UDP", 300)],
        Protocol::Sctp => &SCTP_STATES,
    }
}

fn after(protocol: Protocol, state: &'static str, event: u8) -> &'static str {
    let Some(row) = row(protocol, event) else {
        return if protocol == Protocol::Tcp { "CLOSE" } else { state }; // a segment without flags
    };
    let column = states(protocol).iter().position(|(_, name, _)| *name == state).expect("a state");
    let letters = row.split_whitespace().nth(column + 1).expect("a column of the table");
    states(protocol).iter().find(|(of, ..)| *of == letters).expect("a state").1
}

fn timeout_ms(protocol: Protocol, state: &str) -> u64 {
    states(protocol).iter().find(|(_, name, _)| *name == state).expect("a state").2 * 1000
}

fn is_active(state: &str) -> bool {
    matches!(state, "ESTABLISHED" | "SYN_SENT" | "SYN_RECV" | "SYNACK")
}
