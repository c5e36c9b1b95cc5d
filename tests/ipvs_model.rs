//! Model test of the whole decision: random traffic and waits against a naive IPVS, frame by frame. With
//! several schedulers, thresholds, persistence and wildcard-port services.
#![allow(missing_docs)]

mod support;

use directrix::flow::{ConnState, FlowTable};
use directrix::forward::{Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{
    ConnReuseMode, InterfaceIndex, MatchId, Persistence, Policy, Scheduler, SchedulerFlags, ServerId,
    ServiceAddress, ServiceId, Timeouts,
};
use directrix::schedule::{Candidate, Loads, Params, Pool, Templates, Thresholds};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::{Span, Tick};
use directrix::wire::sctp::SctpEvent;
use directrix::wire::transport::TcpFlags;
use directrix::wire::{MacAddr, Protocol};
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use support::frames::{self, DIRECTOR, End};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);

/// Naive IPVS: a map of connections, a list of servers.
#[derive(Default)]
struct Naive {
    scheduler: Scheduler,
    weights: Vec<u16>,
    /// Upper thresholds; 0: none. Lower ones are not set.
    upper: Vec<u32>,
    overloaded: Vec<bool>,
    /// Last pick of rr.
    last: Option<usize>,
    connections: HashMap<Flow, Connection>,
    persistence: Option<Persistence>,
    /// `conn_reuse_mode`.
    reuse: u8,
    /// `sloppy_tcp` and `sloppy_sctp`.
    sloppy: bool,
    templates: HashMap<(Protocol, IpAddr), Template>,
    opened: Vec<u64>,
    /// Tick at millisecond 0.
    start: u32,
}

/// Protocol, client, and destination port.
type Flow = (Protocol, End, u16);

struct Template {
    server: usize,
    connections: u32,
    /// Since tick 0, rounded up to units of 256 ms.
    deadline_ms: u64,
}

struct Connection {
    server: usize,
    state: ConnState,
    deadline_ms: u64,
}

impl Naive {
    fn load(&self, server: usize) -> (u64, u64) {
        let of_server = self.connections.values().filter(|connection| connection.server == server);
        of_server.fold((0, 0), |(active, inactive), connection| {
            if connection.state.is_active() { (active + 1, inactive) } else { (active, inactive + 1) }
        })
    }

    fn pick(&mut self, client: End) -> Option<usize> {
        let servers = self.weights.len();
        let takes = |server: &usize| self.weights[*server] > 0 && !self.overloaded[*server];
        let least = |measure: &dyn Fn(u64, u64) -> u64, weighted: bool| {
            let load = |server: usize| measure(self.load(server).0, self.load(server).1);
            let weight = |server: usize| if weighted { u64::from(self.weights[server]) } else { 1 };
            (0..servers).filter(takes).reduce(|best, server| {
                if load(best) * weight(server) > load(server) * weight(best) { server } else { best }
            })
        };
        match self.scheduler {
            Scheduler::Rr => {
                let first = self.last.map_or(0, |last| last + 1);
                let next = (first..first + servers).map(|at| at % servers).find(takes);
                self.last = next.or(self.last);
                next
            }
            Scheduler::Lc => least(&|active, inactive| active * 256 + inactive, false),
            Scheduler::Sed => least(&|active, _| active + 1, true),
            // sh with sh-port: 256 slots in list order, as many in a row as the weight.
            Scheduler::Sh => {
                let dealt = (0..servers)
                    .cycle()
                    .flat_map(|server| std::iter::repeat_n(server, usize::from(self.weights[server].max(1))));
                let number = u64::from(client.0.to_bits()) + u64::from(client.1);
                let slot = ((number * 0x61c8_8647) & 0xffff_ffff) >> 24;
                dealt.take(256).nth(slot as usize).filter(takes)
            }
            _ => least(&|active, inactive| active * 256 + inactive, true),
        }
    }

    /// The server of the client's template, or a new pick.
    fn bind(&mut self, (protocol, client, _): Flow, now_ms: u64) -> Option<usize> {
        let Some(persistence) = self.persistence else { return self.pick(client) };
        let (key, tick) = ((protocol, persistence.network(client.0.into())), u64::from(self.start) + now_ms);
        self.templates.retain(|_, template| template.connections > 0 || tick < template.deadline_ms);
        let known = self.templates.remove(&key);
        let (server, connections) = match known {
            Some(template) => (template.server, template.connections),
            None => (self.pick(client)?, 0),
        };
        let deadline_ms = (tick + u64::from(persistence.timeout.millis())).next_multiple_of(256);
        self.templates.insert(key, Template { server, connections: connections + 1, deadline_ms });
        Some(server)
    }

    fn release(&mut self, (protocol, client, _): Flow) {
        let Some(persistence) = self.persistence else { return };
        if let Some(template) = self.templates.get_mut(&(protocol, persistence.network(client.0.into()))) {
            template.connections -= 1;
        }
    }

