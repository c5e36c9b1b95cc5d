//! The listings of the API: registry, carriers and the workers' counters.

use crate::control::api;
use crate::control::host::carriers::Carriers;
use crate::control::state::availability::Availability;
use crate::control::state::registry::{Registry, ServerEntry, ServiceEntry, VipState};
use crate::control::state::snapshot::IdAddresses;
use crate::control::workers::{ShadowTables, WorkerClient, WorkerHandle, Workers};
use crate::flow::{Flow, FlowEntry, FlowKey};
use crate::health::passive::Figures;
use crate::model::{FTP, Persistence, ServerId, ServiceAddress, ServiceIdentity, VirtualService};
use crate::schedule::{Loads, Template, Templates};
use crate::shadow::{ShadowClock, ShadowEntry, ShadowKey, ShadowReader, ShadowValue};
use crate::stats::{DropReason, Handshakes};
use crate::time::{Span, Tick};
use crate::wire::Protocol;
use hdrhistogram::Histogram;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Connections per chunk of a listing.
const CHUNK: usize = 1024;

/// The sources of the listings.
#[derive(Clone, Copy)]
pub struct RuntimeView<'a> {
    /// Services and servers.
    pub registry: &'a Registry,
    /// Worker threads.
    pub workers: &'a Workers,
    /// Load of each server.
    pub loads: &'a Loads,
    /// Templates of persistent services.
    pub templates: &'a Templates,
    /// Carriers of the interfaces.
    pub(in crate::control) carriers: &'a Carriers,
    /// Capacity of the connection table.
    pub capacity: u64,
}

impl RuntimeView<'_> {
    /// Lists every service with its servers, in ipvsadm's order.
    #[must_use]
    pub fn services(&self) -> api::Services {
        let mut services: Vec<_> =
            self.registry.services.iter().map(|service| self.service(service)).collect();
        services.sort_by_key(|service| service.identity);
        api::Services { capacity: self.capacity, interfaces: self.carriers.list(), services }
    }

    /// Lists every drop reason with its count, in the order of the checks of a frame.
    #[must_use]
    pub fn drops(&self) -> Vec<api::Drops> {
        let frames =
            |reason| self.workers.handles().iter().map(|handle| handle.counters.drops(reason).get()).sum();
        let drops = DropReason::ALL.iter().map(|reason| api::Drops {
            reason: reason.name().into(),
            frames: frames(*reason),
            explanation: reason.explanation().into(),
        });
        drops.collect()
    }

    /// Lists every worker, each with a client for its latencies.
    #[must_use]
    pub fn workers(&self, backend: &str) -> Vec<(api::Worker, WorkerClient)> {
        let handles = self.workers.handles().iter().enumerate();
        handles.map(|(number, handle)| (worker(number, handle, backend), handle.client())).collect()
    }

    fn service(&self, service: &ServiceEntry) -> api::Service {
        let mut servers: Vec<_> = service.servers.iter().map(|server| self.server(service, server)).collect();
        servers.sort_by_key(|server| server.address);
        api::Service {
            identity: service.config.identity,
            matches: service.config.group.iter().map(ToString::to_string).collect(),
            vlan: service.config.vlan,
            scheduler: service.config.scheduler.name().into(),
            scheduler_flags: flags(&service.config),
            persistence: service.config.persistence.map(persistence),
            one_packet: service.config.one_packet,
            slow_start: service.config.slow_start.map(Span::secs),
            state: service_state(service),
            available: Availability::of(service, self.loads).available,
            stats: service_stats(self.workers, service),
            rates: service.estimator.read(),
            servers,
        }
    }

    fn server(&self, service: &ServiceEntry, server: &ServerEntry) -> api::Server {
        let load = self.loads.get(server.id);
        api::Server {
            address: service.server_address(server),
            forwarding: api::Forwarding::Route,
            weight: server.config.weight.0,
            effective_weight: Some(server.effective_weight()),
            listed: service.lists(server),
            sorry_server: server.is_sorry(),
            slow_start_percent: server.slow_start_percent(),
            upper_threshold: server.config.upper_threshold,
            lower_threshold: server.config.lower_threshold,
            active: load.active,
            inactive: load.inactive,
            persistent: self.templates.of(server.id),
            state: server.state().into(),
            suspected: server.passive.is_suspected(),
            handshakes: handshakes_in_window(server.passive.figures),
            mac: server.reachability.mac().map(|mac| mac.to_string()),
            stats: server_stats(self.workers, server),
            rates: server.estimator.read(),
        }
    }
}

