//! Health of a service: its servers, and the panic share.

use super::events::{HealthAction, HealthReport, ServerChecks, ServiceChecks};
use super::outcome::WeightChange;
use super::record::{CheckState, Standing};
use crate::model::{HealthMode, ServiceIdentity, Weight};
use std::net::IpAddr;
use std::ops::{AddAssign, SubAssign};

/// A service.
#[derive(Debug)]
pub(super) struct ServiceHealth {
    pub(super) identity: ServiceIdentity,
    /// Number of the configuration.
    configuration: u64,
    panic: u8,
    weights: Weights,
    pub(super) panicking: bool,
    pub(super) servers: Vec<ServerHealth>,
}

/// Weight that the panic share is about: not that of servers which the operator has taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weights {
    total: u64,
    down: u64,
}

/// A real server of a service.
#[derive(Debug)]
pub(super) struct ServerHealth {
    pub(super) address: IpAddr,
    weight: u64,
    pub(super) mode: HealthMode,
    /// Verdict of the time when the checks were paused, while they are.
    held: bool,
    /// Its checks that decide and are down.
    failed: u32,
    /// Its checks that decide and have never been up, while that counts as down.
    unproved: u32,
    /// Whether it waits for all of them: with `alpha`, from a configuration that finds it out.
    on_trial: bool,
    /// Effects of its checks that decide on the weight.
    changes: WeightChanges,
    /// Weight by that, in the configuration or the latest report.
    pub(super) dynamic_weight: Option<Weight>,
    /// Whether it gets no new connections, by the configuration or the latest report.
    pub(super) out: bool,
}

/// Changes of a weight by several checks.
#[derive(Clone, Copy, Debug, Default)]
struct WeightChanges {
    /// Number of changes.
    count: i64,
    /// Changes to a weight.
    setting: i64,
    /// Sum of what is set and of what is added.
    sum: i64,
}

impl WeightChanges {
    /// The weight by these changes of a configured one; `None` without any.
    fn applied(self, configured: u64) -> Option<Weight> {
        let weight = (configured as i64).saturating_mul(1 - self.setting) + self.sum; // a u16 and small counts
        (self.count > 0).then(|| Weight(weight.clamp(0, u16::MAX.into()) as u16))
    }
}

impl AddAssign for Weights {
    fn add_assign(&mut self, other: Self) {
        *self = Self { total: self.total + other.total, down: self.down + other.down };
    }
}

impl SubAssign for Weights {
    fn sub_assign(&mut self, other: Self) {
        *self = Self { total: self.total - other.total, down: self.down - other.down };
    }
}

impl ServiceHealth {
    /// A service none of whose checks is down.
    pub(super) fn new(checks: &ServiceChecks, configuration: u64) -> Self {
        Self {
            identity: checks.service,
            configuration,
            panic: checks.panic,
            weights: Weights::default(),
            panicking: false,
            servers: checks.servers.iter().map(|server| ServerHealth::new(server, checks.alpha)).collect(),
        }
    }

    /// Takes over what was so before the configuration, and computes the weights.
    pub(super) fn restore(&mut self, before: Option<&Self>) {
        self.panicking = before.is_some_and(|before| before.panicking);
        for server in self.servers.iter_mut().filter(|server| server.mode == HealthMode::Paused) {
            let before = before.and_then(|of| of.servers.iter().find(|one| one.address == server.address));
            server.held = before.map_or(server.fails(), ServerHealth::held_on);
        }
        self.weights = Weights::default();
        for server in &self.servers {
            self.weights += server.weights();
        }
    }

    /// Counts that a check of the server at `place` is in this state.
    pub(super) fn enter(&mut self, place: usize, standing: Standing) {
        self.servers[place].count(standing, 1);
    }

    /// Counts the effect of a check on the weight of the server at `place`, `times` 1 or -1.
    pub(super) fn weigh(&mut self, place: usize, change: Option<WeightChange>, times: i64) {
        let (Some(change), changes) = (change, &mut self.servers[place].changes) else { return };
        changes.count += times;
        match change {
            WeightChange::To(weight) => {
                changes.setting += times;
                changes.sum += times * i64::from(weight);
            }
            WeightChange::By(more) => changes.sum += times * i64::from(more),
        }
    }

    /// Counts that a check of the server at `place` has changed. Returns true if the verdict on the server may have.
    pub(super) fn change(&mut self, place: usize, from: Standing, to: Standing) -> bool {
        let server = &mut self.servers[place];
        let (before, weights) = ((server.is_down(), server.is_apart()), server.weights());
        server.count(from, -1);
        server.count(to, 1);
        self.weights -= weights;
        self.weights += server.weights();
        before != (server.is_down(), server.is_apart())
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
            let Self { identity: service, weights: Weights { total, down }, .. } = *self;
            actions.push(HealthAction::Report(HealthReport::Panic { service, on, down, total }));
        }
        self.panicking = on;
        (0..self.servers.len()).for_each(|place| self.settle_server(place, actions));
    }

    fn settle_server(&mut self, place: usize, actions: &mut Vec<HealthAction>) {
        let (service, server) = (self.identity, &mut self.servers[place]);
        let (address, configuration) = (server.address, self.configuration);
        let out = server.is_down() && (!self.panicking || server.is_apart());
        if out != server.out {
            server.out = out;
            let report = HealthReport::Server { service, server: address, out, configuration };
            actions.push(HealthAction::Report(report));
        }
        let weight = server.changes.applied(server.weight);
        if weight != server.dynamic_weight {
            server.dynamic_weight = weight;
            let report = HealthReport::Weight { service, server: address, weight, configuration };
            actions.push(HealthAction::Report(report));
        }
    }

    fn is_panic(&self) -> bool {
        let Weights { total, down } = self.weights;
        self.panic > 0 && down * 100 > u64::from(self.panic) * total
    }
}

impl ServerHealth {
    fn new(checks: &ServerChecks, alpha: bool) -> Self {
        Self {
            address: checks.server,
            weight: checks.weight.0.into(),
            mode: checks.mode,
            held: false,
            failed: 0,
            unproved: 0,
            on_trial: alpha && checks.out,
            changes: WeightChanges::default(),
            dynamic_weight: checks.dynamic_weight,
            out: checks.out,
        }
    }

    pub(super) fn is_down(&self) -> bool {
        match self.mode {
            HealthMode::Auto => self.fails(),
            HealthMode::Paused => self.held,
            HealthMode::ForcedUp => false,
            HealthMode::ForcedDown => true,
        }
    }

    /// The verdict that stands while the checks are paused.
    fn held_on(&self) -> bool {
        if self.mode == HealthMode::Paused { self.held } else { self.fails() }
    }

    fn fails(&self) -> bool {
        self.failed > 0 || self.unproved > 0
    }

    /// Returns true if it is out also in panic, and no part of the panic share.
    fn is_apart(&self) -> bool {
        let is_new = self.mode == HealthMode::Auto && self.unproved > 0;
        is_new || self.mode == HealthMode::ForcedDown
    }

    fn count(&mut self, Standing { state, proved }: Standing, change: i32) {
        let of = |counts: bool| if counts { change } else { 0 };
        self.failed = self.failed.saturating_add_signed(of(state == CheckState::Down));
        self.unproved = self.unproved.saturating_add_signed(of(self.on_trial && !proved));
    }

    fn weights(&self) -> Weights {
        match self.is_down() {
            true if self.is_apart() => Weights::default(),
            true => Weights { total: self.weight, down: self.weight },
            false => Weights { total: self.weight, down: 0 },
        }
    }
}
