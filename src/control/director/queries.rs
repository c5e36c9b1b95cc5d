//! Replies to the queries of clients.

use super::Director;
use crate::control::api;
use crate::control::config_file::reloads::ReloadQueue;
use crate::control::metrics::{ConfigReader, MeterSources};
use crate::control::query::Query;
use crate::control::workers::WorkerHandle;
use crate::control::workers::status::{self, RuntimeView};
use std::sync::Arc;

impl Director {
    /// Replies to a query; on a blocking thread if workers or the file are involved.
    ///
    /// A reply to a client that has disconnected is dropped.
    pub(super) fn handle_query(&mut self, query: Query, reloads: &mut ReloadQueue) {
        let view = self.view();
        match query {
            Query::Change(requests, origin, reply) => drop(reply.send(self.change(&requests, &origin))),
            Query::Reload(origin, reply) => reloads.request(origin, Some(reply)),
            Query::Plan(config, reply) => {
                drop(reply.send(self.plan(&reloads.with_command_line(*config))));
            }
            Query::Config(reply) => drop(reply.send(self.config().to_string())),
            Query::Status(reply) => self.report_status(reloads, reply),
            Query::Checks(reply) => self.report_checks(reply),
            Query::Report(report, reply) => drop(reply.send(self.take_report(report))),
            Query::Events(reply) => drop(reply.send(self.events.list())),
            Query::Reasons(reply) => self.report_reasons(reply),
            Query::Audit(reply) => self.report_audit(reply),
            Query::Role(reply) => drop(reply.send(self.role_status())),
            Query::SetRole(role, origin, reply) => drop(reply.send(self.set_role(role, &origin))),
            Query::Sync(reply) => drop(reply.send(self.sync_status())),
            Query::ChangeSync(request, origin, reply) => {
                drop(reply.send(self.change_sync(&request, &origin)));
            }
            Query::Health(reply) => drop(reply.send(self.health_problems())),
            Query::Services(reply) => drop(reply.send(view.services())),
            Query::Drops(reply) => drop(reply.send(view.drops())),
            Query::Metrics(reply) => {
                let running = self.running();
                let config =
                    ConfigReader { file: reloads.file(), running, history: reloads.history().clone() };
                self.meter.read(
                    &view,
                    self.backend.name,
                    MeterSources {
                        config,
                        role: self.role_status(),
                        ready: self.is_ready_for_traffic(),
                        sync: self.sync_status(),
                        checks: self.health_overview(),
                        audit: self.audit_findings(),
                    },
                    reply,
                );
            }
            Query::Timeouts(reply) => drop(reply.send(self.timeouts())),
            Query::Workers(reply) => {
                let workers = view.workers(self.backend.name);
                tokio::task::spawn_blocking(move || drop(reply.send(status::with_latencies(workers))));
            }
            Query::Connections(chunks) => self.list_connections(chunks),
        }
    }

    fn list_connections(&self, chunks: tokio::sync::mpsc::Sender<Vec<api::Connection>>) {
        let listing = status::ListingTask {
            ids: self.registry.id_addresses(),
            workers: self.backend.workers.handles().iter().map(WorkerHandle::client).collect(),
            templates: Arc::clone(&self.templates),
            shadow: self.shadow.clone(),
            now: self.now(),
        };
        tokio::task::spawn_blocking(move || {
            if !listing.send(&chunks) {
                // The channel stays open, so that the server aborts the response: it must not look complete.
                tokio::runtime::Handle::current().block_on(chunks.closed());
            }
        });
    }

    fn timeouts(&self) -> api::Timeouts {
        let timeouts = &self.registry.timeouts;
        api::Timeouts { tcp: timeouts.tcp.secs(), tcp_fin: timeouts.tcp_fin.secs(), udp: timeouts.udp.secs() }
    }

    /// Returns the sources of the listings.
    pub(super) fn view(&self) -> RuntimeView<'_> {
        RuntimeView {
            registry: &self.registry,
            workers: &self.backend.workers,
            loads: &self.loads,
            templates: &self.templates,
            carriers: &self.carriers,
            capacity: self.settings.connections.into(),
        }
    }
}