/// Samples every total for the rates, every [`crate::control::state::rates::INTERVAL`].
pub fn update_rates(registry: &mut Registry, workers: &Workers) {
    for service in &mut registry.services {
        let stats = service_stats(workers, service);
        service.estimator.update(stats);
        for server in &mut service.servers {
            let stats = server_stats(workers, server);
            server.estimator.update(stats);
        }
    }
}

fn service_stats(workers: &Workers, service: &ServiceEntry) -> api::Stats {
    service.servers.iter().map(|server| server_stats(workers, server)).fold(service.past, std::ops::Add::add)
}

/// Returns the totals since the server was added or zeroed.
fn server_stats(workers: &Workers, server: &ServerEntry) -> api::Stats {
    totals(workers, server.id) - server.baseline
}

/// Sums the counters of all workers for a server id. Outgoing counts are 0: replies bypass the director.
#[must_use]
pub fn totals(workers: &Workers, server: ServerId) -> api::Stats {
    let each = workers.handles().iter().map(|handle| handle.counters.server(server));
    each.fold(api::Stats::default(), |sum, counters| api::Stats {
        connections: sum.connections + counters.connections.get(),
        in_packets: sum.in_packets + counters.packets.get(),
        in_bytes: sum.in_bytes + counters.bytes.get(),
        ..sum
    })
}

/// Sums the handshakes of all workers for a server id.
pub(in crate::control) fn handshakes(workers: &Workers, server: ServerId) -> Handshakes {
    workers.handles().iter().map(|handle| handle.counters.handshakes(server).get()).sum()
}

fn handshakes_in_window(Figures { opened, failed, repeated }: Figures) -> api::Handshakes {
    api::Handshakes { opened, failed, repeated }
}

fn flags(service: &VirtualService) -> Vec<String> {
    service.scheduler_flags.names(service.scheduler).map(str::to_owned).collect()
}

fn persistence(of: Persistence) -> api::Persistence {
    api::Persistence { timeout: of.timeout.secs(), prefix: of.prefix, engine: None }
}

/// Returns the state of the VIP; of several, that of the first one that is not claimed.
fn service_state(service: &ServiceEntry) -> String {
    match service.least_vip() {
        None => vip_state(VipState::Probing),
        Some((vip, VipState::Standby(mac))) if service.vips.len() > 1 => {
            format!("standby: {mac} answers for {vip}")
        }
        Some((_, state)) => vip_state(state),
    }
}

pub(in crate::control) fn vip_state(vip: VipState) -> String {
    match vip {
        VipState::Probing => "probing".into(),
        VipState::Claimed => "claimed".into(),
        VipState::Released => "released".into(),
        VipState::Standby(mac) => format!("standby: {mac} answers for it"),
    }
}

fn worker(number: usize, handle: &WorkerHandle, backend: &str) -> api::Worker {
    let counters = &handle.counters;
    let reasons = DropReason::ALL.iter().map(|reason| (reason, counters.drops(*reason).get()));
    let (lost, dropped): (Vec<_>, Vec<_>) = reasons.partition(|(reason, _)| reason.is_before_receive());
    let sum = |drops: Vec<(_, u64)>| drops.iter().map(|(_, frames)| frames).sum();
    let ports = handle.ports.iter().enumerate().map(|(index, info)| {
        let levels = counters.levels(index);
        api::Port {
            interface: info.interface.clone(),
            queue: info.queue,
            mode: info.mode.into(),
            receive: levels.receive.into(),
            transmit: levels.transmit.into(),
            fill: levels.fill.into(),
        }
    });
    api::Worker {
        worker: number,
        core: handle.core,
        backend: backend.into(),
        ports: ports.collect(),
        received: counters.received.get(),
        forwarded: counters.forwarded.get(),
        dropped: sum(dropped),
        lost: sum(lost),
        batches: counters.batches.get(),
        sleeps: counters.sleeps.get(),
        entries: counters.entries.get(),
        expired: counters.expired.get(),
        evicted: counters.evicted.get(),
        handed_over: counters.handed_over.get(),
        latency: api::Latency::default(),
    }
}

