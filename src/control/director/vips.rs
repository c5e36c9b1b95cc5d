//! VIPs that have lost their last service: kept for a while, as their services may be on their way back.
//!
//! `ipvsadm -C; ipvsadm -R` removes all services and adds them again. Were the VIPs released in between,
//! they would have to be probed for, and clients would wait for more than a second.

use crate::control::director::Director;
use crate::control::state::registry::VipState;
use crate::neighbor::ArpEvent;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// How long a claimed VIP without a service is answered for.
pub(in crate::control) const KEPT: Duration = Duration::from_secs(5);

/// When each of them is released.
pub(in crate::control) type KeptVips = BTreeMap<Ipv4Addr, Instant>;

impl<F: FnMut()> Director<F> {
    /// The last service of `vip`, which was in `state`, has gone.
    pub(in crate::control) fn leave_vip(&mut self, vip: Ipv4Addr, state: Option<VipState>) {
        if state == Some(VipState::Claimed) {
            self.kept.insert(vip, Instant::now() + KEPT);
        } else {
            self.release_vip(vip);
        }
    }

    /// The first service of `vip` has come.
    pub(in crate::control) fn want_vip(&mut self, vip: Ipv4Addr) {
        if self.kept.remove(&vip).is_some() {
            self.registry.set_vip(vip.into(), VipState::Claimed);
        } else {
            self.command(ArpEvent::AddVip(vip));
        }
    }

    /// Another station has got `vip`: without a service there is no reason to stand by for it.
    pub(in crate::control) fn lose_kept_vip(&mut self, vip: Ipv4Addr) {
        if self.kept.remove(&vip).is_some() {
            self.release_vip(vip);
        }
    }

    /// Releases those whose services have not come back in time.
    pub(in crate::control) fn release_kept_vips(&mut self) {
        let now = Instant::now();
        let over: Vec<_> =
            self.kept.iter().filter(|(_, until)| now >= **until).map(|(vip, _)| *vip).collect();
        for vip in over {
            tracing::info!(%vip, "VIP released: it has no service any more");
            self.lose_kept_vip(vip);
        }
    }

    fn release_vip(&mut self, vip: Ipv4Addr) {
        self.registry.forget_holders(vip.into());
        self.command(ArpEvent::RemoveVip(vip));
    }
}
