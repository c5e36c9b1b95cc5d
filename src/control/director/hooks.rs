//! The director's hooks: quorums of the services, and the programs that are called at changes.

use super::Director;
use crate::control::api::events::{Event, EventSource};
use crate::control::hooks::HookCall;
use crate::control::state::events::EventSubject;
use crate::control::state::quorum::QuorumChange;
use crate::control::state::registry::ServiceEntry;
use crate::model::{CheckKind, Diagnostic, HealthCheck, Rules, VirtualService};
use serde::Serialize;
use std::collections::BTreeSet;

/// The facts for a program.
#[derive(Serialize)]
struct HookFacts<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// For a change of the quorum, whether it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    quorum_up: Option<bool>,
}

/// Refuses hooks and scripts of a director that is still root: they are to run as an ordinary user.
///
/// # Errors
/// With the service that has one.
pub(super) fn check_programs(rules: &Rules) -> Result<(), Diagnostic> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let programs = |service| programs_of(service).map(|programs| (service.identity, programs));
    match rules.services.iter().find_map(programs) {
        None => Ok(()),
        Some((service, programs)) => Err(Diagnostic::invalid_rules(
            format!("{service} has {programs}, and the director runs as root"),
            "add user = \"directrix\" to [director], or remove them from the service",
        )),
    }
}

/// Names the keys of the programs that a service has.
fn programs_of(service: &VirtualService) -> Option<&'static str> {
    let is_script = |check: &HealthCheck| matches!(check.kind, CheckKind::Script(_));
    let mut servers = service.servers.iter();
    if !service.effects.hooks.is_empty() {
        Some("notify, quorum_up or quorum_down")
    } else if servers.any(|server| service.checks_of(server).any(is_script)) {
        Some("a check of type \"script\"")
    } else {
        None
    }
}

impl Director {
    /// Calls the program `notify` of the service of the latest event.
    pub(super) fn notify(&mut self) {
        let Some(event) = self.events.latest() else { return };
        let mut services = self.registry.services.iter();
        let service = services.find(|service| Some(service.config.identity) == event.service);
        if let Some(program) = service.and_then(|service| service.config.effects.hooks.notify.clone()) {
            self.hooks.call(call(program, event, None));
        }
    }

    /// Calls the programs `notify` of all services for the latest event, each program once.
    pub(super) fn notify_all(&mut self) {
        let Some(event) = self.events.latest() else { return };
        let services = self.registry.services.iter();
        let programs: BTreeSet<_> =
            services.filter_map(|one| one.config.effects.hooks.notify.clone()).collect();
        programs.into_iter().for_each(|program| self.hooks.call(call(program, event, None)));
    }

    /// Follows the quorums of the services, once the director is ready. Returns true if one has changed.
    pub(super) fn check_quorums(&mut self) -> bool {
        if !self.is_ready() {
            return false;
        }
        let changes: Vec<_> =
            self.registry.services.iter_mut().filter_map(ServiceEntry::check_quorum).collect();
        let any = !changes.is_empty();
        for QuorumChange { service, weight: quorum, live, up } in changes {
            let text = if up {
                tracing::info!(%service, live, quorum, "the quorum of the service is reached");
                format!("the quorum of {quorum} is reached: weight {live} gets new connections")
            } else {
                tracing::warn!(%service, live, quorum, "the quorum of the service is lost");
                format!("the quorum of {quorum} is lost: weight {live} gets new connections")
            };
            self.events.add(EventSource::Quorum, EventSubject::service(service), text);
            self.call_quorum_hook(up);
            self.notify();
        }
        any
    }

    /// Logs and records which sorry servers the next snapshot brings into use, or out of it.
    pub(super) fn report_sorry_servers(&mut self) {
        let changes = self.registry.services.iter_mut().filter_map(|service| {
            let in_use = service.follow_quorum()?;
            let server = service.sorry_server()?.config.address;
            Some((service.config.identity, server, in_use))
        });
        for (service, server, in_use) in changes.collect::<Vec<_>>() {
            let text = if in_use {
                tracing::warn!(%service, rip = %server, "the sorry server gets all new connections of the service");
                "the sorry server: it gets all new connections, as the quorum is lost"
            } else {
                tracing::info!(%service, rip = %server, "the sorry server gets no more new connections");
                "the sorry server: it gets no more new connections"
            };
            self.events.add(EventSource::Quorum, EventSubject::both(service, server), text.into());
            self.notify();
        }
    }

    /// Calls the program for the quorum that the latest event is about.
    fn call_quorum_hook(&mut self, up: bool) {
        let latest = self.events.latest().and_then(|event| Some((event, event.service?)));
        let Some((event, service)) = latest else { return };
        let entry = self.registry.services.iter().find(|one| one.config.identity == service);
        let hooks = entry.map(|entry: &ServiceEntry| &entry.config.effects.hooks);
        let program =
            hooks.and_then(|hooks| if up { hooks.quorum_up.clone() } else { hooks.quorum_down.clone() });
        if let Some(program) = program {
            self.hooks.call_for_quorum(service, call(program, event, Some(up)));
        }
    }
}

fn call(program: String, event: &Event, quorum_up: Option<bool>) -> HookCall {
    let facts = serde_json::to_string(&HookFacts { event, quorum_up }).unwrap_or_default(); // plain data
    HookCall { program, facts: facts + "\n" }
}
