//! The control thread's records of virtual services and real servers.

use crate::control::api::Stats;
use crate::control::state::rates::Estimator;
use crate::control::state::slow_start::{ServerSlowStart, ServiceSlowStart};
use crate::flow::ConnState;
use crate::forward::RealServerAddresses;
use crate::health::passive::{PassiveEffect, PassiveView};
use crate::model::{
    HealthMode, Match, MatchId, Policy, RealServer, Scheduler, ServerId, ServiceId, Timeouts, VirtualService,
    Weight,
};
use crate::schedule::{Candidate, GENERATIONS, Loads, Params, Pool, Thresholds};
use crate::wire::{MacAddr, Protocol};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Part of its weight that a server on probation has, of [`Candidate::WHOLE`]: as at the begin of a slow start.
const PROBATION_PART: u16 = Candidate::WHOLE / 20;

/// A virtual service in the registry.
#[derive(Debug)]
pub struct ServiceEntry {
    /// Id in the workers' tables.
    pub id: ServiceId,
    /// Configuration; its servers are in `servers`.
    pub config: VirtualService,
    /// Its matches, with that of FTP's data connections, and the ids of their destinations in the workers' tables.
    pub matches: Vec<(Match, MatchId)>,
    /// Its VIPs with their states, sorted. A service by address has one.
    pub vips: Vec<(IpAddr, VipState)>,
    /// Real servers in the order of addition.
    pub servers: Vec<ServerEntry>,
    /// Totals of servers that have been removed.
    pub past: Stats,
    /// Rates of its totals.
    pub estimator: Estimator,
    /// Whether its quorum stands; `None` before that is known, and without a quorum.
    pub quorum_up: Option<bool>,
    /// The operator's hold on the health of servers that are added.
    pub health_mode: HealthMode,
    /// Slow starts of its servers.
    pub(in crate::control) slow_start: ServiceSlowStart,
    /// Generation of its templates, which changes with the client prefix.
    pub generation: u8,
    /// Pool of the last snapshot.
    pub(in crate::control) pool: Pool,
}

/// State of a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipState {
    /// Probes for it are being sent (RFC 5227 §2.1.1, RFC 4862 §5.4).
    Probing,
    /// This director answers for it and announces it, or routers have routes for it.
    Claimed,
    /// The role of this director is backup or fault: it does not answer, and forwards the frames that arrive all the same.
    Released,
    /// The station with this MAC address answers for it. It is claimed when that station no longer answers.
    Standby(MacAddr),
}

/// A real server of a service in the registry.
#[derive(Debug)]
pub struct ServerEntry {
    /// Id in counters and loads.
    pub id: ServerId,
    /// Configuration.
    pub config: RealServer,
    /// Reachability by ARP or neighbor discovery.
    pub reachability: Reachability,
    /// True while it answers for the service's VIP and therefore receives no new connections.
    pub excluded: bool,
    /// True while it counts with weight 0: its health checks fail, or the operator has forced that.
    pub failed: bool,
    /// Weight that its health checks give it in place of the configured one.
    pub dynamic_weight: Option<Weight>,
    /// True while it counts with weight 0 by the quorum: the sorry server while it stands, the others while that one is
    /// in use.
    pub idle: bool,
    /// The operator's hold on its health.
    pub health_mode: HealthMode,
    /// Handshakes of clients with it: it counts with weight 0 while it is ejected, with a part of it on probation.
    pub passive: PassiveView,
    /// Drain, if one is in progress.
    pub drain: Option<Drain>,
    /// Totals of its id when it was added or zeroed.
    pub baseline: Stats,
    /// Rates of its totals.
    pub estimator: Estimator,
    /// Slow start.
    pub(in crate::control) slow_start: ServerSlowStart,
}

impl ServerEntry {
    /// Returns true if it takes new connections as far as its reachability is concerned.
    #[must_use]
    pub fn is_available(&self) -> bool {
        matches!(self.reachability, Reachability::Reachable(_)) && !self.excluded
    }

