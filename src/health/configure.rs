//! Change of the services: checks that stay keep their state, servers that stay are reported only if they change.

use super::entry::{CheckEntry, UserPlace};
use super::events::{HealthAction, HealthConfig, ServiceChecks};
use super::freeze::GuardShare;
use super::service::ServiceHealth;
use super::{CheckKey, Health};
use crate::model::HealthMode;
use std::collections::{BTreeMap, HashMap};

type Users = BTreeMap<CheckKey, Vec<UserPlace>>;

impl Health {
    pub(super) fn configure(&mut self, config: &HealthConfig, actions: &mut Vec<HealthAction>) {
        let HealthConfig { number, services } = config;
        let mut users = users(services);
        self.remove_unused(&users, actions);
        self.add_missing(&users);
        for entry in self.checks.values_mut() {
            entry.users = users.remove(&entry.key).unwrap_or_default();
        }
        let new = services.iter().map(|service| ServiceHealth::new(service, *number)).collect();
        let before = std::mem::replace(&mut self.services, new);
        self.set_paused(actions);
        self.recount();
        self.restore(&before);
        self.services.iter_mut().for_each(|service| service.settle_all(actions));
        self.thaw(actions);
    }

    fn remove_unused(&mut self, users: &Users, actions: &mut Vec<HealthAction>) {
        let unused: Vec<_> = self.ids.keys().filter(|key| !users.contains_key(key)).cloned().collect();
        for id in unused.iter().filter_map(|key| self.ids.remove(key)).collect::<Vec<_>>() {
            self.due.set_at(id, None);
            let probe = self.checks.remove(&id).and_then(|entry| entry.probe);
            if let Some(probe) = probe {
                self.probes.remove(&probe.id);
                actions.push(HealthAction::Abort(probe.id));
            }
        }
    }

    fn add_missing(&mut self, users: &Users) {
        let now = self.due.clock();
        for key in users.keys().filter(|key| !self.ids.contains_key(key)).cloned().collect::<Vec<_>>() {
            let id = self.next_check;
            self.next_check += 1;
            let entry = CheckEntry::new(key.clone(), now);
            self.due.set_at(id, Some(entry.due));
            self.checks.insert(id, entry);
            self.ids.insert(key, id);
        }
    }

    /// Pauses the checks all of whose users are paused, and resumes the others.
    fn set_paused(&mut self, actions: &mut Vec<HealthAction>) {
        let now = self.due.clock();
        for (id, entry) in &mut self.checks {
            let mode = |user: &UserPlace| self.services[user.service].servers[user.server].mode;
            let paused = entry.users.iter().all(|user| mode(user) == HealthMode::Paused);
            if paused == entry.paused {
                continue;
            }
            if let Some(probe) = entry.set_paused(paused, self.random.next(), now) {
                self.probes.remove(&probe);
                actions.push(HealthAction::Abort(probe));
            }
            self.due.set_at(*id, (!paused).then_some(entry.due));
        }
    }

    /// Counts the checks that are up and that fail anew.
    fn recount(&mut self) {
        self.guard.clear();
        for entry in self.checks.values() {
            let share = GuardShare::of(entry);
            self.guard.replace(GuardShare::default(), share, entry.key.server, entry.services());
        }
    }

    /// Gives the services the states of their checks, and what was so before.
    fn restore(&mut self, before: &[ServiceHealth]) {
        for entry in self.checks.values() {
            for user in entry.users.iter().filter(|user| user.decides) {
                let service = &mut self.services[user.service];
                service.enter(user.server, entry.record.standing());
                let weight = entry.record.weight.filter(|_| user.weighs);
                service.weigh(user.server, weight, 1);
            }
        }
        let before: HashMap<_, _> = before.iter().map(|of| (of.identity, of)).collect();
        for service in &mut self.services {
            service.restore(before.get(&service.identity).copied());
        }
    }
}

/// Every check with its users.
fn users(services: &[ServiceChecks]) -> Users {
    let mut users = Users::new();
    for (service, of) in services.iter().enumerate() {
        for (server, of) in of.servers.iter().enumerate() {
            for check in &of.checks {
                let place = UserPlace { service, server, decides: check.decides, weighs: check.weighs };
                users.entry(check.key.clone()).or_default().push(place);
            }
        }
    }
    users
}
