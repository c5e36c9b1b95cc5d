//! Health of a service: its servers, and the panic share.

use super::events::{HealthAction, HealthReport, ServiceChecks};
use crate::model::ServiceIdentity;
use std::net::IpAddr;

/// A service.
#[derive(Debug)]
pub(super) struct ServiceHealth {
    pub(super) identity: ServiceIdentity,
    /// Number of the configuration.
    configuration: u64,
    panic: u8,
    total: u64,
    /// Weight of the servers that are down.
    down: u64,
    pub(super) panicking: bool,
    pub(super) servers: Vec<ServerHealth>,
}

/// A real server of a service.
#[derive(Debug)]
pub(super) struct ServerHealth {
    pub(super) address: IpAddr,
    weight: u64,
    /// Its checks that decide and are down.
    failed: u32,
    /// Whether it gets no new connections, by the configuration or the latest report.
    pub(super) out: bool,
}

impl ServiceHealth {
    /// A service all of whose servers are up.
    pub(super) fn new(checks: &ServiceChecks, configuration: u64) -> Self {
        let servers = checks.servers.iter().map(|server| ServerHealth {
            address: server.server,
            weight: server.weight.0.into(),
            failed: 0,
            out: server.out,
        });
        let servers: Vec<_> = servers.collect();
        let total = servers.iter().map(|server| server.weight).sum();
        let (identity, panic) = (checks.service, checks.panic);
        Self { identity, configuration, panic, total, down: 0, panicking: false, servers }
    }

    /// Counts that a check of the server at `place` has gone down, or has come up. Returns true if the server has.
    pub(super) fn count(&mut self, place: usize, down: bool) -> bool {
        let server = &mut self.servers[place];
        let before = server.is_down();
        server.failed = if down { server.failed + 1 } else { server.failed - 1 };
        match (before, server.is_down()) {
            (false, true) => self.down += server.weight,
            (true, false) => self.down -= server.weight,
            _ => return false,
        }
        true
    }

    /// Reports what follows from a change of the server at `place`.
    pub(super) fn settle(&mut self, place: usize, actions: &mut Vec<HealthAction>) {
        if self.is_panic() == self.panicking {
            self.settle_server(place, actions);
        } else {
            self.settle_all(actions);
        }
    }

    /// Reports what follows from changes of any servers.
    pub(super) fn settle_all(&mut self, actions: &mut Vec<HealthAction>) {
        let on = self.is_panic();
        if on != self.panicking {
            let Self { identity: service, down, total, .. } = *self;
            actions.push(HealthAction::Report(HealthReport::Panic { service, on, down, total }));
        }
        self.panicking = on;
        (0..self.servers.len()).for_each(|place| self.settle_server(place, actions));
    }

    fn settle_server(&mut self, place: usize, actions: &mut Vec<HealthAction>) {
        let (service, server) = (self.identity, &mut self.servers[place]);
        let out = server.is_down() && !self.panicking;
        if out != server.out {
            server.out = out;
            let (server, configuration) = (server.address, self.configuration);
            let report = HealthReport::Server { service, server, out, configuration };
            actions.push(HealthAction::Report(report));
        }
    }

    fn is_panic(&self) -> bool {
        self.panic > 0 && self.down * 100 > u64::from(self.panic) * self.total
    }
}

impl ServerHealth {
    pub(super) fn is_down(&self) -> bool {
        self.failed > 0
    }
}