    /// Updates the overload of `server` after a change of its connections.
    fn judge(&mut self, server: usize) {
        let ((active, inactive), upper) = (self.load(server), u64::from(self.upper[server]));
        let total = active + inactive;
        let stays = self.overloaded[server] && total * 4 >= upper * 3;
        self.overloaded[server] = upper > 0 && (total >= upper || stays);
    }

    fn judge_all(&mut self) {
        (0..self.weights.len()).for_each(|server| self.judge(server));
    }

    fn expire(&mut self, now_ms: u64) {
        let ended: Vec<_> = self.connections.extract_if(|_, of| now_ms >= of.deadline_ms).collect();
        ended.into_iter().for_each(|(of, _)| self.release(of));
        self.judge_all();
    }

    /// The server of the frame, or the drop reason.
    fn frame(&mut self, flow: Flow, flags: u8, now_ms: u64) -> Result<usize, DropReason> {
        self.expire(now_ms);
        let (begins, ends) = match flow.0 {
            Protocol::Tcp => (flags & frames::SYN != 0, flags & frames::RST != 0),
            Protocol::Udp => (true, false),
            Protocol::Sctp => (flags == SctpEvent::Init as u8, flags == SctpEvent::Abort as u8),
        };
        let opens = !ends && (begins || self.sloppy);
        let over = |state| match state {
            ConnState::TimeWait | ConnState::Close | ConnState::SctpClosed => self.reuse > 0,
            ConnState::FinWait => self.reuse & 2 > 0,
            _ => false,
        };
        let bound = self.persistence.is_some();
        if begins && !ends && !bound && self.connections.get(&flow).is_some_and(|known| over(known.state)) {
            self.connections.remove(&flow);
            self.judge_all();
        }
        if !self.connections.contains_key(&flow) {
            if !opens {
                return Err(DropReason::NoConnection);
            }
            let server = self.bind(flow, now_ms).ok_or(DropReason::NoServer)?;
            self.opened[server] += 1;
            let state = match flow.0 {
                Protocol::Tcp => ConnState::None,
                Protocol::Udp => ConnState::Udp,
                Protocol::Sctp => ConnState::SctpNone,
            };
            self.connections.insert(flow, Connection { server, state, deadline_ms: 0 });
            self.judge(server);
        }
        let connection = self.connections.get_mut(&flow).expect("just put there");
        connection.state = connection.state.after(TcpFlags(flags));
        let lifetime = connection.state.timeout(&Timeouts::default()).millis();
        connection.deadline_ms = now_ms + u64::from(lifetime);
        Ok(connection.server)
    }
}

/// Counted state of the forwarder.
struct Counted {
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    counters: Arc<WorkerCounters>,
}

/// Settings of the services and their servers.
struct Setup<'a> {
    scheduler: Scheduler,
    weights: &'a [u16],
    upper: &'a [u32],
    persistence: Option<Persistence>,
    reuse: u8,
    sloppy: bool,
    /// Of the services of TCP, UDP and SCTP.
    ports: [u16; 3],
}

/// The same servers for a service of each protocol: one pool, one set of loads.
fn forwarder(setup: Setup<'_>) -> (Forwarder, Counted) {
    let Setup { scheduler, weights, upper, persistence, reuse, sloppy, ports } = setup;
    let (loads, counters) =
        (Arc::new(Loads::new(weights.len())), Arc::new(WorkerCounters::new(weights.len(), 1)));
    let templates = Arc::new(Templates::new(1000, weights.len(), SEED));
    let shared = (Arc::clone(&loads), Arc::clone(&templates));
    let mut forwarder = Forwarder::new(4096, SEED, shared.0, shared.1, Arc::clone(&counters));
    forwarder.set_wide_table(FlowTable::new(4096, SEED));
    let services = Protocol::ALL.into_iter().zip(ports).zip(0..);
    let services = services.map(|((protocol, port), id)| {
        (ServiceAddress { protocol, address: (VIP, port).into() }, MatchId(id))
    });
    let services: Vec<_> = services.collect();
    let candidates = weights.iter().zip(upper).zip(0..).map(|((weight, upper), id)| Candidate {
        thresholds: Thresholds { upper: *upper, lower: 0 },
        ..Candidate::new(ServerId(id), *weight)
    });
    let flags = SchedulerFlags { fallback: false, port: true };
    let rule = Params { scheduler, flags, persistence, ..Params::default() };
    let pool = Pool::new([]).successor(rule, candidates, &loads);
    let server = |id: usize| Some(NextHop { interface: InterfaceIndex(0), mac: Some(mac(id)) });
    let own_macs = vec![MacAddr(DIRECTOR)];
    forwarder.adopt(Arc::new(Snapshot {
        routes: (0..weights.len()).map(|id| Route::new(&own_macs, server(id))).collect(),
        own_macs,
        services: ServiceMap::new(&services),
        matches: [0, 1, 2].map(ServiceId).into(),
        pools: vec![pool.clone(), pool.clone(), pool],
        policy: Policy {
            conn_reuse_mode: ConnReuseMode(reuse),
            sloppy_tcp: sloppy,
            sloppy_sctp: sloppy,
            ..Policy::default()
        },
        ..Snapshot::default()
    }));
    (forwarder, Counted { loads, templates, counters })
}

