//! A director for tests of clients: the real control socket, with a control loop that answers from fixed data.
#![allow(dead_code)] // each test binary uses a part

pub(crate) mod fixtures;
pub(crate) mod golden;

use directrix::control::api;
use directrix::control::api::Plan;
use directrix::control::api::request::ChangeRequest;
use directrix::control::host::access::Access;
use directrix::control::http::{server, socket};
use directrix::control::metrics::readings::{
    AnswerReadings, ConfigReadings, NeighborReadings, PingReadings, Readings, ShadowReadings, WorkerReadings,
};
use directrix::control::query::Query;
use directrix::model::{
    Diagnostic, DiagnosticKind, Place, RealServer, Rules, Subject, VirtualService, Weight,
};
use directrix::sys::ProcessUsage;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

/// Answers of a director.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) services: api::Services,
    pub(crate) checks: api::checks::Checks,
    pub(crate) audit: api::audit::Audit,
    pub(crate) connections: Vec<api::Connection>,
    pub(crate) drops: Vec<api::Drops>,
    pub(crate) workers: Vec<api::Worker>,
    pub(crate) timeouts: api::Timeouts,
    pub(crate) status: api::overview::Status,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            services: api::Services { capacity: 4096, interfaces: Vec::new(), services: Vec::new() },
            checks: api::checks::Checks::default(),
            audit: api::audit::Audit::default(),
            connections: Vec::new(),
            drops: Vec::new(),
            workers: Vec::new(),
            timeouts: api::Timeouts { tcp: 900, tcp_fin: 120, udp: 300 },
            status: api::overview::Status::default(),
        }
    }
}

impl Answers {
    pub(crate) fn answer(&self, query: Query) {
        // Errors are ignored: the client may have disconnected.
        match query {
            Query::Status(to) => drop(to.send(self.status.clone())),
            Query::Health(to) => drop(to.send(Vec::new())),
            Query::Services(to) => drop(to.send(self.services.clone())),
            Query::Checks(to) => drop(to.send(self.checks.clone())),
            Query::Report(_, to) => drop(to.send(Ok(()))),
            Query::Events(to) => drop(to.send(Vec::new())),
            Query::Reasons(to) => drop(to.send(Vec::new())),
            Query::Audit(to) => drop(to.send(self.audit.clone())),
            Query::Role(to) => drop(to.send(api::role::RoleStatus::default())),
            Query::SetRole(_, _, to) => drop(to.send(Ok(()))),
            Query::Sync(to) => drop(to.send(api::sync::SyncStatus::default())),
            Query::ChangeSync(_, _, to) => drop(to.send(Ok(()))),
            Query::Drops(to) => drop(to.send(self.drops.clone())),
            Query::Workers(to) => drop(to.send(self.workers.clone())),
            Query::Timeouts(to) => drop(to.send(self.timeouts)),
            Query::Metrics(to) => drop(to.send(self.readings())),
            Query::Connections(to) => drop(tokio::spawn(stream(self.connections.clone(), to))),
            Query::Change(requests, _, to) => drop(to.send(self.change(&requests))),
            Query::Reload(_, to) => {
                let error = Diagnostic::new(DiagnosticKind::InvalidValue, "made up").remedy("write another");
                let place = Place { file: "d.toml".into(), line: 1 };
                drop(to.send(Err(error.at(place).into())));
            }
            Query::Plan(_, to) => {
                drop(to.send(Plan { changes: Vec::new(), restarts: Vec::new(), refusal: None }));
            }
            Query::Config(to) => drop(to.send(String::new())),
        }
    }

    /// Evaluates a change of these services, without applying it.
    pub(crate) fn change(&self, requests: &[ChangeRequest]) -> Result<Vec<String>, Diagnostic> {
        let before =
            Rules { services: self.services.services.iter().map(rule).collect(), ..Rules::default() };
        let mut rules = before.clone();
        for (index, request) in requests.iter().enumerate() {
            request.apply(&mut rules).map_err(|error| error.about([Subject::Request(index)]))?;
        }
        Ok(before.differences(&rules).iter().map(ToString::to_string).collect())
    }
}

fn rule(service: &api::Service) -> VirtualService {
    let server = |server: &api::Server| RealServer::new(server.address.ip(), Weight(server.weight));
    VirtualService::new(service.identity, service.servers.iter().map(server).collect())
}

