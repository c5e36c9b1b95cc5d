//! What the listings show: the registry and the workers' counters, put together.

use crate::control::api;
use crate::control::director::links::Carriers;
use crate::control::state::availability::Availability;
use crate::control::state::registry::{Registry, ServerEntry, ServiceEntry, VipState};
use crate::control::workers::{WorkerClient, Workers};
use crate::flow::{Flow, FlowEntry};
use crate::model::{Persistence, ServerId, ServiceAddress, ServiceId, VirtualService};
use crate::schedule::{Loads, Template, Templates};
use crate::stats::DropReason;
use crate::time::{Span, Tick};
use crate::wire::Protocol;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use tokio::sync::mpsc;

/// Connections that are handed on at a time.
const CHUNK: usize = 1024;

/// Everything that listings are made of.
#[derive(Clone, Copy)]
pub struct RuntimeView<'a> {
    /// Services and servers.
    pub registry: &'a Registry,
    /// The workers.
    pub workers: &'a Workers,
    /// Connections of each server.
    pub loads: &'a Loads,
    /// Clients of each server of a persistent service.
    pub templates: &'a Templates,
    /// The interfaces.
    pub(in crate::control) links: &'a Carriers,
    /// Capacity of the connection table.
    pub capacity: u64,
}

impl RuntimeView<'_> {
    /// Every service with its servers, in ipvsadm's order.
    #[must_use]
    pub fn services(&self) -> api::Services {
        let mut services: Vec<_> =
            self.registry.services.iter().map(|service| self.service(service)).collect();
        services.sort_by_key(|service| service.address);
        api::Services { capacity: self.capacity, interfaces: self.links.list(), services }
    }

    /// Every drop reason with its count, in the order of the frame's way.
    #[must_use]
    pub fn drops(&self) -> Vec<api::Drops> {
        let frames =
            |reason| self.workers.handles().iter().map(|handle| handle.counters.drops(reason).get()).sum();
        let of = |reason: &DropReason| api::Drops {
            reason: reason.name().into(),
            frames: frames(*reason),
            explanation: reason.explanation().into(),
        };
        DropReason::ALL.iter().map(of).collect()
    }

    /// Every worker, with a line each to ask it for its latencies.
    #[must_use]
    pub fn workers(&self, backend: &str) -> Vec<(api::Worker, WorkerClient)> {
        let handles = self.workers.handles().iter().enumerate();
        handles.map(|(number, handle)| (worker(number, handle, backend), handle.client())).collect()
    }

    /// The addresses behind the numbers in the connection tables.
    #[must_use]
    pub fn directory(&self) -> IdDirectory {
        let (services, servers) = self.registry.names();
        IdDirectory { services, servers }
    }

    fn service(&self, service: &ServiceEntry) -> api::Service {
        let mut servers: Vec<_> = service.servers.iter().map(|server| self.server(service, server)).collect();
        servers.sort_by_key(|server| server.address);
        api::Service {
            address: service.config.address,
            scheduler: service.config.scheduler.name().into(),
            scheduler_flags: flags(&service.config),
            persistence: service.config.persistence.map(persistence),
            one_packet: service.config.one_packet,
            slow_start: service.config.slow_start.map(Span::secs),
            state: state(service.vip),
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
            ramp: server.ramp(),
            upper_threshold: server.config.upper_threshold,
            lower_threshold: server.config.lower_threshold,
            active: load.active,
            inactive: load.inactive,
            persistent: self.templates.of(server.id),
            state: server.state().into(),
            mac: server.reachability.mac().map(|mac| mac.to_string()),
            stats: server_stats(self.workers, server),
            rates: server.estimator.read(),
        }
    }
}