    /// Returns true for the sorry server of the service.
    #[must_use]
    pub fn is_sorry(&self) -> bool {
        self.config.role.is_sorry()
    }

    /// Returns true if it counts with weight 0: its checks fail, or its handshakes, or the quorum decides for another.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.idle || self.is_unwell()
    }

    /// Returns true if it counts with weight 0 for its health: its checks fail, or its handshakes.
    fn is_unwell(&self) -> bool {
        self.failed || self.passive.is_ejected()
    }

    /// Returns true if it can take new connections, whatever its weight.
    pub(super) fn is_fit(&self) -> bool {
        self.is_available() && !self.is_unwell()
    }

    /// Returns its weight: the configured one, or what its checks make of it. That of a drain is 0.
    #[must_use]
    pub fn weight(&self) -> u16 {
        let configured = self.config.weight;
        self.dynamic_weight.filter(|_| configured.0 > 0).unwrap_or(configured).0
    }

    /// Returns the weight that counts: 0 while it is out. Configured weight and drain stay as they are.
    #[must_use]
    pub fn effective_weight(&self) -> u16 {
        if self.is_out() { 0 } else { self.weight() }
    }

    /// Returns the state for the API.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.reachability {
            _ if self.drain.is_some() => "draining",
            Reachability::Reachable(_) if self.failed => "down",
            Reachability::Reachable(_) if self.passive.is_ejected() => "ejected",
            Reachability::Reachable(_) if self.excluded => "claims_vip",
            Reachability::Reachable(_) if self.idle && self.is_sorry() => "standby",
            Reachability::Reachable(_) if self.idle => "no_quorum",
            link => link.name(),
        }
    }

    /// Returns the part of its weight that counts, of [`Candidate::WHOLE`], in a slow start or on probation.
    fn part(&self) -> Option<u16> {
        match (self.passive.effect, self.slow_start.part()) {
            (PassiveEffect::Probation, part) => {
                Some(part.map_or(PROBATION_PART, |part| part.min(PROBATION_PART)))
            }
            (_, part) => part,
        }
    }

    /// Returns the share of its weight in percent during its slow start.
    #[must_use]
    pub fn slow_start_percent(&self) -> Option<u8> {
        self.slow_start.percent()
    }
}

/// A drain: no new connections, and removal after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Time of removal with connections left.
    pub until: Option<Instant>,
}

/// The reachability of a real server by ARP or neighbor discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// It has not answered yet.
    Resolving,
    /// It answers, or has a fixed MAC address.
    Reachable(MacAddr),
    /// It no longer answers: established connections use the last known address, new ones other servers.
    Unreachable(Option<MacAddr>),
}

impl Reachability {
    /// Returns the destination MAC address of frames, if one was ever known.
    #[must_use]
    pub fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Resolving => None,
            Self::Reachable(mac) => Some(mac),
            Self::Unreachable(mac) => mac,
        }
    }

    /// Returns the state for the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::Reachable(_) => "reachable",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

impl ServiceEntry {
    /// Returns the service with its servers as a rule.
    #[must_use]
    pub fn rule(&self) -> VirtualService {
        let servers = self.servers.iter().map(|server| server.config.clone()).collect();
        VirtualService { servers, ..self.config.clone() }
    }

    /// Returns true if a server that is added is down until the health checks report otherwise.
    pub(super) fn starts_down(&self, server: &RealServer) -> bool {
        let alpha = self.config.effects.alpha && self.config.checks_of(server).next().is_some();
        alpha || self.health_mode == HealthMode::ForcedDown
    }

    /// Returns a server's address with the service's port, for listings; with port 0 in a group, as IPVS does.
    #[must_use]
    pub fn server_address(&self, server: &ServerEntry) -> SocketAddr {
        SocketAddr::new(server.config.address, self.config.identity.port())
    }

    /// Returns the state of `vip`; `None` if it is no VIP of the service.
    #[must_use]
    pub fn vip_state(&self, vip: IpAddr) -> Option<VipState> {
        self.vips.iter().find(|(of, _)| *of == vip).map(|(_, state)| *state)
    }