/// Adds the latencies of each worker. Blocks.
#[must_use]
pub fn with_latencies(workers: Vec<(api::Worker, WorkerClient)>) -> Vec<api::Worker> {
    let workers = workers.into_iter().map(|(worker, client)| {
        let latency = client.latency().map(|histogram| percentiles(&histogram)).unwrap_or_default();
        api::Worker { latency, ..worker }
    });
    workers.collect()
}

fn percentiles(histogram: &Histogram<u64>) -> api::Latency {
    if histogram.is_empty() {
        return api::Latency::default();
    }
    api::Latency {
        samples: histogram.len(),
        p50_ns: histogram.value_at_quantile(0.5),
        p90_ns: histogram.value_at_quantile(0.9),
        p99_ns: histogram.value_at_quantile(0.99),
        max_ns: histogram.max(),
    }
}

/// The parameters of a listing of connections.
pub(in crate::control) struct ListingTask {
    pub(in crate::control) ids: IdAddresses,
    pub(in crate::control) workers: Vec<WorkerClient>,
    pub(in crate::control) templates: Arc<Templates>,
    /// Connections that no worker has: of the process before, or of another director.
    pub(in crate::control) shadow: Option<ShadowTables>,
    /// Time that deadlines are compared with.
    pub(in crate::control) now: Tick,
}

impl ListingTask {
    /// Sends every connection of every worker and every template to `chunks`, until its receiver is dropped. Blocks.
    ///
    /// Returns false if a worker did not answer: the list is incomplete then.
    #[must_use]
    pub(in crate::control) fn send(&self, chunks: &mpsc::Sender<Vec<api::Connection>>) -> bool {
        let (ids, now) = (&self.ids, self.now);
        let mut list = ChunkedList { chunk: Vec::with_capacity(CHUNK), chunks };
        for worker in &self.workers {
            if !worker.connections(|entry| list.push(connection_line(ids, entry, now))) {
                return false;
            }
        }
        if let Some(ShadowTables { compact, wide, clock }) = &self.shadow {
            let mut add = |entry| list.push(connection_line(ids, &entry, now));
            let _ = unowned(compact, clock, now).try_for_each(&mut add);
            let _ = unowned(wide, clock, now).try_for_each(&mut add);
        }
        let _ =
            self.templates.list(now).try_for_each(|template| list.push(template_line(ids, &template, now)));
        let _ = chunks.blocking_send(list.chunk); // the client may have disconnected
        true
    }
}

/// The entries of a shadow table that no worker has.
fn unowned<K: ShadowKey + FlowKey>(
    table: &ShadowReader<K>,
    clock: &ShadowClock,
    now: Tick,
) -> impl Iterator<Item = FlowEntry<Flow>> {
    let second = clock.second(now);
    let entries = (0..table.buckets()).flat_map(|bucket| table.entries(bucket));
    let stands = move |value: &ShadowValue| value.owner.is_none() && !second.reached(value.deadline);
    entries.filter(move |entry| stands(&entry.value)).map(move |ShadowEntry { key, value }| FlowEntry {
        key: key.flow(),
        deadline: clock.tick(value.deadline, now),
        server: value.server,
        state: value.state,
        template: value.template,
    })
}

/// Collects connections and sends them in chunks.
struct ChunkedList<'a> {
    chunk: Vec<api::Connection>,
    chunks: &'a mpsc::Sender<Vec<api::Connection>>,
}

