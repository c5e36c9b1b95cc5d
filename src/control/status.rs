//! What the listings show: the registry and the workers' counters, put together.

use super::api;
use super::crew::{Crew, Line};
use super::rates::Estimator;
use super::registry::{Registry, ServerEntry, ServiceEntry, VipState};
use crate::flow::{Entry, V4Key};
use crate::model::{ServerId, ServiceAddress};
use crate::schedule::Loads;
use crate::stats::DropReason;
use crate::time::Tick;
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use tokio::sync::mpsc;

/// Connections that are handed on at a time.
const CHUNK: usize = 1024;

/// The estimators of all services and servers.
#[derive(Debug, Default)]
pub struct Estimators {
    services: Vec<Estimator>,
    servers: Vec<Estimator>,
}

/// Everything that listings are made of.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Services and servers.
    pub registry: &'a Registry,
    /// The workers.
    pub crew: &'a Crew,
    /// Connections of each server.
    pub loads: &'a Loads,
    /// Capacity of the connection table.
    pub capacity: u64,
}

impl View<'_> {
    /// Every service with its servers, in ipvsadm's order.
    #[must_use]
    pub fn services(&self, estimators: &Estimators) -> api::Services {
        let of = self.registry.services.iter().enumerate();
        let mut services: Vec<_> =
            of.map(|(index, service)| self.service(service, index, estimators)).collect();
        services.sort_by_key(|service| service.address);
        api::Services { capacity: self.capacity, services }
    }

    /// Takes a sample of every total. To be called every [`super::rates::INTERVAL`].
    pub fn estimate(&self, estimators: &mut Estimators) {
        let services = &self.registry.services;
        estimators.services.resize_with(services.len(), Estimator::new);
        estimators.servers.resize_with(self.registry.server_count(), Estimator::new);
        for (service, estimator) in services.iter().zip(&mut estimators.services) {
            estimator.update(self.service_stats(service));
            for server in &service.servers {
                estimators.servers[usize::from(server.id.0)].update(self.stats(server.id));
            }
        }
    }

    /// Every drop reason with its count, in the order of the frame's way.
    #[must_use]
    pub fn drops(&self) -> Vec<api::Drops> {
        let frames =
            |reason| self.crew.members().iter().map(|member| member.counters.drops(reason).get()).sum();
        let of = |reason: &DropReason| api::Drops {
            reason: reason.name().into(),
            frames: frames(*reason),
            explanation: reason.explanation().into(),
        };
        DropReason::ALL.iter().map(of).collect()
    }

    /// Every worker, with a line each to ask it for its latencies.
    #[must_use]
    pub fn workers(&self, backend: &str) -> Vec<(api::Worker, Line)> {
        let members = self.crew.members().iter().enumerate();
        members.map(|(number, member)| (worker(number, member, backend), member.line())).collect()
    }

    /// Who is who in the connection tables.
    #[must_use]
    pub fn directory(&self) -> Directory {
        let mut servers: Vec<_> = self
            .registry
            .services
            .iter()
            .flat_map(|service| {
                service.servers.iter().map(|server| (server.id, service.server_address(server)))
            })
            .collect();
        servers.sort_by_key(|(id, _)| *id);
        Directory {
            services: self.registry.services.iter().map(|service| service.address).collect(),
            servers: servers.into_iter().map(|(_, address)| address).collect(),
        }
    }

    fn service(&self, service: &ServiceEntry, index: usize, estimators: &Estimators) -> api::Service {
        let mut servers: Vec<_> =
            service.servers.iter().map(|server| self.server(service, server, estimators)).collect();
        servers.sort_by_key(|server| server.address);
        api::Service {
            address: service.address,
            scheduler: service.scheduler.name().into(),
            scheduler_flags: service.scheduler_flags.names(service.scheduler).map(str::to_owned).collect(),
            persistence: None,
            one_packet: service.one_packet,
            state: state(service.vip),
            stats: self.service_stats(service),
            rates: estimators.services.get(index).map(Estimator::read).unwrap_or_default(),
            servers,
        }
    }

    fn server(&self, service: &ServiceEntry, server: &ServerEntry, estimators: &Estimators) -> api::Server {
        let load = self.loads.get(server.id);
        let estimator = estimators.servers.get(usize::from(server.id.0));
        api::Server {
            address: service.server_address(server),
            forwarding: api::Forwarding::Route,
            weight: server.config.weight.0,
            upper_threshold: 0,
            lower_threshold: 0,
            active: load.active,
            inactive: load.inactive,
            persistent: 0,
            state: server.link.name().into(),
            mac: server.link.mac().map(|mac| mac.to_string()),
            stats: self.stats(server.id),
            rates: estimator.map(Estimator::read).unwrap_or_default(),
        }
    }

    fn service_stats(&self, service: &ServiceEntry) -> api::Stats {
        let each = service.servers.iter().map(|server| self.stats(server.id));
        each.fold(api::Stats::default(), |sum, stats| api::Stats {
            connections: sum.connections + stats.connections,
            in_packets: sum.in_packets + stats.in_packets,
            in_bytes: sum.in_bytes + stats.in_bytes,
            ..sum
        })
    }

    /// The totals of one server over all workers. Nothing goes out: replies bypass the director.
    fn stats(&self, server: ServerId) -> api::Stats {
        let each = self.crew.members().iter().map(|member| member.counters.server(server));
        each.fold(api::Stats::default(), |sum, counters| api::Stats {
            connections: sum.connections + counters.connections.get(),
            in_packets: sum.in_packets + counters.packets.get(),
            in_bytes: sum.in_bytes + counters.bytes.get(),
            ..sum
        })
    }
}

