//! Change while frames flow: new rules are checked as a whole, then applied as one snapshot.
//!
//! The order is such that no frame is lost by it: what goes is first taken from the kernel's hands, then
//! from the workers'; what comes is known to the workers before the kernel hands it over.

use crate::control::api::request::ChangeRequest;
use crate::control::director::Director;
use crate::control::director::error::DirectorError;
use crate::control::director::hints;
use crate::control::host::resolve::ResolvedHost;
use crate::control::log::audit::{self, Origin};
use crate::control::state::registry::Drain;
use crate::control::state::registry::TotalsOf;
use crate::control::workers::status;
use crate::model::{Change, Config, Diagnostic, DirectorConfig, Rules, Subject, restart_needed};
use crate::neighbor::ArpEvent;
use crate::schedule::ServerLoad;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Which of a list of requests was refused, counted from 0, and why.
#[derive(Debug)]
pub struct RefusedAt(pub usize, pub Diagnostic);

impl<F: FnMut()> Director<F> {
    /// Carries out all of `requests`, or none. Returns what has become different.
    pub(in crate::control) fn change(
        &mut self,
        requests: &[ChangeRequest],
        origin: &Origin,
    ) -> Result<Vec<String>, RefusedAt> {
        let before = self.registry.rules();
        let mut rules = before.clone();
        for (at, request) in requests.iter().enumerate() {
            request.carry_out(&mut rules).map_err(|refused| RefusedAt(at, refused))?;
        }
        self.apply(&rules).map_err(|error| RefusedAt(blamed(requests, &error), error))?;
        requests.iter().for_each(|request| self.mark(request));
        if requests.iter().any(|request| matches!(request, ChangeRequest::Drain { .. })) {
            self.go_by_rules(); // a server that drains no longer keeps its clients
        }
        let mut lines: Vec<_> = before.differences(&rules).iter().map(ToString::to_string).collect();
        lines.extend(requests.iter().filter_map(ChangeRequest::beyond_rules));
        audit::changed(origin, &lines);
        Ok(lines)
    }

    /// Takes over the services of a file that has been read again. Returns what has become different.
    pub(in crate::control) fn reload(&mut self, config: &Config) -> Result<Vec<String>, String> {
        let fixed = self.settings.restarts(&config.director);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            return Err(format!("{}; nothing has been changed", restart_needed(&keys)));
        }
        self.host.judge(config).map_err(|errors| errors.to_string())?;
        let rules = config.rules();
        let different = self.registry.rules().differences(&rules);
        self.apply(&rules).map_err(|error| error.to_string())?;
        Ok(different.iter().map(ToString::to_string).collect())
    }

    /// What runs now, as a file would say it.
    pub(in crate::control) fn config(&self) -> Config {
        let Rules { services, timeouts, policy } = self.registry.rules();
        Config {
            director: DirectorConfig { timeouts, policy, ..self.settings.clone() },
            services,
            places: Default::default(),
        }
    }

    /// Removes servers that have been drained, and those whose time is over. While a worker may still
    /// pick by an older snapshot, that there is no connection says nothing (`settled` is false then).
    pub(in crate::control) fn finish_drains(&mut self, settled: bool) {
        let now = Instant::now();
        if self.registry.services.iter().all(|service| service.servers.iter().all(|one| one.drain.is_none()))
        {
            return;
        }
        let (mut rules, mut over) = (self.registry.rules(), Vec::new());
        for service in &self.registry.services {
            for server in &service.servers {
                let Some(drain) = server.drain else { continue };
                let load = self.loads.get(server.id);
                if settled && load == ServerLoad::default() || drain.until.is_some_and(|until| now >= until) {
                    over.push((service.config.address, server.config.address, load));
                }
            }
        }
        for (service, rip, _) in &over {
            // It is in the rules, which were just made of the registry.
            let _ = rules.change(&Change::DeleteServer(*service, *rip));
        }
        if over.is_empty() {
            return;
        }
        match self.apply(&rules) {
            Ok(()) => over.iter().for_each(|(service, rip, load)| audit::drained(*service, *rip, *load)),
            Err(error) => tracing::error!(%error, "drained servers cannot be removed yet"),
        }
    }

    /// Everything or nothing.
    fn apply(&mut self, rules: &Rules) -> Result<(), Diagnostic> {
        rules.check()?;
        let host = self.host.refit(&rules.services)?;
        let workers = &self.backend.workers;
        let totals: TotalsOf<'_> = &|server| status::totals(workers, server);
        let states: HashMap<_, _> =
            self.host.vips.iter().map(|vip| (*vip, self.registry.vip((*vip).into()))).collect();
        self.registry.apply(rules, totals)?;
        let before = std::mem::replace(&mut self.host, host);
        self.tell_responder(&before);
        let [gone, come] = difference(&before.vips, &self.host.vips);
        gone.into_iter().for_each(|vip| self.leave_vip(vip, states.get(&vip).copied().flatten()));
        if !come.is_empty() {
            self.look_at_addresses();
            hints::tell_foreign(&come, &self.host.arms[0]);
        }
        come.into_iter().for_each(|vip| self.want_vip(vip));
        self.backend.steering.withdraw(&self.registry.served());
        self.go_by_rules();
        Ok(())
    }

    fn go_by_rules(&mut self) {
        if let Err(error) = self.publish() {
            tracing::error!(%error, "updating the steering map failed: the previous services stay active");
        }
    }

    /// What is more than a rule.
    fn mark(&mut self, request: &ChangeRequest) {
        match request {
            ChangeRequest::Zero { service } => {
                let workers = &self.backend.workers;
                self.registry.zero(*service, &|server| status::totals(workers, server));
            }
            ChangeRequest::Drain { service, server, deadline } => {
                let until = deadline.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
                // A later request of the same list may have given it a weight again.
                let entry = self.registry.server_mut(*service, *server);
                if let Some(entry) = entry.filter(|entry| entry.config.weight.0 == 0) {
                    entry.drain = Some(Drain { until });
                }
            }
            ChangeRequest::AddServer { service, server, .. } => {
                if let Some(entry) = self.registry.server_mut(*service, *server) {
                    entry.drain = None;
                }
            }
            _ => {}
        }
    }

    /// Goes by the addresses that the interfaces have now: real servers are asked from them, and no client is
    /// taken to have them.
    pub(in crate::control) fn follow_addresses(&mut self) -> Result<(), DirectorError> {
        self.note_addresses()?;
        if !self.host.has_other_addresses() {
            return Ok(());
        }
        match self.host.refit(&self.registry.rules().services) {
            Ok(host) => {
                let before = std::mem::replace(&mut self.host, host);
                self.tell_responder(&before);
                self.log_askers(&before);
            }
            Err(error) => {
                tracing::warn!(%error, "real servers are asked from the addresses that were there before")
            }
        }
        Ok(())
    }

    /// Logs each address that servers are asked from and were not before.
    fn log_askers(&mut self, before: &ResolvedHost) {
        let askers =
            |host: &ResolvedHost| host.servers.iter().map(|server| server.own).collect::<BTreeSet<_>>();
        for own in askers(&self.host).difference(&askers(before)) {
            self.limiter.log(*own, Instant::now(), || {
                tracing::info!(%own, "real servers are asked from another address of this host");
            });
        }
    }

    /// Tells ARP which real servers have come, gone, or are to be asked from another address.
    fn tell_responder(&self, before: &ResolvedHost) {
        let [gone, come] = difference(&before.servers, &self.host.servers);
        let stays: HashSet<_> = come.iter().map(|server| (server.interface, server.rip)).collect();
        let gone = gone.into_iter().map(|server| (server.interface, server.rip));
        let gone = gone
            .filter(|key| !stays.contains(key))
            .map(|(interface, rip)| ArpEvent::RemoveServer { interface, rip });
        for command in gone.chain(come.into_iter().map(ArpEvent::AddServer)) {
            self.command(command);
        }
    }
}