impl ChunkedList<'_> {
    /// Adds a connection; breaks once the receiver is dropped.
    fn push(&mut self, connection: Option<api::Connection>) -> ControlFlow<()> {
        self.chunk.extend(connection);
        if self.chunk.len() < CHUNK {
            return ControlFlow::Continue(());
        }
        let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        match self.chunks.blocking_send(full) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Converts a template as IPVS lists it: a connection from port 0 of the client's network.
///
/// IPVS assures a UDP template on replies only (`udp_state_transition` in ip_vs_proto_udp.c), and the director sees none.
fn template_line(ids: &IdAddresses, template: &Template, now: Tick) -> Option<api::Connection> {
    let service = *ids.services.get(&template.key.service)?;
    let protocol = service.address().map(|of| of.protocol);
    let assured = template.assured && protocol != Some(Protocol::Udp);
    let service = without_ftp_port(service);
    Some(api::Connection {
        service,
        group: None,
        expires: template.deadline.since(now).secs(),
        state: if assured { "ASSURED" } else { "NONE" }.into(),
        client: (template.key.network, 0).into(),
        server: (*ids.servers.get(&template.server)?, service.port()).into(),
    })
}

/// Returns a service as its templates name it: with port 0 for FTP, as they are of its data connections, too
/// (`ip_vs_sched_persist` in net/netfilter/ipvs/ip_vs_core.c).
fn without_ftp_port(service: ServiceIdentity) -> ServiceIdentity {
    match service {
        ServiceIdentity::Address(of) if of.address.port() == FTP => {
            ServiceAddress { address: (of.address.ip(), 0).into(), ..of }.into()
        }
        other => other,
    }
}

/// Converts a connection, with the destination port also for a match of several ports.
fn connection_line(ids: &IdAddresses, entry: &FlowEntry<Flow>, now: Tick) -> Option<api::Connection> {
    let Flow { client, client_port, match_id, port } = entry.key;
    let (service, of) = *ids.matches.get(&match_id)?;
    let server = *ids.servers.get(&entry.server)?;
    let port = port.or(of.port)?;
    Some(api::Connection {
        service: ServiceAddress { protocol: of.protocol, address: (of.vip, port).into() }.into(),
        group: ids.services.get(&service).and_then(|of| of.mark()),
        expires: entry.deadline.since(now).secs(),
        state: entry.state.name().into(),
        client: (client, client_port).into(),
        server: (server, port).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Seed;
    use crossbeam::channel::bounded;
    use std::collections::HashMap;

    #[test]
    fn a_connection_names_the_group_that_took_it() {
        use crate::flow::ConnState;
        use crate::model::{FirewallMark, IpFamily, MatchDestination, MatchId, ServiceId};
        let mark = FirewallMark { mark: 7.try_into().unwrap(), family: IpFamily::Ipv4 };
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        let of = |id: u16, port| {
            let destination = MatchDestination { protocol: Protocol::Tcp, vip: [192, 0, 2, 1].into(), port };
            (MatchId(id), (ServiceId(id), destination))
        };
        let ids = IdAddresses {
            services: [(ServiceId(0), address.into()), (ServiceId(1), mark.into())].into(),
            matches: [of(0, Some(80)), of(1, None)].into(),
            servers: [(ServerId(3), [192, 0, 2, 9].into())].into(),
        };
        let line = |id, port| {
            let client = [203, 0, 113, 1].into();
            let key = Flow { client, client_port: 40_000, match_id: MatchId(id), port };
            let (state, deadline) = (ConnState::Established, Tick(1000));
            let entry = FlowEntry { key, state, deadline, server: ServerId(3), template: 0 };
            let line = connection_line(&ids, &entry, Tick(0)).unwrap();
            (line.service.to_string(), line.group, line.server.to_string())
        };
        assert_eq!(line(0, None), ("TCP 192.0.2.1:80".into(), None, "192.0.2.9:80".into()));
        assert_eq!(line(1, Some(443)), ("TCP 192.0.2.1:443".into(), Some(mark), "192.0.2.9:443".into()));
    }

    #[test]
    fn listing_without_a_worker_s_reply_is_incomplete() {
        let (chunks, mut received) = mpsc::channel(1);
        let listing = |workers| ListingTask {
            ids: IdAddresses { services: HashMap::new(), matches: HashMap::new(), servers: HashMap::new() },
            workers,
            shadow: None,
            templates: Arc::new(Templates::new(0, 0, Seed([1; 4]))),
            now: Tick(0),
        };
        assert!(listing(Vec::new()).send(&chunks));
        assert_eq!(received.try_recv(), Ok(Vec::new()), "without workers it is empty and complete");
        let (requests, inbox) = bounded(1);
        drop(inbox); // as when a worker has ended
        assert!(!listing(vec![WorkerClient::new(requests)]).send(&chunks));
        assert!(received.try_recv().is_err(), "no chunk that would end the list");
    }
}
