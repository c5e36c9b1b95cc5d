//! Passive health: the handshakes of clients as evidence about real servers, without I/O and without a clock.
//!
//! Workers count for each server the handshakes that clients open, complete and repeat ([`Handshakes`](crate::stats::Handshakes)).
//! [`PassiveHealth`] takes a sample of all counters each second and turns it into reports and effects.
//!
//! Invariants:
//! - A server is judged by the handshakes that were opened within ten seconds, three seconds ago at the latest, and only
//!   in comparison with the other servers of its service. The only server of a service, or the only one with enough
//!   handshakes, is never more than warned of.
//! - While handshakes fail with most servers of a service, no server of it is suspected.
//! - A service has at most one ejected server, or a fifth of its servers. An ejection leaves another server in use, and no
//!   more than the panic share of the weight out of use; otherwise all its ejections end.
//! - A change of the configuration that leaves a server in its service changes nothing about it.

mod cause;
mod ejection;
mod events;
mod figures;
mod history;
mod judgement;
mod server;
mod service;

pub use cause::PassingChecks;
pub use events::{
    PassiveEffect, PassiveReport, PassiveServerStatus, PassiveServiceStatus, PassiveState, PassiveView,
    ServerSample, ServiceSample,
};
pub use figures::{Figures, FloodFinding, PassiveFinding};

use crate::model::ServiceIdentity;
use crate::time::Tick;
use service::{Moment, ServiceWatch};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The machine of passive health.
#[derive(Debug, Default)]
pub struct PassiveHealth {
    services: BTreeMap<ServiceIdentity, ServiceWatch>,
    last: Option<Tick>,
    /// Milliseconds since the first sample.
    clock: u64,
}

impl PassiveHealth {
    /// Takes a sample of all services that are watched; to be called every second. A service without a sample is
    /// forgotten. Appends to `reports`.
    pub fn sample(&mut self, samples: &[ServiceSample], now: Tick, reports: &mut Vec<PassiveReport>) {
        let passed = now.since(self.last.replace(now).unwrap_or(now)).millis();
        self.clock += u64::from(passed);
        let elapsed = (passed.saturating_add(500) / 1000).max(1) as usize;
        let mut before = std::mem::take(&mut self.services);
        for sample in samples {
            let mut watch = before.remove(&sample.service).unwrap_or_default();
            watch.sample(&Moment { sample, elapsed, now: self.clock }, reports);
            self.services.insert(sample.service, watch);
        }
    }

    /// The servers of a service in the order of the last sample; none of a service that is not watched.
    pub fn views(&self, service: ServiceIdentity) -> impl Iterator<Item = (IpAddr, PassiveView)> + '_ {
        let watch = self.services.get(&service);
        let flood = watch.and_then(|watch| watch.flood);
        let servers = watch.into_iter().flat_map(|watch| &watch.servers);
        servers.map(move |server| (server.address, PassiveView { flood, ..server.view(self.clock) }))
    }

    /// The services that handshakes say something about, at the time of the last sample.
    #[must_use]
    pub fn status(&self) -> Vec<PassiveServiceStatus> {
        self.services.iter().filter_map(|(service, watch)| watch.status(*service, self.clock)).collect()
    }
}
