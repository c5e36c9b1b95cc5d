//! Pings of VIPs: which are answered.

use super::Director;
use crate::control::state::registry::{Registry, ServerEntry, VipState};
use crate::model::Ping;
use crate::wire::echo::EchoRequest;
use crate::wire::vlan::Vlans;
use std::net::IpAddr;
use std::time::Instant;

impl Director {
    /// Answers the pings that have arrived.
    ///
    /// The kernel answers for a VIP that is an address of this host. A source that no client has, such as the broadcast
    /// address of a network here, gets no reply; within a VLAN, that may be a client's address.
    pub(super) fn answer_pings(&mut self) {
        let (registry, local) = (&self.registry, &self.local_vips);
        let answers = |vlans: Vlans, vip: IpAddr, source: &IpAddr| {
            let is_ours = registry.vlan(vip) == vlans
                && matches!(registry.vip(vip), Some(VipState::Claimed | VipState::Released))
                && local.list().all(|local| local != vip);
            let is_reserved = vlans.is_none() && registry.reserved.contains(source);
            is_ours && !is_reserved && wants_reply(registry, vip)
        };
        let select = |vlans, request: &EchoRequest| answers(vlans, request.destination, &request.source);
        self.pings.serve(select, Instant::now());
    }
}

fn wants_reply(registry: &Registry, vip: IpAddr) -> bool {
    match registry.policy.ping {
        Ping::Answer => true,
        Ping::Ignore => false,
        Ping::IfHealthy => {
            let services = registry.services.iter().filter(|one| one.vip_state(vip).is_some());
            services.flat_map(|service| &service.servers).any(is_healthy)
        }
    }
}

fn is_healthy(server: &ServerEntry) -> bool {
    server.effective_weight() > 0 && server.reachability.mac().is_some()
}