/// Takes a sample of every total. To be called every [`crate::control::state::rates::INTERVAL`].
pub fn estimate(registry: &mut Registry, workers: &Workers) {
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

/// Since the server was added, or zeroed.
fn server_stats(workers: &Workers, server: &ServerEntry) -> api::Stats {
    totals(workers, server.id) - server.baseline
}

/// What all workers have counted for a server. Nothing goes out: replies bypass the director.
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

fn flags(service: &VirtualService) -> Vec<String> {
    service.scheduler_flags.names(service.scheduler).map(str::to_owned).collect()
}

fn persistence(of: Persistence) -> api::Persistence {
    api::Persistence { timeout: of.timeout.secs(), prefix: of.prefix, engine: None }
}

pub(in crate::control) fn state(vip: VipState) -> String {
    match vip {
        VipState::Probing => "probing".into(),
        VipState::Claimed => "serving".into(),
        VipState::Standby(mac) => format!("standby: {mac} answers ARP for it"),
    }
}

fn worker(number: usize, handle: &crate::control::workers::WorkerHandle, backend: &str) -> api::Worker {
    let counters = &handle.counters;
    let reasons = DropReason::ALL.iter().map(|reason| (reason, counters.drops(*reason).get()));
    let (lost, dropped): (Vec<_>, Vec<_>) = reasons.partition(|(reason, _)| reason.is_before_receive());
    let sum = |drops: Vec<(_, u64)>| drops.iter().map(|(_, frames)| frames).sum();
    let port = |(index, info): (usize, &crate::io::PortInfo)| {
        let levels = counters.levels(index);
        api::Port {
            interface: info.interface.clone(),
            queue: info.queue,
            mode: info.mode.into(),
            receive: levels.receive.into(),
            transmit: levels.transmit.into(),
            fill: levels.fill.into(),
        }
    };
    api::Worker {
        worker: number,
        core: handle.core,
        backend: backend.into(),
        ports: handle.ports.iter().enumerate().map(port).collect(),
        received: counters.received.get(),
        forwarded: counters.forwarded.get(),
        dropped: sum(dropped),
        lost: sum(lost),
        batches: counters.batches.get(),
        sleeps: counters.sleeps.get(),
        entries: counters.entries.get(),
        expired: counters.expired.get(),
        evicted: counters.evicted.get(),
        latency: api::Latency::default(),
    }
}

/// Asks each worker for its latencies. Blocks.
#[must_use]
pub fn with_latencies(workers: Vec<(api::Worker, WorkerClient)>) -> Vec<api::Worker> {
    let ask = |(worker, line): (api::Worker, WorkerClient)| {
        let latency = line.latency().map(|histogram| percentiles(&histogram)).unwrap_or_default();
        api::Worker { latency, ..worker }
    };
    workers.into_iter().map(ask).collect()
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

/// The addresses behind the numbers in a connection table.
#[derive(Clone, Debug)]
pub struct IdDirectory {
    services: HashMap<ServiceId, ServiceAddress>,
    servers: HashMap<ServerId, IpAddr>,
}

impl IdDirectory {
    /// Sends every connection of every worker and every template to `to`, until nobody listens there any
    /// more. Blocks.
    ///
    /// Returns false if a worker did not answer: the list is not whole then.
    #[must_use]
    pub fn list(
        &self,
        (lines, templates): (&[WorkerClient], &Templates),
        now: Tick,
        to: &mpsc::Sender<Vec<api::Connection>>,
    ) -> bool {
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut add = |connection: Option<api::Connection>| {
            chunk.extend(connection);
            if chunk.len() < CHUNK {
                return ControlFlow::Continue(());
            }
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            to.blocking_send(full).map_or(ControlFlow::Break(()), ControlFlow::Continue)
        };
        for line in lines {
            if !line.connections(|entry| add(self.connection(entry, now))) {
                return false;
            }
        }
        let _ = templates.list(now).try_for_each(|template| add(self.template(&template, now)));
        let _ = to.blocking_send(chunk); // a client that went away needs nothing
        true
    }

    /// As IPVS lists it: a connection from port 0 of the client's network.
    /// Only replies assure a UDP template there (`udp_state_transition` in ip_vs_proto_udp.c), and none is seen.
    fn template(&self, template: &Template, now: Tick) -> Option<api::Connection> {
        let service = *self.services.get(&template.key.service)?;
        let assured = template.assured && service.protocol == Protocol::Tcp;
        Some(api::Connection {
            service,
            expires: template.deadline.since(now).secs(),
            state: if assured { "ASSURED" } else { "NONE" }.into(),
            client: (template.key.network, 0).into(),
            server: (*self.servers.get(&template.server)?, service.address.port()).into(),
        })
    }

    /// With the port that the client wrote to, of a wildcard-port service too.
    fn connection(&self, entry: &FlowEntry<Flow>, now: Tick) -> Option<api::Connection> {
        let Flow { client, client_port, service, port } = entry.key;
        let mut service = *self.services.get(&service)?;
        let server = *self.servers.get(&entry.server)?;
        service.address.set_port(port.unwrap_or(service.address.port()));
        Some(api::Connection {
            service,
            expires: entry.deadline.since(now).secs(),
            state: entry.state.name().into(),
            client: (client, client_port).into(),
            server: (server, service.address.port()).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Seed;
    use crossbeam::channel::bounded;

    #[test]
    fn a_list_that_a_worker_does_not_answer_for_is_told_from_a_whole_one() {
        let directory = IdDirectory { services: HashMap::new(), servers: HashMap::new() };
        let templates = Templates::new(0, 0, Seed([1; 4]));
        let (to, mut chunks) = mpsc::channel(1);
        assert!(directory.list((&[], &templates), Tick(0), &to));
        assert_eq!(chunks.try_recv(), Ok(Vec::new()), "no worker, no connection: whole");
        let (requests, inbox) = bounded(1);
        drop(inbox); // as when a worker has ended
        assert!(!directory.list((&[WorkerClient::new(requests)], &templates), Tick(0), &to));
        assert!(chunks.try_recv().is_err(), "nothing that would look like an end");
    }
}