fn mac(server: usize) -> MacAddr {
    MacAddr([2, 1, 0, 0, (server >> 8) as u8, server as u8])
}

#[derive(Clone, Debug)]
enum Event {
    /// A frame to one of two ports, if the service has them.
    Frame {
        protocol: Protocol,
        client: u8,
        /// Control bits of TCP; for SCTP the type of the first chunk.
        flags: u8,
        other: bool,
    },
    Wait {
        ms: u32,
    },
    Sweep,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let flags = prop_oneof![Just(2u8), Just(16), Just(17), Just(4), Just(18), Just(1), Just(10), 0u8..32];
    let protocol = prop_oneof![4 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp), 4 => Just(Protocol::Sctp)];
    let frame = (protocol, 0u8..40, flags, any::<bool>())
        .prop_map(|(protocol, client, flags, other)| Event::Frame { protocol, client, flags, other });
    let wait = prop_oneof![0u32..50, 0u32..200_000].prop_map(|ms| Event::Wait { ms });
    prop::collection::vec(prop_oneof![20 => frame, 2 => wait, 1 => Just(Event::Sweep)], 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_matches_ipvs(
        scheduler in prop::sample::select(&[Scheduler::Wlc, Scheduler::Lc, Scheduler::Sed, Scheduler::Rr, Scheduler::Sh][..]),
        servers in prop::collection::vec(
            (prop_oneof![Just(0u16), 1u16..5, any::<u16>()], prop_oneof![2 => Just(0u32), 1 => 1u32..7]), 1..6
        ),
        persistence in prop::option::of((1..400u32, 24..=32u8)),
        wildcard in any::<bool>(),
        reuse in 0u8..4,
        sloppy in any::<bool>(),
        events in events(),
        start in any::<u32>(),
    ) {
        let (weights, upper): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
        let persistence =
            persistence.map(|(timeout, prefix)| Persistence { timeout: Span::from_secs(timeout), prefix });
        let wildcard = wildcard && persistence.is_some();
        let ports = if wildcard { [0; 3] } else { [80, 53, 3868] };
        let (mut forwarder, counted) = forwarder(Setup { scheduler, weights: &weights, upper: &upper, persistence, reuse, sloppy, ports });
        let Counted { loads, templates, counters } = counted;
        let (opened, overloaded) = (vec![0; weights.len()], vec![false; weights.len()]);
        let mut naive =
            Naive { scheduler, weights, upper, overloaded, persistence, reuse, sloppy, opened, start, ..Naive::default() };
        let (mut now_ms, mut verdicts) = (0u64, Vec::new());
        for event in events {
            let now = Tick(start).after(Span::from_millis(now_ms as u32));
            match event {
                Event::Frame { protocol, client, flags, other } => {
                    let from = (Ipv4Addr::new(198, 51, 100, client), 1000 + u16::from(client));
                    let other = u16::from(wildcard && other);
                    let to = |port| (VIP, port + other);
                    let (frame, port, flags) = match protocol {
                        Protocol::Tcp => (frames::tcp(from, to(80), flags, b""), to(80).1, flags),
                        Protocol::Udp => (frames::udp(from, to(53), b""), to(53).1, 0),
                        Protocol::Sctp => {
                            let packet = frames::sctp_packet((from.1, to(3868).1), &[(flags, 4)]);
                            let event = SctpEvent::of(&packet).expect("it has a chunk");
                            (frames::ipv4(from.0, VIP, 132, &packet, |_| ()), to(3868).1, event as u8)
                        }
                    };
                    // The model expires connections on time; the director must not count expired ones
                    // either.
                    forwarder.sweep_all(now);
                    let mut batch = [frame];
                    forwarder.decide(&mut batch[..], now, &mut verdicts);
                    let expected = naive.frame((protocol, from, port), flags, now_ms);
                    match expected {
                        Ok(server) => {
                            prop_assert_eq!(verdicts[0], Verdict::Forward(InterfaceIndex(0)));
                            prop_assert_eq!(&batch[0][..6], &mac(server).0[..]);
                        }
                        Err(reason) => prop_assert_eq!(verdicts[0], Verdict::Drop(reason)),
                    }
                }
                Event::Wait { ms } => now_ms += u64::from(ms),
                Event::Sweep => {
                    forwarder.sweep_all(now);
                    naive.expire(now_ms);
                    let tick = u64::from(start) + now_ms;
                    let stands = |of: &&Template| of.connections > 0 || tick < of.deadline_ms;
                    prop_assert_eq!(templates.list(now).count(), naive.templates.values().filter(stands).count());
                    for server in 0..naive.weights.len() {
                        let load = loads.get(ServerId(server as u16));
                        prop_assert_eq!((u64::from(load.active), u64::from(load.inactive)), naive.load(server));
                        prop_assert_eq!(loads.is_overloaded(ServerId(server as u16)), naive.overloaded[server]);
                    }
                }
            }
        }
        for (server, opened) in naive.opened.iter().enumerate() {
            prop_assert_eq!(counters.server(ServerId(server as u16)).connections.get(), *opened);
        }
    }
}
