//! Changes of the running rules: checked as a whole, applied as one snapshot or not at all.
//!
//! The order loses no frame: a removed service leaves the steering set first, then the snapshot; an added one is in the
//! snapshot before it enters the steering set.

use super::Director;
use super::hooks::check_programs;
use super::neighbors::{SetChange, difference};
use crate::control::api::Plan;
use crate::control::api::events::EventSource;
use crate::control::api::request::ChangeRequest;
use crate::control::host::hints;
use crate::control::host::resolve::ResolvedHost;
use crate::control::keeper::memory::write_names;
use crate::control::log::audit;
use crate::control::log::audit::Origin;
use crate::control::state::events::EventSubject;
use crate::control::state::registry::{Drain, TotalsOf};
use crate::control::state::steered::steered;
use crate::control::workers::status;
use crate::model::{Change, Config, Diagnostic, Diagnostics, DirectorConfig, Rules, Subject};
use crate::schedule::ServerLoad;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

impl Director {
    /// Applies all of `requests` or none. Returns a line for each difference; an error is about a
    /// [`Subject::Request`].
    pub(super) fn change(
        &mut self,
        requests: &[ChangeRequest],
        origin: &Origin,
    ) -> Result<Vec<String>, Diagnostic> {
        let before = self.registry.rules();
        let mut rules = before.clone();
        for (index, request) in requests.iter().enumerate() {
            request.apply(&mut rules).map_err(|error| error.about([Subject::Request(index)]))?;
        }
        let host = self.evaluate(&rules).map_err(|invalid| {
            let index = cause(requests, &invalid);
            invalid.about([Subject::Request(index)])
        })?;
        self.apply(&rules, host);
        requests.iter().for_each(|request| self.apply_beyond_rules(request));
        if requests.iter().any(|request| matches!(request, ChangeRequest::SetHealth { .. })) {
            self.configure_health();
            self.record_health_modes(requests, origin);
        }
        if requests.iter().any(|request| matches!(request, ChangeRequest::Drain { .. })) {
            self.publish_or_log(); // a draining server accepts no more clients by their templates
        }
        let differences = before.differences(&rules);
        self.events.add_changes(&differences, &origin.to_string());
        let mut lines: Vec<_> = differences.iter().map(ToString::to_string).collect();
        lines.extend(requests.iter().filter_map(ChangeRequest::beyond_rules));
        audit::changed(origin, &lines);
        Ok(lines)
    }

    /// Applies the rules of a file that was read again. Returns a line for each difference.
    pub(super) fn reload(&mut self, config: &Config) -> Result<Vec<String>, Diagnostics> {
        let rules = config.rules();
        let host = self.evaluate_file(config, &rules)?;
        let differences = self.registry.rules().differences(&rules);
        self.apply(&rules, host);
        self.handover.file = config.to_string();
        self.events.add_changes(&differences, "a reload");
        Ok(differences.iter().map(ToString::to_string).collect())
    }

    /// Evaluates [`Director::reload`] without applying it.
    pub(super) fn plan(&self, config: &Config) -> Plan {
        let rules = config.rules();
        let changes = self.registry.rules().differences(&rules);
        Plan {
            changes: changes.iter().map(ToString::to_string).collect(),
            restarts: self.settings.restarts(&config.director).into_iter().map(Into::into).collect(),
            refusal: self.evaluate_file(config, &rules).err().map(|errors| errors.to_string()),
        }
    }

    /// Evaluates a file: keys that need a restart, each error of the host with its line, then its rules.
    fn evaluate_file(&self, config: &Config, rules: &Rules) -> Result<ResolvedHost, Diagnostics> {
        config.check_restarts(&self.settings)?;
        self.host.validate(config)?;
        Ok(self.evaluate(rules)?)
    }

    /// Evaluates rules without applying them: consistency, this host's interfaces and routes, free ids, steering. Plans, reloads,
    /// changes and drains all come through here. Returns the host with the next hops of the rules.
    fn evaluate(&self, rules: &Rules) -> Result<ResolvedHost, Diagnostic> {
        rules.check()?;
        check_programs(rules)?;
        let host = self.host.re_resolve(&rules.services)?;
        self.registry.check_ids(rules)?;
        self.check_prober(rules)?;
        self.backend.steering.check(&rules.services.iter().flat_map(steered).collect::<Vec<_>>())?;
        Ok(host)
    }

    /// Returns the running configuration.
    pub(super) fn config(&self) -> Config {
        let Rules { services, timeouts, policy, marks } = self.registry.rules();
        Config {
            director: DirectorConfig { timeouts, policy, ..self.settings.clone() },
            services,
            marks,
            places: Default::default(),
        }
    }

