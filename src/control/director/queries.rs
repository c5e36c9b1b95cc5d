//! What the loop answers to the questions of clients.

use crate::control::api;
use crate::control::director::Director;
use crate::control::director::reload::ReloadQueue;
use crate::control::http::server::Query;
use crate::control::metrics::ConfigQuestion;
use crate::control::workers::WorkerHandle;
use crate::control::workers::status::{self, RuntimeView};
use std::sync::Arc;

impl<F: FnMut()> Director<F> {
    /// Answers at once, or has a thread of its own do it where workers are to be asked or a file is to be read.
    pub(in crate::control) fn answer(&mut self, query: Query, reloads: &mut ReloadQueue) {
        let view = self.view();
        // A client that went away while it waited needs no answer.
        match query {
            Query::Change(requests, origin, reply) => drop(reply.send(self.change(&requests, &origin))),
            Query::Reload(origin, reply) => reloads.ask(origin, Some(reply)),
            Query::Plan(config, reply) => drop(reply.send(self.plan(&reloads.complete(*config)))),
            Query::Config(reply) => drop(reply.send(self.config().to_string())),
            Query::Status(reply) => self.report_status(reloads, reply),
            Query::Health(reply) => drop(reply.send(self.ailments())),
            Query::Services(reply) => drop(reply.send(view.services())),
            Query::Drops(reply) => drop(reply.send(view.drops())),
            Query::Metrics(reply) => {
                let (file, running, history) = (reloads.file(), self.running(), reloads.history().clone());
                let config = ConfigQuestion { file, running, history };
                self.meter.answer(&view, (self.backend.name, config), reply);
            }
            Query::Timeouts(reply) => drop(reply.send(self.timeouts())),
            Query::Workers(reply) => {
                let workers = view.workers(self.backend.name);
                tokio::task::spawn_blocking(move || drop(reply.send(status::with_latencies(workers))));
            }
            Query::Connections(to) => {
                let (directory, now) = (view.directory(), self.now());
                let templates = Arc::clone(&self.templates);
                let lines: Vec<_> = self.backend.workers.handles().iter().map(WorkerHandle::client).collect();
                tokio::task::spawn_blocking(move || {
                    if !directory.list((&lines, &templates), now, &to) {
                        // Left without an end, so that the server breaks it off: it must not look whole.
                        tokio::runtime::Handle::current().block_on(to.closed());
                    }
                });
            }
        }
    }

    fn timeouts(&self) -> api::Timeouts {
        let timeouts = &self.registry.timeouts;
        api::Timeouts { tcp: timeouts.tcp.secs(), tcp_fin: timeouts.tcp_fin.secs(), udp: timeouts.udp.secs() }
    }

    pub(in crate::control) fn view(&self) -> RuntimeView<'_> {
        RuntimeView {
            registry: &self.registry,
            workers: &self.backend.workers,
            loads: &self.loads,
            templates: &self.templates,
            links: &self.links,
            capacity: self.settings.connections.into(),
        }
    }
}
