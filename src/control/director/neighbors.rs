//! The director's side of the neighbor machine: events to the driver, its reports, real servers and their source addresses.

use super::Director;
use super::error::DirectorError;
use crate::control::host::hints;
use crate::control::host::resolve::ResolvedHost;
use crate::control::neighbor::driver::{DriverReport, NeighborDriver};
use crate::control::neighbor::log::log_report;
use crate::control::neighbor::vlans::{self, NeighborCommand};
use crate::control::state::registry::VipState;
use crate::io::Interface;
use crate::model::{InterfaceIndex, OnServerClaim, VipReach};
use crate::neighbor::{NeighborEvent, NeighborReport, NeighborTarget};
use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Instant;
use tokio::sync::mpsc;

impl Director {
    /// Starts the neighbor driver with every VIP and real server. Returns its future and its reports.
    #[allow(clippy::type_complexity)] // one future and one channel
    pub(super) fn start_neighbors(
        &mut self,
    ) -> Result<
        (impl Future<Output = std::io::Result<()>> + use<>, mpsc::UnboundedReceiver<DriverReport>),
        DirectorError,
    > {
        let (machine, sockets) = self.neighbors.take().expect("it is taken once");
        let driver = NeighborDriver::new(machine, sockets, self.epoch)?;
        let (events, received) = mpsc::unbounded_channel();
        let (report, reports) = mpsc::unbounded_channel();
        self.neighbor_events = Some(events);
        self.check_carriers()?;
        self.check_local_vips();
        hints::log_foreign_vips(&self.host.vips, &self.host);
        hints::log_filtered_vlans(&self.host);
        self.send_link_locals(&self.host.interfaces);
        self.send_audit_sender();
        self.send_gateway();
        self.set_vlans();
        for server in &self.host.servers {
            self.send_neighbor_event(NeighborEvent::AddServer(*server));
        }
        self.send_neighbor_event(NeighborEvent::Role(self.role.role()));
        self.host.vips.clone().into_iter().for_each(|vip| self.add_vip(vip));
        self.reclaims.clear(); // another claim, later, begins with probing
        if self.settings.ha.vips == VipReach::Routed {
            self.publish()?; // no report follows
        }
        let run = driver.run(received, move |one| {
            let _ = report.send(one); // the event loop may have ended
        });
        Ok((run, reports))
    }

    /// Logs a report and updates the registry.
    pub(super) fn handle_report(&mut self, report: &DriverReport) {
        match report {
            DriverReport::Neighbor(report) => self.handle_neighbor_report(report),
            DriverReport::Audit(report) => self.handle_audit_report(report),
        }
    }

    fn handle_neighbor_report(&mut self, report: &NeighborReport) {
        let now = Instant::now();
        self.limiter.log(report.about(), now, || log_report(report, &self.registry, &self.settings));
        self.record_neighbor(report);
        self.follow_split_brain(report);
        match *report {
            NeighborReport::Claimed { vip } => self.registry.set_vip(vip, VipState::Claimed),
            NeighborReport::Standby { vip, mac } => {
                self.registry.set_vip(vip, VipState::Standby(mac));
                self.drop_kept_vip(vip);
            }
            NeighborReport::Released { vip } => {
                self.registry.forget_holders(vip);
                self.registry.set_vip(vip, VipState::Released);
                self.drop_kept_vip(vip);
            }
            NeighborReport::Held { vip, mac, .. } => {
                if self.settings.on_server_claim == OnServerClaim::Exclude {
                    self.registry.set_holder(vip, mac, true);
                }
            }
            NeighborReport::ConflictOver { vip, mac, .. } => self.registry.set_holder(vip, mac, false),
            NeighborReport::Conflict { .. }
            | NeighborReport::Disputed { .. }
            | NeighborReport::DisputeOver { .. } => {}
            NeighborReport::Resolved { rip, mac, .. } | NeighborReport::Moved { rip, new: mac, .. } => {
                self.registry.set_reachable(rip, mac);
            }
            NeighborReport::Lost { rip, .. } => self.registry.set_unreachable(rip),
        }
    }

    /// Follows a change of the interfaces' addresses: the sources of solicitations, and the reserved addresses.
    pub(super) fn update_addresses(&mut self) -> Result<(), DirectorError> {
        self.update_reserved()?;
        if !self.host.has_other_addresses() {
            return Ok(());
        }
        // First: what follows may fail, and servers that are not asked yet wait for the address.
        self.send_link_locals(&self.host.renewed());
        self.send_audit_sender();
        match self.host.re_resolve(&self.registry.rules().services) {
            Ok(host) => {
                let before = std::mem::replace(&mut self.host, host);
                self.answers.set_mtu(self.host.server_side().mtu);
                self.update_neighbors(&before);
                self.log_sources(&before);
            }
            Err(error) => {
                tracing::warn!(%error, "re-reading the host's addresses failed: solicitations of real servers keep the former ones");
            }
        }
        Ok(())
    }

