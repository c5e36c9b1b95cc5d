//! One virtual service, one real server, as control sees them.

use crate::control::api::Stats;
use crate::control::state::rates::Estimator;
use crate::control::state::slow_start::{ServerSlowStart, ServiceSlowStart};
use crate::flow::ConnState;
use crate::model::{Policy, RealServer, ServerId, ServiceId, Timeouts, VirtualService};
use crate::schedule::{Candidate, Loads, Params, Pool, Thresholds};
use crate::wire::{MacAddr, Protocol};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A virtual service as control sees it.
#[derive(Debug)]
pub struct ServiceEntry {
    /// Its place in the tables.
    pub id: ServiceId,
    /// As configured; its servers are in `servers`.
    pub config: VirtualService,
    /// Whether the VIP is ours.
    pub vip: VipState,
    /// In the order in which they were added.
    pub servers: Vec<ServerEntry>,
    /// What servers have counted that are no longer among them.
    pub past: Stats,
    /// Averages of all it counts.
    pub estimator: Estimator,
    /// When its servers came.
    pub(in crate::control) beginning: ServiceSlowStart,
    /// Of its templates: another one each time that it tells its clients apart in another way.
    pub generation: u8,
    /// Of the last snapshot.
    pub(in crate::control) pool: Pool,
}

/// How far the claim to a VIP has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipState {
    /// Asking whether another station has it.
    Probing,
    /// Ours: answered and announced.
    Claimed,
    /// Another station's, which has this MAC address; not served until it is silent.
    Standby(MacAddr),
}

/// A real server of one service as control sees it.
#[derive(Debug)]
pub struct ServerEntry {
    /// Its place in counters and loads.
    pub id: ServerId,
    /// As configured.
    pub config: RealServer,
    /// Whether it can be reached.
    pub reachability: Reachability,
    /// It answers ARP for the service's VIP, and gets no new connections therefore.
    pub excluded: bool,
    /// It leaves once its connections have.
    pub drain: Option<Drain>,
    /// What had been counted under its number when it was added, or zeroed.
    pub baseline: Stats,
    /// Averages of what it counts.
    pub estimator: Estimator,
    /// Its slow start.
    pub(in crate::control) ramp: ServerSlowStart,
}

impl ServerEntry {
    /// Whether it takes new connections, as far as ARP tells.
    #[must_use]
    pub fn is_available(&self) -> bool {
        matches!(self.reachability, Reachability::Reachable(_)) && !self.excluded
    }

    /// The word for listings.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.reachability {
            _ if self.drain.is_some() => "draining",
            Reachability::Reachable(_) if self.excluded => "claims_vip",
            link => link.name(),
        }
    }

    /// While it starts slowly: how much of its weight counts, in percent.
    #[must_use]
    pub fn ramp(&self) -> Option<u8> {
        self.ramp.percent()
    }
}

/// A server that takes no new connections and is removed when it has none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// When it is removed all the same.
    pub until: Option<Instant>,
}

/// What ARP says of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// Not answered yet.
    Resolving,
    /// Answers, or has a fixed address.
    Reachable(MacAddr),
    /// Has stopped answering: existing connections go on to the last address known, new ones
    /// are not sent there.
    Unreachable(Option<MacAddr>),
}

impl Reachability {
    /// The address that frames go to, if one was ever known.
    #[must_use]
    pub fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Resolving => None,
            Self::Reachable(mac) => Some(mac),
            Self::Unreachable(mac) => mac,
        }
    }

    /// The word for listings.
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
    /// As a rule.
    #[must_use]
    pub fn rule(&self) -> VirtualService {
        let servers = self.servers.iter().map(|server| server.config.clone()).collect();
        VirtualService { servers, ..self.config.clone() }
    }

    /// A server's address with the service's port, as listings show it.
    #[must_use]
    pub fn server_address(&self, server: &ServerEntry) -> SocketAddr {
        SocketAddr::new(server.config.address, self.config.address.address.port())
    }

    pub(in crate::control) fn vip(&self) -> IpAddr {
        self.config.address.address.ip()
    }

    pub(in crate::control) fn find(&self, rip: IpAddr) -> Option<&ServerEntry> {
        self.servers.iter().find(|server| server.config.address == rip)
    }

    /// The servers that take new connections, the last added first: IPVS adds each new server
    /// at the head of its list (`list_add_rcu` in `__ip_vs_update_dest`, ip_vs_ctl.c), and wlc
    /// prefers the earlier one of equals. The same pool as before if nothing has changed.
    pub(in crate::control) fn next_pool(
        &mut self,
        loads: &Loads,
        now: Instant,
        (timeouts, policy): (&Timeouts, &Policy),
    ) -> Pool {
        let expires = policy.expire_quiescent_template;
        self.ramp(loads, now, remembered(self.config.address.protocol, timeouts));
        let available = self.servers.iter().rev().filter(|server| server.is_available());
        let candidate = |server: &ServerEntry| Candidate {
            thresholds: Thresholds {
                upper: server.config.upper_threshold,
                lower: server.config.lower_threshold,
            },
            address: self.server_address(server),
            accepts_persistent: server.drain.is_none() && !(expires && server.config.weight.0 == 0),
            part: server.ramp.part(),
            ..Candidate::new(server.id, server.config.weight.0)
        };
        let VirtualService { scheduler, scheduler_flags: flags, one_packet, persistence, .. } = self.config;
        let (vip, generation) = (self.vip(), self.generation);
        let params = Params { scheduler, flags, vip, one_packet, persistence, generation };
        self.pool = self.pool.successor(params, available.map(candidate), loads);
        self.pool.clone()
    }
}

/// How long a connection is counted when it is over.
fn remembered(protocol: Protocol, timeouts: &Timeouts) -> Duration {
    let states: &[ConnState] = match protocol {
        Protocol::Tcp => &[ConnState::FinWait, ConnState::TimeWait],
        Protocol::Udp => &[ConnState::Udp],
    };
    let longest = states.iter().map(|state| state.timeout(timeouts)).max().unwrap_or_default();
    Duration::from_millis(longest.millis().into())
}
