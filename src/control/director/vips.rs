//! VIPs without a service: kept claimed for a while, as their services may be added again.
//!
//! `ipvsadm -C; ipvsadm -R` removes all services and adds them again. If the VIPs were released in between, each would
//! be probed again, and clients would wait for more than a second.

use super::{Director, KeptVip};
use crate::control::state::recovered::vip_name;
use crate::control::state::registry::VipState;
use crate::model::VipReach;
use crate::neighbor::NeighborEvent;
use crate::shadow::Digest;
use crate::wire::vlan::Vlans;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Time that a claimed VIP without a service is kept.
const KEPT: Duration = Duration::from_secs(5);

impl Director {
    /// Keeps or releases `vip`, which was in `state` and in these VLANs, and has lost its last service.
    pub(super) fn keep_vip(&mut self, vip: IpAddr, vlans: Vlans, state: Option<VipState>) {
        if state == Some(VipState::Claimed) {
            self.kept_vips.insert(vip, KeptVip { vlans, until: Instant::now() + KEPT });
        } else {
            self.release_vip(vip);
        }
    }

    /// Claims `vip`, which has got its first service.
    pub(super) fn claim_vip(&mut self, vip: IpAddr) {
        match self.kept_vips.remove(&vip) {
            Some(kept) if kept.vlans == self.registry.vlan(vip) => {
                self.registry.set_vip(vip, VipState::Claimed);
            }
            Some(_) => {
                self.release_vip(vip);
                self.set_vlans(); // the release has removed the VIP's
                self.add_vip(vip);
            }
            None => self.add_vip(vip),
        }
    }

    /// Has `vip` claimed. One that routers have routes for is served at once: the neighbor machine neither probes nor answers
    /// for it.
    pub(super) fn add_vip(&mut self, vip: IpAddr) {
        match self.settings.ha.vips {
            VipReach::Claimed if self.reclaims.remove(&self.vip_name(vip)) => {
                self.send_neighbor_event(NeighborEvent::ReclaimVip(vip));
            }
            VipReach::Claimed => self.send_neighbor_event(NeighborEvent::AddVip(vip)),
            VipReach::Routed => self.registry.set_vip(vip, VipState::Claimed),
        }
    }

    /// Releases `vip` if it is kept: without a service it is neither defended nor monitored.
    pub(super) fn drop_kept_vip(&mut self, vip: IpAddr) {
        if self.kept_vips.remove(&vip).is_some() {
            self.release_vip(vip);
        }
    }

    /// Releases the kept VIPs whose time is over.
    pub(super) fn release_kept_vips(&mut self) {
        let now = Instant::now();
        let over: Vec<_> =
            self.kept_vips.iter().filter(|(_, kept)| now >= kept.until).map(|(vip, _)| *vip).collect();
        for vip in over {
            tracing::info!(%vip, "VIP released: it has no service any more");
            self.drop_kept_vip(vip);
        }
    }

    /// Records the claimed VIPs for the next process.
    pub(super) fn record_claims(&mut self) {
        let vips = self.registry.services.iter().flat_map(|service| &service.vips);
        let claimed =
            vips.filter(|(_, state)| *state == VipState::Claimed).map(|(vip, _)| self.vip_name(*vip));
        let claimed: BTreeSet<_> = claimed.collect();
        self.names.set_claims(claimed.into_iter());
    }

    fn vip_name(&self, vip: IpAddr) -> Digest {
        vip_name(vip, self.registry.vlan(vip), &self.host.interfaces[0].name)
    }

    fn release_vip(&mut self, vip: IpAddr) {
        self.registry.forget_holders(vip);
        self.send_neighbor_event(NeighborEvent::RemoveVip(vip));
    }
}