    /// Sends the neighbor driver the VLANs of all VIPs and real servers, and receives the pings of these VLANs.
    pub(super) fn set_vlans(&self) {
        self.send_neighbor_event(NeighborCommand::Vlans(self.host.vlans.clone()));
        self.pings.select_vlans(&vlans::outer(&self.host.vlans));
    }

    /// Moves VIPs and real servers to their VLANs, if these have changed: each VIP is probed for again, and each server
    /// is resolved again.
    pub(super) fn update_vlans(&mut self, before: &ResolvedHost) {
        if before.vlans == self.host.vlans {
            return;
        }
        let has_moved = |address: &IpAddr| {
            before
                .vlans
                .get(address)
                .is_some_and(|old| self.host.vlans.get(address).is_some_and(|new| new != old))
        };
        let servers: Vec<_> =
            self.host.servers.iter().filter(|server| has_moved(&server.rip)).copied().collect();
        let vips: Vec<_> = self.host.vips.iter().filter(|vip| has_moved(vip)).copied().collect();
        for NeighborTarget { interface, rip, .. } in &servers {
            self.registry.set_resolving(*rip);
            self.send_neighbor_event(NeighborEvent::RemoveServer { interface: *interface, rip: *rip });
        }
        for vip in &vips {
            self.registry.forget_holders(*vip);
            self.registry.set_vip(*vip, VipState::Probing);
            self.send_neighbor_event(NeighborEvent::RemoveVip(*vip));
        }
        self.set_vlans();
        hints::log_filtered_vlans(&self.host);
        servers.into_iter().for_each(|server| self.send_neighbor_event(NeighborEvent::AddServer(server)));
        vips.into_iter().for_each(|vip| self.add_vip(vip));
    }

    /// Sends the neighbor driver the link-local address of each interface.
    fn send_link_locals(&self, interfaces: &[Interface]) {
        for (index, one) in interfaces.iter().enumerate() {
            let (interface, address) = (InterfaceIndex(index as u8), one.link_local());
            self.send_neighbor_event(NeighborEvent::LinkLocal { interface, address });
        }
    }

    /// Publishes the addresses that no client has, if the host's addresses have changed.
    pub(super) fn update_reserved(&mut self) -> Result<(), DirectorError> {
        let reserved = self.host.not_clients();
        if reserved == self.registry.reserved {
            return Ok(());
        }
        self.registry.reserved = reserved;
        self.publish()
    }

    /// Logs each new source address of solicitations of real servers.
    fn log_sources(&mut self, before: &ResolvedHost) {
        for own in sources(&self.host).difference(&sources(before)) {
            self.limiter.log(*own, Instant::now(), || {
                tracing::info!(%own, "source address of requests to real servers changed");
            });
        }
    }

    /// Sends the neighbor driver the difference between the real servers of `before` and the present ones.
    pub(super) fn update_neighbors(&self, before: &ResolvedHost) {
        let SetChange { removed, added } = difference(&before.servers, &self.host.servers);
        let present: HashSet<_> = added.iter().map(|server| (server.interface, server.rip)).collect();
        for server in removed {
            let (interface, rip) = (server.interface, server.rip);
            if !present.contains(&(interface, rip)) {
                self.send_neighbor_event(NeighborEvent::RemoveServer { interface, rip });
            }
        }
        for server in added {
            self.send_neighbor_event(NeighborEvent::AddServer(server));
        }
    }
}

fn sources(host: &ResolvedHost) -> BTreeSet<IpAddr> {
    host.servers.iter().map(|server| server.own).collect()
}

/// The difference between two lists.
pub(super) struct SetChange<T> {
    pub(super) removed: Vec<T>,
    pub(super) added: Vec<T>,
}

/// Returns the elements that are in one list only.
pub(super) fn difference<T: Copy + Eq + Hash>(old: &[T], new: &[T]) -> SetChange<T> {
    SetChange { removed: without(old, new), added: without(new, old) }
}

fn without<T: Copy + Eq + Hash>(all: &[T], others: &[T]) -> Vec<T> {
    let others: HashSet<T> = others.iter().copied().collect();
    all.iter().filter(|one| !others.contains(one)).copied().collect()
}
