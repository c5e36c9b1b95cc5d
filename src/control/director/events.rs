//! The director's events: what decides which servers get new connections.

use super::Director;
use crate::control::api::events::EventSource;
use crate::control::api::reasons::ServerReasons;
use crate::control::api::request::ChangeRequest;
use crate::control::log::audit::Origin;
use crate::control::state::events::EventSubject;
use crate::control::state::reasons;
use crate::health::{CheckState, HealthReport};
use crate::model::{OnServerClaim, Weight};
use crate::neighbor::NeighborReport;
use tokio::sync::oneshot;

impl Director {
    /// Records a report of the health checks.
    pub(super) fn record_health(&mut self, report: &HealthReport) {
        match report {
            HealthReport::Check { key, state, cause, .. } => {
                let text = match (state, cause) {
                    (CheckState::Down, Some(cause)) => format!("down: {}", cause.sentence(key)),
                    (CheckState::Down, None) => "down".into(),
                    _ => "up".into(),
                };
                self.events.add_check(key.server, key.to_string(), text);
            }
            HealthReport::Blind { key, error } => {
                let text = match error {
                    Some(error) => format!("no results, so that its state stays: {error}"),
                    None => "results again".into(),
                };
                self.events.add_check(key.server, key.to_string(), text);
            }
            HealthReport::Server { service, server, out, .. } => {
                let text = if *out { "out: no new connections for it" } else { "in use again" };
                let subject = EventSubject::both(*service, *server);
                self.events.add(EventSource::Health, subject, text.into());
                self.notify();
            }
            HealthReport::Weight { service, server, weight, .. } => {
                let before =
                    self.registry.server_mut(*service, *server).and_then(|server| server.dynamic_weight);
                let is_zero = |weight: Option<Weight>| weight == Some(Weight(0));
                // A weight may change with each probe: only whether there is one is an event.
                if is_zero(before) != is_zero(*weight) {
                    let text = if is_zero(*weight) {
                        "weight 0 by its health checks: no new connections for it"
                    } else {
                        "in use again: its health checks no longer set weight 0"
                    };
                    self.events.add(EventSource::Health, EventSubject::both(*service, *server), text.into());
                    self.notify();
                }
            }
            HealthReport::Panic { service, on, down, total } => {
                let text = if *on { "health is ignored" } else { "health counts again" };
                let text = format!("{text}: {down} of the weight of {total} is down");
                self.events.add(EventSource::Panic, EventSubject::service(*service), text);
                self.notify();
            }
            HealthReport::Freeze { on, failing, up } => {
                let text = if *on { "no server goes down" } else { "servers may go down again" };
                let text = format!("{text}: {failing} of {up} health checks that are up fail");
                self.events.add(EventSource::Freeze, EventSubject::default(), text);
            }
        }
    }

    /// Records a report of the neighbor machine, if it is about a real server.
    pub(super) fn record_neighbor(&mut self, report: &NeighborReport) {
        let (rip, text) = match report {
            NeighborReport::Resolved { rip, mac, .. } => (*rip, format!("reachable at {mac}")),
            NeighborReport::Moved { rip, old, new, .. } => {
                (*rip, format!("its MAC address is {new}: {old} no longer answers"))
            }
            NeighborReport::Lost { rip, .. } => {
                let asked = if rip.is_ipv4() { "ARP requests" } else { "neighbor solicitations" };
                (*rip, format!("no new connections for it: it does not answer {asked}"))
            }
            NeighborReport::Held { vip, mac, server: Some(rip) } => {
                let excluded = self.settings.on_server_claim == OnServerClaim::Exclude;
                let effect = if excluded { ": no new connections of it" } else { "" };
                (*rip, format!("it answers for the VIP {vip} from {mac}{effect}"))
            }
            NeighborReport::ConflictOver { vip, server: Some(rip), .. } => {
                (*rip, format!("it no longer answers for the VIP {vip}"))
            }
            _ => return,
        };
        self.events.add(EventSource::Arp, EventSubject::server(rip), text);
    }

    /// Records the operator's holds on the health of servers.
    pub(super) fn record_health_modes(&mut self, requests: &[ChangeRequest], origin: &Origin) {
        for request in requests {
            if let ChangeRequest::SetHealth { service, server, mode } = *request {
                let text = format!("health {mode}, by {origin}");
                self.events.add(EventSource::Operator, EventSubject { service, server }, text);
            }
        }
    }

    /// Sends the reasons for which servers get no new connections to `reply`.
    pub(super) fn report_reasons(&self, reply: oneshot::Sender<Vec<ServerReasons>>) {
        let services = self.registry.services.iter();
        let of = services.flat_map(|service| {
            service.servers.iter().map(move |server| reasons::of(service, server, &self.loads))
        });
        let mut all: Vec<_> = of.collect();
        if let Some(name) = self.carriers.down().first() {
            all.iter_mut().for_each(|server| server.link_down(name));
        }
        let overview = self.health_overview();
        tokio::spawn(async move {
            let overview = overview.await.unwrap_or_default(); // without a thread there are no checks
            reasons::explain(&mut all, &overview.services);
            let _ = reply.send(all); // the client may have disconnected
        });
    }
}