impl Answers {
    /// The same data as metrics, of a director started on 2025-01-01. Each worker has all drops.
    pub(crate) fn readings(&self) -> Readings {
        let drops: Vec<_> =
            self.drops.iter().map(|drop| (&*drop.reason.clone().leak(), drop.frames)).collect();
        let worker = |worker: &api::Worker| WorkerReadings {
            worker: worker.clone(),
            drops: drops.clone(),
            latency: Some(Box::new(directrix::worker::latency_histogram())),
            cpu_seconds: Some(1.5),
        };
        Readings {
            started: UNIX_EPOCH + Duration::from_secs(1_735_689_600),
            config: ConfigReadings {
                unsaved: Some(2),
                reload_successful: true,
                taken_over: UNIX_EPOCH + Duration::from_secs(1_735_689_600),
            },
            process: Some(ProcessUsage {
                cpu_seconds: 12.5,
                resident_bytes: 90_000_000,
                virtual_bytes: 900_000_000,
                open_files: 23,
                open_files_max: Some(1024),
                started: Some(1_735_689_599.5),
            }),
            services: self.services.clone(),
            checks: self.checks.clone(),
            probe_times: directrix::health::ProbeTimes::default(),
            audit: self.audit.clone(),
            audit_questions: 12,
            workers: self.workers.iter().map(worker).collect(),
            unbound: 0,
            unfinished: 0,
            role: api::role::RoleStatus::default(),
            ready: true,
            sync: sync_status(),
            shadow: ShadowReadings {
                entries: 5000,
                adopted: 7,
                lost: 0,
                full: 0,
                kept: 4990,
                expired: 3,
                refused: 2,
                damaged: 1,
            },
            neighbors: NeighborReadings {
                answered: 1,
                announced: 2,
                probed: 3,
                requested: 4,
                conflicts: 5,
                disputed: 6,
            },
            pings: PingReadings { answered: 7, limited: 8 },
            answers: [("port_unreachable", 9, 10), ("too_big", 11, 0)]
                .map(|(kind, sent, limited)| AnswerReadings { kind, sent, limited })
                .into(),
        }
    }
}

async fn stream(connections: Vec<api::Connection>, to: mpsc::Sender<Vec<api::Connection>>) {
    for chunk in connections.chunks(1000) {
        if to.send(chunk.to_vec()).await.is_err() {
            return;
        }
    }
}

/// A running control socket in a temporary directory. Dropping it stops the server.
pub(crate) struct Director {
    place: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Director {
    /// Answers every query from `answers`.
    pub(crate) fn answering(answers: Answers) -> Self {
        Self::with(move |query| answers.answer(query))
    }

    /// Passes every query to `respond`.
    pub(crate) fn with(respond: impl FnMut(Query) + Send + 'static) -> Self {
        Self::admitting(&Access::default(), respond)
    }

    /// The same, with access for other peers.
    pub(crate) fn admitting(access: &Access, mut respond: impl FnMut(Query) + Send + 'static) -> Self {
        let place = tempfile::tempdir().unwrap();
        set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        let mut socket = socket::bind(&place.path().join("control.sock")).unwrap();
        socket.set_access(access).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (sender, mut queries) = mpsc::channel(16);
                let serving = server::serve(socket, sender, async {
                    drop(stopped.await);
                    server::SocketEnd::Remove
                });
                let answering = async {
                    while let Some(query) = queries.recv().await {
                        respond(query);
                    }
                };
                tokio::join!(async { serving.await.unwrap() }, answering);
            });
        });
        Self { place, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place.path().join("control.sock")
    }

    /// Stops the server and waits until it has ended.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The command `directrix --socket SOCKET ARGUMENTS`.
pub(crate) fn directrix(socket: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_directrix"));
    command.arg("--socket").arg(socket).args(arguments.split_whitespace());
    command.env_remove("DIRECTRIX_SOCKET").stdin(Stdio::null());
    command
}

/// Result of a run: exit status, stdout, stderr.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("not ended by a signal"), text(stdout), text(stderr))
}

/// Connection sync of a backup with one other directrix.
fn sync_status() -> api::sync::SyncStatus {
    let hello = api::sync::SyncHelloStatus {
        age_ms: 250,
        lag_ms: 2,
        starts: 1,
        role: "master".into(),
        complete: true,
        connections: 5010,
        templates: 0,
        difference: Some(10),
        same_services: true,
        same_mh: true,
    };
    let peer = api::sync::SyncPeerStatus {
        address: [192, 168, 195, 12].into(),
        kind: "directrix".into(),
        heard_ms: 250,
        messages: 40,
        records: 9000,
        refused: 0,
        lost: 3,
        hello: Some(hello),
    };
    let daemon = api::sync::SyncDaemonStatus {
        daemon: api::sync::SyncDaemonKind::Backup,
        interface: "eth1".into(),
        syncid: 51,
        maxlen: 1472,
        group: [224, 0, 0, 81].into(),
        port: 8848,
        ttl: 1,
    };
    let refusal = api::sync::SyncRefusalCount {
        reason: "no_service".into(),
        count: 4,
        explanation: "No virtual service.".into(),
    };
    api::sync::SyncStatus {
        daemons: vec![daemon],
        complete: true,
        connections: 5000,
        peers: vec![peer],
        refusals: vec![refusal],
        ..api::sync::SyncStatus::default()
    }
}