    /// Returns the first VIP that is not claimed, or else the first one, with its state.
    #[must_use]
    pub fn least_vip(&self) -> Option<(IpAddr, VipState)> {
        let unclaimed = self.vips.iter().find(|(_, state)| *state != VipState::Claimed);
        unclaimed.or(self.vips.first()).copied()
    }

    /// Returns the pool of the next snapshot, the present one if nothing has changed.
    ///
    /// Its candidates are the servers that take new connections, the last added first: IPVS adds each new server at the
    /// head of its list (`list_add_rcu` in `__ip_vs_update_dest`, ip_vs_ctl.c), and wlc prefers the earlier of equals. Those
    /// of mh are in the order of their addresses, the highest first, whatever the order of addition: directors with the same
    /// servers have the same table, which is IPVS's for servers added in ascending order.
    pub(in crate::control) fn next_pool(
        &mut self,
        loads: &Loads,
        now: Instant,
        timeouts: &Timeouts,
        policy: &Policy,
    ) -> Pool {
        let expires = policy.expire_quiescent_template;
        self.advance_slow_start(loads, now, remembered(&self.config, timeouts));
        let available = self.servers.iter().rev().filter(|server| server.is_available());
        let candidates = available.map(|server| Candidate {
            thresholds: Thresholds {
                upper: server.config.upper_threshold,
                lower: server.config.lower_threshold,
            },
            address: self.server_address(server),
            accepts_persistent: server.drain.is_none()
                && !server.is_out()
                && !(expires && server.weight() == 0),
            part: server.part(),
            ..Candidate::new(server.id, server.effective_weight())
        });
        let mut candidates: Vec<_> = candidates.collect();
        if self.config.scheduler == Scheduler::Mh {
            candidates.sort_unstable_by_key(|candidate| Reverse(candidate.address));
        }
        let VirtualService { scheduler, scheduler_flags: flags, one_packet, persistence, .. } = self.config;
        let (vips, generation) = (&self.vips, self.generation);
        let vip = vips.first().map_or(Ipv4Addr::UNSPECIFIED.into(), |(vip, _)| *vip);
        let params = Params { scheduler, flags, vip, one_packet, persistence, generation };
        self.pool = self.pool.successor(params, candidates, loads);
        self.pool.clone()
    }
}

/// Positions of real servers by RIP: of the service in its list, and of the server in that of the service.
pub(super) type ServerPlaces = HashMap<IpAddr, Vec<(usize, usize)>>;

/// Returns the positions of all servers.
pub(super) fn places(services: &[ServiceEntry]) -> ServerPlaces {
    let mut places = ServerPlaces::new();
    for (at, service) in services.iter().enumerate() {
        for (server, entry) in service.servers.iter().enumerate() {
            places.entry(entry.config.address).or_default().push((at, server));
        }
    }
    places
}

/// Returns the time that a closed connection is counted.
fn remembered(service: &VirtualService, timeouts: &Timeouts) -> Duration {
    let states = service.matches().flat_map(|of| match of.protocol {
        Protocol::Tcp => &[ConnState::FinWait, ConnState::TimeWait][..],
        Protocol::Udp => &[ConnState::Udp],
        Protocol::Sctp => &[ConnState::SctpShutdownReceived, ConnState::SctpClosed],
    });
    let longest = states.map(|state| state.timeout(timeouts)).max().unwrap_or_default();
    Duration::from_millis(longest.millis().into())
}

/// Returns the addresses of all real servers.
pub(super) fn real_servers(services: &[ServiceEntry]) -> RealServerAddresses {
    let of = |service: &ServiceEntry| {
        let id = service.id;
        service.servers.iter().map(move |server| (id, server.config.address)).collect::<Vec<_>>()
    };
    RealServerAddresses::new(services.iter().flat_map(of))
}

/// Returns the next generation: templates of the previous one are no longer found.
pub(super) fn next_generation(generation: u8) -> u8 {
    (generation + 1) % GENERATIONS
}