fn state(vip: VipState) -> String {
    match vip {
        VipState::Probing => "probing".into(),
        VipState::Claimed => "serving".into(),
        VipState::Conflict(mac) => format!("not served: {mac} answers ARP for it"),
    }
}

fn worker(number: usize, member: &super::crew::Member, backend: &str) -> api::Worker {
    let counters = &member.counters;
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
        core: member.core,
        backend: backend.into(),
        ports: member.ports.iter().enumerate().map(port).collect(),
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
pub fn with_latencies(workers: Vec<(api::Worker, Line)>) -> Vec<api::Worker> {
    let ask = |(worker, line): (api::Worker, Line)| {
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
pub struct Directory {
    services: Vec<ServiceAddress>,
    servers: Vec<SocketAddr>,
}

impl Directory {
    /// Sends every connection of every worker to `to`, until nobody listens there any more. Blocks.
    ///
    /// Returns false if a worker did not answer: the list is not whole then.
    #[must_use]
    pub fn list(&self, lines: &[Line], now: Tick, to: &mpsc::Sender<Vec<api::Connection>>) -> bool {
        let mut chunk = Vec::with_capacity(CHUNK);
        for line in lines {
            let answered = line.connections(|entry| {
                chunk.extend(self.connection(entry, now));
                if chunk.len() < CHUNK {
                    return ControlFlow::Continue(());
                }
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                to.blocking_send(full).map_or(ControlFlow::Break(()), ControlFlow::Continue)
            });
            if !answered {
                return false;
            }
        }
        let _ = to.blocking_send(chunk); // a client that went away needs nothing
        true
    }

    fn connection(&self, entry: &Entry<V4Key>, now: Tick) -> Option<api::Connection> {
        Some(api::Connection {
            service: *self.services.get(usize::from(entry.key.service().0))?,
            expires: entry.deadline.since(now).secs(),
            state: entry.state.name().into(),
            client: (entry.key.source(), entry.key.port()).into(),
            server: *self.servers.get(usize::from(entry.server.0))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel::bounded;

    #[test]
    fn a_list_that_a_worker_does_not_answer_for_is_told_from_a_whole_one() {
        let directory = Directory { services: Vec::new(), servers: Vec::new() };
        let (to, mut chunks) = mpsc::channel(1);
        assert!(directory.list(&[], Tick(0), &to));
        assert_eq!(chunks.try_recv(), Ok(Vec::new()), "no worker, no connection: whole");
        let (requests, inbox) = bounded(1);
        drop(inbox); // as when a worker has ended
        assert!(!directory.list(&[Line::new(requests)], Tick(0), &to));
        assert!(chunks.try_recv().is_err(), "nothing that would look like an end");
    }
}
