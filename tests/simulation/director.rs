//! Simulated director: workers, registry of services, and the invariants after each batch.

use crate::ipvs::{Known, Segment};
use crate::random::Random;
use crate::support::frames::{self, ACK, DIRECTOR, SYN, one_hop_on};
use directrix::control::api::Stats;
use directrix::control::state::registry::{Reachability, Registry};
use directrix::flow::{ConnState, Flow, FlowEntry, V4Key};
use directrix::forward::{BATCH, Forwarder, Route, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{
    ConnReuseMode, MatchId, Policy, RealServer, Rules, ServerId, ServiceAddress, Timeouts, VirtualService,
    Weight,
};
use directrix::schedule::{Loads, ServerLoad, Templates};
use directrix::stats::{DropReason, Handshakes, WorkerCounters};
use directrix::time::{Span, Tick};
use directrix::wire::{MacAddr, Protocol};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
pub(crate) const WEB: MatchId = MatchId(0);
pub(crate) const DNS: MatchId = MatchId(1);
const WEB_SERVERS: u8 = 4;
const SERVERS: u8 = WEB_SERVERS + 2;
/// Longest time that an expired connection may stay in the table.
const SWEEP_MS: u64 = 2000;

pub(crate) struct Director {
    workers: Vec<Worker>,
    registry: Registry,
    snapshot: Arc<Snapshot>,
    loads: Arc<Loads>,
    /// Removed servers that still have connections.
    removed: BTreeSet<u16>,
    now_ms: u64,
    start: Tick,
}

struct Worker {
    forwarder: Forwarder,
    counters: Arc<WorkerCounters>,
    capacity: usize,
    received: u64,
    forwarded: u64,
    /// Expected content of the table.
    known: HashMap<V4Key, Known>,
    /// Evictions at the last comparison of the table.
    evicted: u64,
}

/// Outcome of a frame: its new destination address, or its drop reason.
type Outcome = Result<MacAddr, DropReason>;

impl Director {
    pub(crate) fn new(random: &mut Random) -> Self {
        let own_macs = vec![MacAddr(DIRECTOR)];
        let timeouts = match random.below(3) {
            0 => Timeouts { tcp: Span::from_secs(30), tcp_fin: Span::from_secs(5), udp: Span::from_secs(9) },
            _ => Timeouts::default(),
        };
        let mut registry = Registry::new(own_macs);
        let policy = Policy {
            conn_reuse_mode: ConnReuseMode(random.below(4) as u8),
            expire_nodest_conn: random.one_in(3),
            ..Policy::default()
        };
        let rules = Rules { services: services(random), timeouts, policy, ..Rules::default() };
        registry.apply(&rules, &|_| Stats::default());
        (0..SERVERS).for_each(|id| registry.set_reachable(rip(id), mac(id, 0)));
        let loads = Arc::new(Loads::new(SERVERS.into()));
        let capacity = 40 + random.below(300) as usize;
        let workers = (0..1 + random.below(3)).map(|n| Worker::new(capacity, n, &loads)).collect();
        let (removed, start) = (BTreeSet::new(), Tick(u32::MAX - random.below(200_000) as u32));
        let snapshot = Arc::default();
        let mut director = Self { workers, registry, snapshot, loads, removed, now_ms: 0, start };
        director.publish();
        director
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Advances time, then sweeps.
    pub(crate) fn pass(&mut self, gap_ms: u64) {
        self.now_ms += gap_ms;
        let now = self.tick(self.now_ms);
        for number in 0..self.workers.len() {
            while self.workers[number].forwarder.sweep(now) {}
            self.check(number);
            let overdue = |known: &Known| self.now_ms > known.deadline_ms + SWEEP_MS + gap_ms;
            let late = self.workers[number].known.values().find(|known| overdue(known));
            assert_eq!(late, None, "still there at {}", self.now_ms);
        }
    }

    /// Changes the state of a real server, or its weight.
    pub(crate) fn trouble(&mut self, random: &mut Random) {
        let id = random.below(SERVERS.into()) as u8;
        match random.below(6) {
            0 => self.registry.set_unreachable(rip(id)),
            1 => self.registry.set_reachable(rip(id), mac(id, random.below(2) as u8)),
            2 => self.weigh(id, 0),
            3 => self.weigh(id, 1 + random.below(4) as u16),
            4 => {
                self.removed.insert(id.into());
            }
            _ => self.heal(random),
        }
        self.publish();
    }

    /// Has every worker decide about its part of `segments`.
    pub(crate) fn receive(&mut self, segments: Vec<Segment>) {
        let mut shares = vec![Vec::new(); self.workers.len()];
        for segment in segments {
            let hash = segment.key.source().to_bits() ^ u32::from(segment.key.port());
            shares[hash as usize % self.workers.len()].push(segment);
        }
        for (number, share) in shares.iter().enumerate() {
            share.chunks(BATCH).for_each(|batch| self.decide(number, batch));
        }
    }

    /// Ends the traffic: every connection must expire.
    pub(crate) fn settle(&mut self) {
        (0..20).for_each(|_| self.pass(50_000));
        assert!((0..SERVERS).all(|id| self.loads.get(server(id)) == ServerLoad::default()));
        assert!(self.workers.iter().all(|worker| worker.known.is_empty()));
    }

    /// While connections only open, one by one, no server is ahead of another by more than one connection
    /// for its weight.
    pub(crate) fn shares_are_right(&mut self, random: &mut Random) {
        (0..SERVERS).for_each(|id| self.weigh(id, 1 + random.below(5) as u16));
        self.removed.clear();
        (0..SERVERS).for_each(|id| self.registry.set_reachable(rip(id), mac(id, 0)));
        self.publish();
        let count = (self.workers.iter().map(|worker| worker.capacity).sum::<usize>() / 4) as u16;
        for flags in [SYN, ACK] {
            self.receive((0..count).map(|port| newcomer(port, flags)).collect());
        }
        let web = self.registry.services[0].servers.iter();
        let shares: Vec<_> =
            web.map(|server| (self.loads.get(server.id).active, u32::from(server.config.weight.0))).collect();
        assert_eq!(shares.iter().map(|(opened, _)| opened).sum::<u32>(), u32::from(count));
        for (opened, weight) in &shares {
            // opened / weight ≤ other / its_weight + 1 / weight, in integers.
            let bounded =
                |(other, its_weight): &(u32, u32)| opened * its_weight <= other * weight + its_weight;
            assert!(shares.iter().all(bounded), "connections and weights: {shares:?}");
        }
    }

    /// Sum of the counters of all workers.
    pub(crate) fn counted(&self) -> HashMap<&'static str, u64> {
        let mut sum = HashMap::new();
        for Worker { counters, forwarded, .. } in &self.workers {
            let opened: u64 = (0..SERVERS).map(|id| counters.server(server(id)).connections.get()).sum();
            let drops = DropReason::ALL.iter().map(|reason| (reason.name(), counters.drops(*reason).get()));
            let own = [
                ("forwarded", *forwarded),
                ("connections", opened),
                ("expired", counters.expired.get()),
                ("evicted", counters.evicted.get()),
            ];
            own.into_iter().chain(drops).for_each(|(name, count)| *sum.entry(name).or_default() += count);
        }
        sum
    }

    fn weigh(&mut self, id: u8, weight: u16) {
        let servers = self.registry.services.iter_mut().flat_map(|service| &mut service.servers);
        servers.filter(|entry| entry.id == server(id)).for_each(|entry| entry.config.weight = Weight(weight));
    }

    /// Restores all servers, or removes all web servers at once.
    fn heal(&mut self, random: &mut Random) {
        self.removed.clear();
        let removed = random.one_in(4);
        for id in 0..SERVERS {
            match removed && id < WEB_SERVERS {
                true => self.registry.set_unreachable(rip(id)),
                false => self.registry.set_reachable(rip(id), mac(id, 0)),
            }
        }
    }

    fn publish(&mut self) {
        for id in &self.removed {
            self.registry.set_unreachable(rip(*id as u8));
        }
        let mut snapshot = self.registry.snapshot(&self.loads, Instant::now());
        self.removed.iter().for_each(|id| snapshot.routes[usize::from(*id)] = Route::Removed);
        self.snapshot = Arc::new(snapshot);
        for worker in &mut self.workers {
            worker.forwarder.adopt(Arc::clone(&self.snapshot));
        }
    }

    fn decide(&mut self, number: usize, batch: &[Segment]) {
        let now = self.tick(self.now_ms);
        let (mut frames, mut verdicts) =
            (batch.iter().map(|s| s.frame.clone()).collect::<Vec<_>>(), Vec::new());
        self.workers[number].forwarder.decide(&mut frames[..], now, &mut verdicts);
        for ((segment, after), verdict) in batch.iter().zip(&frames).zip(verdicts) {
            let forwarded = matches!(verdict, Verdict::Forward(_));
            let expected = if forwarded { one_hop_on(&segment.frame) } else { segment.frame.clone() };
            assert_eq!(after[12..], expected[12..], "one hop, and no more; none if it is dropped");
            let outcome = match verdict {
                Verdict::HandOver | Verdict::Hold => panic!("there is one worker, and no early fragment"),
                Verdict::Forward(_) => Ok(MacAddr(after[..6].try_into().expect("six bytes"))),
                Verdict::Drop(reason) => Err(reason),
            };
            let worker = &mut self.workers[number];
            worker.received += 1;
            worker.forwarded += u64::from(outcome.is_ok());
            self.follow(number, segment, outcome);
        }
        self.check(number);
    }

    /// Compares the outcome of a segment with the expected one, and records it.
    fn follow(&mut self, number: usize, segment: &Segment, outcome: Outcome) {
        let (now_ms, timeouts) = (self.now_ms, self.registry.timeouts);
        let known = self.workers[number].known.get(&segment.key).copied();
        let continued = known.filter(|known| self.goes_on(known, segment));
        let ended = known.is_some_and(|known| self.expires(&known));
        let certain = known.is_some_and(|known| self.workers[number].must_stay(&known, now_ms));
        let after = match continued {
            // Its server is removed: frames do not renew it, so that it expires.
            Some(known)
                if outcome == Err(DropReason::ServerRemoved) && self.outcome_at(known.server) == outcome =>
            {
                Some(known)
            }
            Some(known) if self.outcome_at(known.server) == outcome => {
                Some(known.after(segment, now_ms, &timeouts))
            }
            // Its server is removed: the frame has ended it and opens none.
            None if ended && !segment.opens() && outcome == Err(DropReason::ServerRemoved) => None,
            _ if certain && (continued.is_some() || ended && !segment.opens()) => {
                panic!("{segment:?} of {known:?} became {outcome:?} at {now_ms}")
            }
            // An unconfirmed connection may have been evicted just before.
            _ => {
                self.opened(number, segment, outcome).map(|id| Known::opened(id, segment, now_ms, &timeouts))
            }
        };
        let known = &mut self.workers[number].known;
        match after {
            Some(after) => drop(known.insert(segment.key, after)),
            // A connection refused for a full table, or for lack of servers, was ended first.
            None if ended || segment.opens() => drop(known.remove(&segment.key)),
            None => {}
        }
    }

    fn goes_on(&self, known: &Known, segment: &Segment) -> bool {
        let Policy { conn_reuse_mode, expire_nodest_conn, .. } = self.registry.policy;
        let goes_on = known.goes_on_with(segment, self.now_ms, conn_reuse_mode);
        let mut servers = self.registry.services.iter().flat_map(|service| &service.servers);
        let quiesced = servers.any(|of| of.id == known.server && of.config.weight.0 == 0);
        goes_on
            && !self.expires(known)
            && !(expire_nodest_conn && quiesced && segment.flags.is_some() && segment.opens())
    }

    /// True if any frame ends this live connection because its server is removed.
    fn expires(&self, known: &Known) -> bool {
        let removed = self.outcome_at(known.server) == Err(DropReason::ServerRemoved);
        self.registry.policy.expire_nodest_conn && removed && self.now_ms < known.deadline_ms
    }

    /// Expected outcome of a segment for this server.
    fn outcome_at(&self, id: ServerId) -> Outcome {
        match self.snapshot.route(id) {
            Route::Removed => Err(DropReason::ServerRemoved),
            Route::Cut => Err(DropReason::ServerDown),
            Route::Unresolved => Err(DropReason::Unresolved),
            Route::Via(_, addresses) | Route::Quiesced(_, addresses) => Ok(addresses.destination()),
        }
    }

    /// Server of a connection that a segment has opened; checks that this was right.
    fn opened(&self, number: usize, segment: &Segment, outcome: Outcome) -> Option<ServerId> {
        let service = &self.registry.services[usize::from(segment.key.match_id().0)];
        let eligible: Vec<_> = service
            .servers
            .iter()
            .filter(|server| {
                matches!(server.reachability, Reachability::Reachable(_)) && server.config.weight.0 > 0
            })
            .map(|server| server.id)
            .collect();
        match outcome {
            Ok(_) => {
                assert!(segment.opens(), "{segment:?} opened a connection");
                let chosen = eligible.iter().find(|id| self.outcome_at(**id) == outcome);
                return Some(*chosen.unwrap_or_else(|| panic!("{outcome:?} is none of {eligible:?}")));
            }
            Err(DropReason::NoConnection) => assert!(!segment.opens(), "{segment:?}"),
            Err(DropReason::NoServer) => assert!(segment.opens() && eligible.is_empty(), "{eligible:?}"),
            Err(DropReason::TableFull) => {
                assert!(segment.opens(), "{segment:?}");
                assert!(self.workers[number].has_its_share(segment.key.match_id()), "{segment:?}");
            }
            Err(reason) => panic!("{segment:?} was dropped: {reason:?}"),
        }
        None
    }

    /// Compares the worker's table, loads and counters with the expected ones.
    fn check(&mut self, number: usize) {
        let (now_ms, start) = (self.now_ms, self.start);
        let tick = |ms: u64| Tick(start.0.wrapping_add(ms as u32));
        self.workers[number].check(now_ms, tick);
        for id in (0..SERVERS).map(server) {
            let all = self.workers.iter().flat_map(|worker| worker.known.values());
            let (active, inactive): (Vec<&Known>, Vec<&Known>) =
                all.filter(|known| known.server == id).partition(|known| known.is_active());
            let load = ServerLoad { active: active.len() as u32, inactive: inactive.len() as u32 };
            assert_eq!(self.loads.get(id), load, "{id:?}");
        }
    }

    /// Tick `ms` after the start, which is shortly before the wrap.
    fn tick(&self, ms: u64) -> Tick {
        Tick(self.start.0.wrapping_add(ms as u32))
    }
}

impl Worker {
    fn new(capacity: usize, number: u64, loads: &Arc<Loads>) -> Self {
        let counters = Arc::new(WorkerCounters::new(SERVERS.into(), 1));
        let seed = Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, number]);
        let templates = Arc::new(Templates::new(1, SERVERS.into(), seed));
        let forwarder = Forwarder::new(capacity, seed, Arc::clone(loads), templates, Arc::clone(&counters));
        Self { forwarder, counters, capacity, received: 0, forwarded: 0, known: HashMap::new(), evicted: 0 }
    }

    /// True if a service holds at least eight times as many entries as there are vacant ones. Some known
    /// connections may have expired already.
    fn has_its_share(&self, service: MatchId) -> bool {
        let held = self.known.keys().filter(|key| key.match_id() == service).count();
        held > 8 * self.capacity.saturating_sub(self.known.len())
    }

    /// True if the connection must be in the table. One that is confirmed only since the last comparison may
    /// have been evicted before the frame that was to confirm it, which then opened it again, unconfirmed.
    fn must_stay(&self, known: &Known, now_ms: u64) -> bool {
        known.must_stay(now_ms) && (known.seen_confirmed || !self.has_evicted())
    }

    /// True if the worker has evicted entries since the last comparison.
    fn has_evicted(&self) -> bool {
        self.counters.evicted.get() > self.evicted
    }

    /// Removes known connections that are no longer in the table, if they may be missing.
    fn check(&mut self, now_ms: u64, tick: impl Fn(u64) -> Tick) {
        let entries = (0..).map_while(|bucket| self.forwarder.connections(bucket)).flatten();
        let table: HashMap<V4Key, FlowEntry<Flow>> = entries.map(|entry| (key(&entry.key), entry)).collect();
        let lost = self.known.iter().filter(|(key, _)| !table.contains_key(*key));
        for (_, known) in lost {
            assert!(!self.must_stay(known, now_ms), "{known:?} is missing at {now_ms}");
        }
        self.known.retain(|key, _| table.contains_key(key));
        let evictions = self.has_evicted();
        self.evicted = self.counters.evicted.get();
        for entry in table.values() {
            let known = self.known.get_mut(&key(&entry.key));
            let known = known.unwrap_or_else(|| panic!("no packet opened {entry:?}"));
            if evictions && (entry.state, known.state) == (ConnState::UdpNew, ConnState::Udp) {
                known.state = ConnState::UdpNew; // evicted, and opened again by what would have confirmed it
            }
            let state = if entry.state.is_syn_recv() { ConnState::SynRecv } else { entry.state };
            assert_eq!((entry.server, state), (known.server, known.state));
            assert_eq!(entry.deadline, tick(known.deadline_ms), "{entry:?} at {now_ms}");
            known.seen_confirmed = known.is_confirmed();
        }
        assert!(table.len() <= self.capacity);
        self.check_sums(table.len() as u64);
    }

    fn check_sums(&self, entries: u64) {
        let counters = &self.counters;
        let sum = |of: fn(&WorkerCounters, u8) -> u64| (0..SERVERS).map(|id| of(counters, id)).sum::<u64>();
        let opened = sum(|counters, id| counters.server(server(id)).connections.get());
        let packets = sum(|counters, id| counters.server(server(id)).packets.get());
        let drops: u64 = DropReason::ALL.iter().map(|reason| counters.drops(*reason).get()).sum();
        assert_eq!(counters.entries.get(), entries);
        assert_eq!(opened, entries + counters.expired.get() + counters.evicted.get());
        assert_eq!((packets, packets + drops), (self.forwarded, self.received));
        for id in 0..SERVERS {
            let Handshakes { opened, completed, repeated } = counters.handshakes(server(id)).get();
            assert!(completed <= opened && repeated <= opened, "{completed} and {repeated} of {opened}");
        }
    }
}

