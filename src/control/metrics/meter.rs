//! Collects the readings from the counters of the workers and of control.

use super::readings::{
    AnswerReadings, ConfigReadings, NeighborReadings, PingReadings, Readings, ShadowReadings, WorkerReadings,
};
use crate::audit::{AuditCounters, AuditFinding, Auditor};
use crate::control::answers::AnswerCounters;
use crate::control::api::audit::Audit;
use crate::control::api::checks::Checks;
use crate::control::api::role::RoleStatus;
use crate::control::api::sync::SyncStatus;
use crate::control::config_file::{ConfigFile, History, METRICS_AGE, RunningConfig};
use crate::control::health::{HealthOverview, listing};
use crate::control::keeper::counters::KeeperCounters;
use crate::control::neighbor::findings;
use crate::control::ping::PingCounters;
use crate::control::workers::WorkerClient;
use crate::control::workers::status::RuntimeView;
use crate::health::ProbeTimes;
use crate::neighbor::{NeighborCounters, Neighbors};
use crate::stats::DropReason;
use crate::sys::ProcessUsage;
use crate::sys::process::thread_cpu_seconds;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// Time within which the health checks and the neighbor driver answer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// Sources of readings besides a [`RuntimeView`].
#[derive(Debug)]
pub struct Meter {
    started: SystemTime,
    neighbors: Arc<NeighborCounters>,
    audit: Arc<AuditCounters>,
    answers: Arc<AnswerCounters>,
    pings: Arc<PingCounters>,
    keeper: Arc<KeeperCounters>,
}

/// Readings of the control thread, and the channels of later ones.
pub(in crate::control) struct MeterSources {
    pub(in crate::control) config: ConfigReader,
    pub(in crate::control) role: RoleStatus,
    pub(in crate::control) ready: bool,
    pub(in crate::control) sync: SyncStatus,
    pub(in crate::control) checks: oneshot::Receiver<HealthOverview>,
    pub(in crate::control) audit: oneshot::Receiver<Vec<AuditFinding>>,
}

impl Meter {
    /// Creates the meter of a director that starts now, with the counters of the control thread and the keeper.
    #[must_use]
    pub fn new(
        (neighbors, auditor): (&Neighbors, &Auditor),
        answers: Arc<AnswerCounters>,
        pings: Arc<PingCounters>,
        keeper: Arc<KeeperCounters>,
    ) -> Self {
        let (neighbors, audit) = (neighbors.counters(), auditor.counters());
        Self { started: SystemTime::now(), neighbors, audit, answers, pings, keeper }
    }

    /// Returns the start time of the director.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Sends the present readings to `reply` once every worker has reported its latencies. Does not block.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(in crate::control) fn read(
        &self,
        view: &RuntimeView<'_>,
        backend: &str,
        sources: MeterSources,
        reply: oneshot::Sender<Readings>,
    ) {
        let MeterSources { config, role, ready, sync, checks, audit } = sources;
        let mut readings = Readings {
            started: self.started,
            config: config.readings(),
            process: None,
            services: view.services(),
            checks: Checks::default(),
            probe_times: ProbeTimes::default(),
            audit: Audit::default(),
            audit_questions: self.audit.asked.get(),
            workers: Vec::new(),
            unbound: view.templates.unbound(),
            unfinished: view.workers.handles().iter().map(|handle| handle.counters.unfinished.get()).sum(),
            role,
            ready,
            sync,
            shadow: self.shadow(view),
            neighbors: self.neighbors(),
            pings: PingReadings { answered: self.pings.answered.get(), limited: self.pings.limited.get() },
            answers: self.answers(),
        };
        let workers = workers(view, backend);
        tokio::task::spawn_blocking(move || {
            readings.config.unsaved = config.unsaved();
            readings.process = ProcessUsage::now();
            let overview = received(checks);
            readings.probe_times = overview.times.clone();
            readings.checks = listing::of(overview);
            readings.audit = findings::of(&received(audit), 0);
            readings.workers =
                workers.into_iter().map(|(worker, pending)| completed(worker, &pending)).collect();
            let _ = reply.send(readings); // the client may have disconnected
        });
    }

    fn answers(&self) -> Vec<AnswerReadings> {
        let all = self.answers.by_kind();
        all.map(|(kind, of)| AnswerReadings { kind, sent: of.sent.get(), limited: of.limited.get() })
            .collect()
    }

    fn shadow(&self, view: &RuntimeView<'_>) -> ShadowReadings {
        let KeeperCounters { entries, full, lost, kept, expired, refused, damaged, .. } = &*self.keeper;
        ShadowReadings {
            entries: entries.get(),
            adopted: view.workers.handles().iter().map(|handle| handle.counters.adopted.get()).sum(),
            lost: lost.get(),
            full: full.get(),
            kept: kept.get(),
            expired: expired.get(),
            refused: refused.get(),
            damaged: damaged.get(),
        }
    }

    fn neighbors(&self) -> NeighborReadings {
        let NeighborCounters { answered, announced, probed, requested, conflicts, disputed } =
            &*self.neighbors;
        NeighborReadings {
            answered: answered.get(),
            announced: announced.get(),
            probed: probed.get(),
            requested: requested.get(),
            conflicts: conflicts.get(),
            disputed: disputed.get(),
        }
    }
}

/// Waits for the status of the health checks, or for the findings; without an answer there are none. Blocks.
fn received<T: Default>(status: oneshot::Receiver<T>) -> T {
    let answer = async { tokio::time::timeout(STATUS_TIMEOUT, status).await };
    let answer = tokio::runtime::Handle::current().block_on(answer);
    answer.ok().and_then(Result::ok).unwrap_or_default()
}

/// Sources of a worker's pending readings.
struct PendingReadings {
    line: WorkerClient,
    thread: i32,
}

fn workers(view: &RuntimeView<'_>, backend: &str) -> Vec<(WorkerReadings, PendingReadings)> {
    let workers = view.workers(backend).into_iter().zip(view.workers.handles());
    let readings = workers.map(|((worker, line), handle)| {
        let reasons = DropReason::ALL.iter();
        let drops = reasons.map(|reason| (reason.name(), handle.counters.drops(*reason).get())).collect();
        let pending = PendingReadings { line, thread: handle.thread_id };
        (WorkerReadings { worker, drops, latency: None, cpu_seconds: None }, pending)
    });
    readings.collect()
}

/// Completes the readings. Blocks until the worker has answered or its timeout has passed.
fn completed(worker: WorkerReadings, pending: &PendingReadings) -> WorkerReadings {
    WorkerReadings {
        latency: pending.line.latency(),
        cpu_seconds: thread_cpu_seconds(pending.thread),
        ..worker
    }
}

/// The configuration file and the running configuration, to be compared on another thread.
pub(in crate::control) struct ConfigReader {
    pub(in crate::control) file: Arc<ConfigFile>,
    pub(in crate::control) running: RunningConfig,
    pub(in crate::control) history: History,
}

impl ConfigReader {
    fn readings(&self) -> ConfigReadings {
        let failed = self.history.last.as_ref().is_some_and(|reload| reload.error.is_some());
        ConfigReadings { unsaved: None, reload_successful: !failed, taken_over: self.history.succeeded }
    }

    /// Returns the number of differences between the file and the running configuration; `None` if the file cannot be used. Blocks.
    fn unsaved(&self) -> Option<u64> {
        let status = self.file.compare(&self.running, METRICS_AGE);
        status.error.is_none().then_some((status.unsaved.len() + status.restarts.len()) as u64)
    }
}
