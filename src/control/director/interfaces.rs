//! Checks of the director's interfaces: carriers, and VIPs among the host's own addresses.

use super::Director;
use super::publish::log_steering_failure;
use crate::io::{Interface, OwnAddress};
use crate::model::Diagnostic;
use crate::neighbor::NeighborEvent;
use std::time::Instant;

impl Director {
    /// Checks that the interfaces are those of the start, and sends changes of carriers to the neighbor driver and
    /// the health checks.
    ///
    /// # Errors
    /// If an interface was removed or has another MAC address.
    pub(super) fn check_carriers(&mut self) -> Result<(), Diagnostic> {
        let up: Vec<_> =
            self.host.interfaces.iter().map(Interface::check_carrier).collect::<Result<_, _>>()?;
        for change in self.carriers.update(&up) {
            let interface = &self.host.interfaces[usize::from(change.interface.0)].name;
            self.carriers.log(change, interface);
            let event = if change.is_up { NeighborEvent::InterfaceUp } else { NeighborEvent::InterfaceDown };
            self.send_neighbor_event(event(change.interface));
            if usize::from(change.interface.0) + 1 == self.host.interfaces.len() {
                self.set_health_carrier(change.is_up);
            }
        }
        Ok(())
    }

    /// Warns of VIPs that are addresses of this host. Without an answer of the kernel there is no warning.
    pub(super) fn check_local_vips(&mut self) {
        let Ok(all) = Interface::own_addresses() else { return };
        let changes = self.local_vips.update(&self.host.vips, &all);
        let is_changed = !changes.added.is_empty() || !changes.removed.is_empty();
        for OwnAddress { address: vip, prefix, interface } in changes.added {
            let remedy = format!("ip address del {vip}/{prefix} dev {interface}");
            self.limiter.log(*vip, Instant::now(), || {
                tracing::warn!(
                    %vip, interface, remedy,
                    "the VIP is an address of this host: whenever directrix does not serve it, this host answers"
                );
            });
        }
        for vip in changes.removed {
            self.limiter.log(vip, Instant::now(), || {
                tracing::info!(%vip, "the VIP is no longer an address of this host");
            });
        }
        if is_changed && let Err(error) = self.backend.steering.renew() {
            log_steering_failure(&error);
        }
    }
}