fn services(random: &mut Random) -> Vec<VirtualService> {
    let mut service = |protocol, port: u16, ids: std::ops::Range<u8>| {
        let mut server = |id| RealServer::new(rip(id), Weight(1 + random.below(4) as u16));
        let servers = ids.map(&mut server).collect();
        let address = ServiceAddress { protocol, address: (VIP, port).into() };
        VirtualService::new(address, servers)
    };
    vec![service(Protocol::Tcp, 80, 0..WEB_SERVERS), service(Protocol::Udp, 53, WEB_SERVERS..SERVERS)]
}

fn server(id: u8) -> ServerId {
    ServerId(id.into())
}

fn rip(id: u8) -> IpAddr {
    IpAddr::from([192, 168, 195, 170 + id])
}

/// First or second network card of a server.
fn mac(id: u8, card: u8) -> MacAddr {
    MacAddr([2, 1, 0, 0, card, id])
}

/// A new client.
fn newcomer(port: u16, flags: u8) -> Segment {
    let address = Ipv4Addr::new(203, 0, 113, (port % 251) as u8);
    let port = 1024 + port; // nothing from port 20 is scheduled
    let frame = frames::tcp((address, port), (VIP, 80), flags, &[]);
    Segment { key: V4Key::new(address, port, WEB), flags: Some(flags), frame }
}

fn key(flow: &Flow) -> V4Key {
    let IpAddr::V4(client) = flow.client else { panic!("every client has an IPv4 address") };
    V4Key::new(client, flow.client_port, flow.match_id)
}
