//! Virtual services and real servers.

use super::page::{Label, MetricsPage};
use crate::control::api::{Server, Service, Services, Stats};
use crate::model::{FirewallMark, ServiceAddress, ServiceIdentity};
use prometheus_client::registry::Unit;
use std::fmt;

/// Known states of a service; each has a sample.
const SERVICE_STATES: &[&str] = &["probing", "claimed", "released", "standby"];
/// Known states of a real server.
const SERVER_STATES: &[&str] = &[
    "resolving",
    "reachable",
    "unreachable",
    "draining",
    "down",
    "ejected",
    "claims_vip",
    "standby",
    "no_quorum",
];

/// A service with its labels, shared by all families.
struct ServiceRow<'a> {
    service: &'a Service,
    labels: [Label; 3],
}

/// A real server with its labels.
struct ServerRow<'a> {
    server: &'a Server,
    labels: [Label; 4],
}

pub(super) fn write(services: &Services, page: &mut MetricsPage<'_>) -> fmt::Result {
    let services: Vec<_> = services.services.iter().map(ServiceRow::new).collect();
    let servers: Vec<_> = services.iter().flat_map(ServiceRow::servers).collect();
    write_services(&services, page)?;
    write_servers(&servers, page)
}

fn write_services(rows: &[ServiceRow<'_>], page: &mut MetricsPage<'_>) -> fmt::Result {
    let schedulers =
        rows.iter().map(|row| (row.labels.clone(), [("scheduler", row.service.scheduler.clone())]));
    page.info("service", "A virtual service and its scheduler.", schedulers)?;
    let states = rows.iter().flat_map(|row| states(&row.labels, &row.service.state, SERVICE_STATES));
    page.gauges(("service_state", None), "1 for the state that the VIP of the service is in.", states)?;
    let available = rows.iter().map(|row| (row.labels.clone(), row.service.available as u64));
    let help =
        "Real servers that take new connections: weight above 0, reachable, below their upper threshold.";
    page.gauges(("service_available_servers", None), help, available)?;
    let in_use = rows.iter().filter_map(|row| {
        let sorry = row.service.servers.iter().find(|server| server.sorry_server)?;
        Some((row.labels.clone(), u32::from(sorry.counted_weight() > 0)))
    });
    let in_use: Vec<_> = in_use.collect();
    if !in_use.is_empty() {
        let help = "1 while the sorry server gets all new connections: the quorum of the service is lost.";
        page.gauges(("service_sorry_server_in_use", None), help, in_use)?;
    }
    for total in TOTALS {
        let values = rows.iter().map(|row| (row.labels.clone(), (total.read)(&row.service.stats)));
        let help = format!("{} for the virtual service.", total.help);
        page.counters((&format!("service{}", total.name), total.unit.clone()), &help, values)?;
    }
    Ok(())
}

fn write_servers(rows: &[ServerRow<'_>], page: &mut MetricsPage<'_>) -> fmt::Result {
    for total in TOTALS {
        let values = rows.iter().map(|row| (row.labels.clone(), (total.read)(&row.server.stats)));
        let help = format!("{} to the real server.", total.help);
        page.counters((&format!("server{}", total.name), total.unit.clone()), &help, values)?;
    }
    for (name, help, level) in SERVER_GAUGES {
        let values = rows.iter().map(|row| (row.labels.clone(), level(row.server)));
        page.gauges((name, None), help, values)?;
    }
    let states = rows.iter().flat_map(|row| states(&row.labels, &row.server.state, SERVER_STATES));
    page.gauges(("server_state", None), "1 for the state that the real server is in.", states)
}

/// A counter that services and real servers have in common.
struct Total {
    name: &'static str,
    unit: Option<Unit>,
    /// Ends before "for the virtual service" and "to the real server".
    help: &'static str,
    read: fn(&Stats) -> u64,
}

const TOTALS: &[Total] = &[
    Total { name: "_connections", unit: None, help: "Connections opened", read: |stats| stats.connections },
    Total { name: "_packets", unit: None, help: "Packets forwarded", read: |stats| stats.in_packets },
    Total { name: "", unit: Some(Unit::Bytes), help: "IP bytes forwarded", read: |stats| stats.in_bytes },
];

type ServerGauge = (&'static str, &'static str, fn(&Server) -> u32);

const SERVER_GAUGES: &[ServerGauge] = &[
    ("server_active_connections", "Connections that are opening or established now.", |server| server.active),
    (
        "server_inactive_connections",
        "Connections that are closing or closed now, and all of UDP.",
        |server| server.inactive,
    ),
    ("server_persistent_connections", "Clients that persistence binds to the server.", |server| {
        server.persistent
    }),
    (
        "server_suspected",
        "1 while TCP handshakes with the server fail and those with its siblings do not, also while it is ejected.",
        |server| server.suspected.into(),
    ),
    ("server_handshakes_opened", "TCP handshakes opened in ten seconds, three seconds ago.", |server| {
        server.handshakes.opened
    }),
    ("server_handshakes_failed", "Those of them that no client completed.", |server| {
        server.handshakes.failed
    }),
    ("server_weight", "Share of new connections relative to its siblings; 0 for none.", |server| {
        server.weight.into()
    }),
];

/// Returns a sample for each state: 1 for `now`, 0 for the others.
fn states<const N: usize>(
    labels: &[Label; N],
    now: &str,
    known: &'static [&'static str],
) -> impl Iterator<Item = (([Label; N], [Label; 1]), u32)> {
    let now = state_name(now);
    let new = (!known.contains(&now.as_str())).then(|| now.clone());
    let all = known.iter().map(|state| (*state).to_owned()).chain(new);
    all.map(move |state| {
        let is_now = u32::from(state == now);
        ((labels.clone(), [("state", state)]), is_now)
    })
}

/// Returns a state as a label value, without its explanation.
fn state_name(state: &str) -> String {
    let name = state.split_once(':').map_or(state, |(name, _)| name);
    name.replace(' ', "_")
}

/// Returns the labels of a service.
pub(super) fn labels(identity: ServiceIdentity) -> [Label; 3] {
    match identity {
        ServiceIdentity::Address(ServiceAddress { protocol, address }) => [
            ("protocol", protocol.to_string().to_lowercase()),
            ("vip", address.ip().to_string()),
            ("port", address.port().to_string()),
        ],
        ServiceIdentity::Mark(FirewallMark { mark, family }) => [
            ("protocol", "fwm".to_owned()),
            ("mark", mark.to_string()),
            ("family", family.to_string().to_lowercase()),
        ],
    }
}

impl<'a> ServiceRow<'a> {
    fn new(service: &'a Service) -> Self {
        Self { service, labels: labels(service.identity) }
    }

    fn servers(&self) -> impl Iterator<Item = ServerRow<'a>> {
        let [protocol, first, second] = self.labels.clone();
        self.service.servers.iter().map(move |server| {
            let rip = ("server", server.address.ip().to_string());
            ServerRow { server, labels: [protocol.clone(), first.clone(), second.clone(), rip] }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(now: &str) -> Vec<(String, u32)> {
        let labels = [("vip", "192.0.2.1".to_owned())];
        states(&labels, now, SERVICE_STATES).map(|((_, [(_, state)]), is)| (state, is)).collect()
    }

    #[test]
    fn a_group_is_labelled_by_mark_and_family() {
        let json = r#"{"mark": 7, "family": "ipv6", "scheduler": "wlc", "state": "claimed", "servers": [],
            "stats": {"connections": 0, "in_packets": 0, "out_packets": 0, "in_bytes": 0, "out_bytes": 0},
            "rates": {"connections": 0, "in_packets": 0, "out_packets": 0, "in_bytes": 0, "out_bytes": 0}}"#;
        let service: Service = serde_json::from_str(json).unwrap();
        let labels = ServiceRow::new(&service).labels.map(|(name, value)| format!("{name}={value}"));
        assert_eq!(labels, ["protocol=fwm", "mark=7", "family=ipv6"]);
    }

    #[test]
    fn each_known_state_has_a_sample_and_one_is_set() {
        let named = |rows: [(&str, u32); 4]| rows.map(|(state, is)| (state.to_owned(), is)).to_vec();
        assert_eq!(of("claimed"), named([("probing", 0), ("claimed", 1), ("released", 0), ("standby", 0)]));
        let standby = of("standby: 02:00:00:00:00:09 answers for it");
        assert_eq!(standby, named([("probing", 0), ("claimed", 0), ("released", 0), ("standby", 1)]));
    }

    #[test]
    fn unknown_state_has_a_sample() {
        let rows = of("being drained");
        assert_eq!(rows.last(), Some(&("being_drained".to_owned(), 1)));
        assert_eq!(rows.iter().map(|(_, is)| is).sum::<u32>(), 1);
    }
}
