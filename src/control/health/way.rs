//! The way of each probe to its real server: the route, and the destination MAC address.

use super::prober::VipProber;
use crate::health::{CheckKey, LocalError, ProbeFailure, ProbeOutcome};
use crate::io::probe::{ProbeProtocol, ProbeTarget, ServerRoute, VipProbes};
use crate::wire::MacAddr;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for which a route is not looked up again. A change of addresses is notified at once; one of routes alone is not.
const ROUTE_AGE: Duration = Duration::from_secs(30);

/// The MAC address of a real server as workers use it; `None` if it answers no solicitation.
pub(in crate::control) type ServerMac = Option<MacAddr>;

/// The way of a probe.
pub(super) enum ProbeWay {
    /// To the RIP, by the host's routes.
    Rip,
    /// To the VIP, in frames to the server's MAC address.
    Vip(VipWay),
    /// None: the outcome is known without a probe.
    Closed(ProbeOutcome),
}

/// The way of a probe to the VIP on a real server.
#[derive(Clone)]
pub(super) struct VipWay {
    prober: Arc<VipProber>,
    route: ServerRoute,
    vip: IpAddr,
    rip: IpAddr,
    mac: MacAddr,
}

impl VipWay {
    /// The probe programs on the interface of the route.
    pub(super) fn probes(&self) -> &VipProbes {
        self.prober.on(self.route.interface).expect("a way leads through an interface with programs")
    }

    /// The target for a protocol and port.
    pub(super) fn target(&self, protocol: ProbeProtocol, port: u16) -> ProbeTarget {
        let Self { route, vip, rip, mac, .. } = self;
        ProbeTarget { protocol, vip: *vip, rip: *rip, port, own: route.own, mac: *mac, reply_mac: *mac }
    }
}

/// Routes and MAC addresses of the real servers.
#[derive(Default)]
pub(super) struct ProbeWays {
    prober: Option<Arc<VipProber>>,
    /// Servers that are still being resolved are not in it.
    pub(super) macs: HashMap<IpAddr, ServerMac>,
    routes: HashMap<IpAddr, (Option<ServerRoute>, Instant)>,
}

impl ProbeWays {
    pub(super) fn new(prober: Option<Arc<VipProber>>) -> Self {
        Self { prober, ..Self::default() }
    }

    /// The way of a probe of the check `key`.
    pub(super) fn of(&mut self, key: &CheckKey, now: Instant) -> ProbeWay {
        match key.vip {
            _ if key.kind.is_local() => ProbeWay::Rip,
            Some(vip) => self.vip_way(vip, key.server, now).map_or_else(ProbeWay::Closed, ProbeWay::Vip),
            // By a default route the probe would leave for a router, whose answer is none of the server's.
            None if self.is_off_link(key.server, now) => {
                ProbeWay::Closed(ProbeOutcome::Unknown(LocalError::NotOnLink))
            }
            None => ProbeWay::Rip,
        }
    }

    /// True if the host has lost its address on the network of the server. Before Linux 6.6 that is not looked at.
    fn is_off_link(&mut self, rip: IpAddr, now: Instant) -> bool {
        self.prober.clone().is_some_and(|prober| self.route(&prober, rip, now).is_none())
    }

    fn vip_way(&mut self, vip: IpAddr, rip: IpAddr, now: Instant) -> Result<VipWay, ProbeOutcome> {
        let unknown = ProbeOutcome::Unknown;
        let prober = self.prober.clone().ok_or(unknown(LocalError::NotAttached))?;
        let mac = self.macs.get(&rip).ok_or(unknown(LocalError::Resolving))?;
        let mac = mac.ok_or(ProbeOutcome::Failed(ProbeFailure::NoNeighbor))?;
        let route = self.route(&prober, rip, now).ok_or(unknown(LocalError::NotOnLink))?;
        if prober.on(route.interface).is_none() {
            return Err(unknown(LocalError::NotAttached));
        }
        Ok(VipWay { prober, route, vip, rip, mac })
    }

    fn route(&mut self, prober: &VipProber, rip: IpAddr, now: Instant) -> Option<ServerRoute> {
        let known = self.routes.get(&rip).filter(|(_, read)| now.duration_since(*read) < ROUTE_AGE);
        if let Some((route, _)) = known {
            return *route;
        }
        let route = prober.route(rip);
        self.routes.insert(rip, (route, now));
        route
    }

    /// True if the server answers no solicitation.
    pub(super) fn is_lost(&self, server: IpAddr) -> bool {
        self.macs.get(&server) == Some(&None)
    }

    /// Looks every route up again at the next probe.
    pub(super) fn forget_routes(&mut self) {
        self.routes.clear();
    }

    /// Does the periodic work, every second or so.
    pub(super) fn sweep(&self, now: Instant) {
        self.prober.iter().for_each(|prober| prober.sweep(now));
    }
}