/// What is only in `old`, and what is only in `new`.
fn difference<T: Copy + Eq + Hash>(old: &[T], new: &[T]) -> [Vec<T>; 2] {
    let without = |all: &[T], others: &[T]| {
        let others: HashSet<T> = others.iter().copied().collect();
        all.iter().filter(|one| !others.contains(one)).copied().collect()
    };
    [without(old, new), without(new, old)]
}

/// Which of `requests` has made the rules invalid: the last that brought about any of what is at fault.
fn blamed(requests: &[ChangeRequest], error: &Diagnostic) -> usize {
    let of = |culprit: &Subject| requests.iter().rposition(|request| request.brings_about(*culprit));
    let last = requests.len().saturating_sub(1);
    error.subjects.iter().filter_map(of).max().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::request::{ServerSettings, ServiceSettings};
    use crate::model::ServiceAddress;
    use crate::wire::Protocol;
    use std::net::IpAddr;

    fn service(vip: u8, port: u16) -> ServiceAddress {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, vip], port).into() }
    }

    fn add(service: ServiceAddress) -> ChangeRequest {
        ChangeRequest::AddService { service, settings: ServiceSettings::default() }
    }

    fn edit(service: ServiceAddress) -> ChangeRequest {
        ChangeRequest::EditService { service, settings: ServiceSettings::default() }
    }

    fn rip(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    fn add_server(service: ServiceAddress, host: u8) -> ChangeRequest {
        ChangeRequest::AddServer { service, server: rip(host), settings: ServerSettings::default() }
    }

    #[test]
    fn the_last_request_that_made_it_so_is_blamed() {
        let (one, two) = (service(1, 80), service(1, 81));
        let requests = [
            ChangeRequest::Clear {},
            add(one),
            add_server(one, 9),
            add(two),
            ChangeRequest::DeleteService { service: one },
            add(one),
            add_server(two, 9),
            edit(one),
            ChangeRequest::EditServer { service: two, server: rip(9), settings: ServerSettings::default() },
            add(service(1, 82)),
        ];
        for (subjects, at) in [
            (vec![Subject::Service(one)], 5),
            (vec![Subject::ServiceSettings(one)], 7),
            (vec![Subject::Service(two)], 3),
            (vec![Subject::Server(one, rip(9))], 2),
            (vec![Subject::Server(two, rip(9))], 6),
            (vec![Subject::ServerSettings(two, rip(9))], 8),
            // Of two that do not go together, the later one.
            (vec![Subject::Server(two, rip(9)), Subject::Service(two)], 6),
            // What was there before nobody has asked for.
            (vec![Subject::Service(service(7, 80)), Subject::Server(two, rip(9))], 6),
            (vec![Subject::Server(two, rip(8))], 9),
            (vec![], 9),
        ] {
            assert_eq!(
                blamed(&requests, &Diagnostic::invalid_rules("", "").about(subjects.clone())),
                at,
                "{subjects:?}"
            );
        }
    }
}