    /// Removes draining servers that have no connection left or have reached their deadline.
    ///
    /// While a worker may still use an older snapshot (`adopted` is false), a load of 0 is no evidence.
    pub(super) fn finish_drains(&mut self, adopted: bool) {
        let now = Instant::now();
        let (mut rules, mut over) = (None, Vec::new());
        for service in &self.registry.services {
            for server in &service.servers {
                let Some(drain) = server.drain else { continue };
                let load = self.loads.get(server.id);
                if adopted && load == ServerLoad::default() || drain.until.is_some_and(|until| now >= until) {
                    let (service, rip) = (service.config.identity, server.config.address);
                    let rules = rules.get_or_insert_with(|| self.registry.rules());
                    let _ = rules.change(&Change::DeleteServer(service, rip)); // the registry has the server
                    over.push((service, rip, load));
                }
            }
        }
        let Some(rules) = rules else { return };
        match self.evaluate(&rules) {
            Ok(host) => {
                self.apply(&rules, host);
                for (service, rip, load) in over {
                    audit::drained(service, rip, load);
                    let text = format!("removed with {} connections left", load.active + load.inactive);
                    self.events.add(EventSource::Drain, EventSubject::both(service, rip), text);
                }
            }
            Err(error) => tracing::error!(%error, "drained servers cannot be removed yet"),
        }
    }

    /// Applies the rules that were evaluated, on the host of [`Director::evaluate`].
    fn apply(&mut self, rules: &Rules, host: ResolvedHost) {
        self.handover.generation += 1;
        let workers = &self.backend.workers;
        let totals: TotalsOf<'_> = &|server| status::totals(workers, server);
        let states: HashMap<_, _> =
            self.host.vips.iter().map(|vip| (*vip, self.registry.vip(*vip))).collect();
        self.registry.apply(rules, totals);
        write_names(&mut self.names, &self.registry.names());
        self.renew_sync_names();
        let before = std::mem::replace(&mut self.host, host);
        self.update_vlans(&before);
        self.update_neighbors(&before);
        let SetChange { removed, added } = difference(&before.vips, &self.host.vips);
        for vip in removed {
            let vlans = before.vlans.get(&vip).copied().unwrap_or_default();
            self.keep_vip(vip, vlans, states.get(&vip).copied().flatten());
        }
        self.add_vips(&added);
        self.configure_health();
        self.backend.steering.retain(&self.registry.served());
        self.publish_or_log();
    }

    fn add_vips(&mut self, vips: &[IpAddr]) {
        if !vips.is_empty() {
            self.check_local_vips();
            hints::log_foreign_vips(vips, &self.host);
        }
        vips.iter().for_each(|vip| self.claim_vip(*vip));
    }

    /// Applies the part of a request that is no rule: zeroed counters, the start and the end of a drain.
    fn apply_beyond_rules(&mut self, request: &ChangeRequest) {
        match request {
            ChangeRequest::Zero { service } => {
                let workers = &self.backend.workers;
                self.registry.zero(*service, &|server| status::totals(workers, server));
            }
            ChangeRequest::Drain { service, server, deadline } => {
                let until = deadline.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
                // A later request of the list may have set its weight again.
                let entry = self.registry.server_mut(*service, *server);
                if let Some(entry) = entry.filter(|entry| entry.config.weight.0 == 0) {
                    entry.drain = Some(Drain { until });
                }
            }
            ChangeRequest::SetHealth { service, server, mode } => {
                self.registry.set_health_mode(*service, *server, *mode);
            }
            ChangeRequest::AddServer { service, server, .. } => {
                if let Some(entry) = self.registry.server_mut(*service, *server) {
                    entry.drain = None;
                }
            }
            _ => {}
        }
    }
}

/// Returns the index of the request that made the rules invalid: the last one that introduced a subject.
fn cause(requests: &[ChangeRequest], invalid: &Diagnostic) -> usize {
    let culprits = invalid.subjects.iter();
    let introduced =
        culprits.filter_map(|culprit| requests.iter().rposition(|request| request.introduces(*culprit)));
    introduced.max().unwrap_or(requests.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::request::{ServerSettings, ServiceSettings};
    use crate::model::{ServiceAddress, ServiceIdentity};
    use crate::wire::Protocol;

    fn service(vip: u8, port: u16) -> ServiceIdentity {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, vip], port).into() }.into()
    }

    fn add(service: ServiceIdentity) -> ChangeRequest {
        ChangeRequest::AddService { service, settings: ServiceSettings::default() }
    }

    fn edit(service: ServiceIdentity) -> ChangeRequest {
        ChangeRequest::EditService { service, settings: ServiceSettings::default() }
    }

    fn rip(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    fn add_server(service: ServiceIdentity, host: u8) -> ChangeRequest {
        ChangeRequest::AddServer { service, server: rip(host), settings: ServerSettings::default() }
    }

    #[test]
    fn last_request_that_introduced_a_subject_is_the_cause() {
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
            // Of two requests in conflict, the later one.
            (vec![Subject::Server(two, rip(9)), Subject::Service(two)], 6),
            // A subject of the rules before is skipped.
            (vec![Subject::Service(service(7, 80)), Subject::Server(two, rip(9))], 6),
            (vec![Subject::Server(two, rip(8))], 9),
            (vec![], 9),
        ] {
            assert_eq!(
                cause(&requests, &Diagnostic::invalid_rules("", "").about(subjects.clone())),
                at,
                "{subjects:?}"
            );
        }
    }
}
