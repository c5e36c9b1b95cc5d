//! The driver: connects the health machine to its probes, the clock and the control thread.

use super::command::{HealthCommand, HealthOverview};
use super::probe::{self, Probed};
use super::shared::ProbeShared;
use super::way::ProbeWays;
use crate::health::{
    CheckKey, Health, HealthAction, HealthEvent, HealthReport, HealthSettings, LocalError, ProbeFailure,
    ProbeId, ProbeOutcome, ServiceChecks,
};
use crate::time::Tick;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

/// Interval of the sweeps of abandoned probes.
const SWEEP: Duration = Duration::from_secs(1);

/// A probe in flight.
struct ProbeTask {
    server: IpAddr,
    handle: AbortHandle,
}

/// A probe that has ended.
type Finished = (ProbeId, Probed);

/// The health machine with its probes and its clock.
pub(super) struct HealthDriver {
    health: Health,
    /// Moment of [`Tick`] 0.
    start: Instant,
    reports: UnboundedSender<HealthReport>,
    shared: Arc<ProbeShared>,
    probes: JoinSet<Finished>,
    running: HashMap<ProbeId, ProbeTask>,
    has_carrier: bool,
    ways: ProbeWays,
}

impl HealthDriver {
    pub(super) fn new(
        settings: HealthSettings,
        ways: ProbeWays,
        reports: UnboundedSender<HealthReport>,
    ) -> Self {
        Self {
            health: Health::new(settings),
            start: Instant::now(),
            reports,
            shared: Arc::new(ProbeShared::new()),
            probes: JoinSet::new(),
            running: HashMap::new(),
            has_carrier: true,
            ways,
        }
    }

    /// Runs until `commands` is closed.
    pub(super) async fn run(mut self, mut commands: UnboundedReceiver<HealthCommand>) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let pause = self.pause();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.follow(command),
                    None => return,
                },
                Some(ended) = self.probes.join_next() => self.end(ended),
                () = tokio::time::sleep(pause) => self.handle(HealthEvent::Timer),
                _ = sweep.tick() => self.ways.sweep(Instant::now()),
            }
        }
    }

    fn follow(&mut self, command: HealthCommand) {
        match command {
            HealthCommand::Configure(config) => {
                self.shared.retain(&keys(&config.services));
                self.handle(HealthEvent::Configure(config));
            }
            HealthCommand::Report(report) => self.shared.take_report(report),
            HealthCommand::Carrier(up) => self.has_carrier = up,
            HealthCommand::Macs(macs) => self.ways.macs = macs,
            HealthCommand::Addresses => self.ways.forget_routes(),
            HealthCommand::Suspect(server) => self.handle(HealthEvent::Suspect(server)),
            HealthCommand::Status(reply) => {
                self.handle(HealthEvent::Timer); // the clock of the status
                let (checks, in_flight) = self.health.counts();
                let (frozen, services) = (self.health.is_freezing(), self.health.status());
                let certificate_ends = self.shared.certificate_ends();
                let times = self.health.times().clone();
                let overview =
                    HealthOverview { frozen, checks, in_flight, certificate_ends, times, services };
                let _ = reply.send(overview); // the client may have gone
            }
        }
    }

    fn end(&mut self, ended: Result<Finished, JoinError>) {
        match ended {
            Ok(finished) => self.finish(finished),
            Err(error) => {
                // An aborted probe is no longer among the running ones.
                let panicked = self.running.iter().find(|(_, running)| running.handle.id() == error.id());
                if let Some(probe) = panicked.map(|(probe, _)| *probe) {
                    let outcome = ProbeOutcome::Unknown(LocalError::Panic);
                    self.finish((probe, Probed { outcome, took: Duration::ZERO, rip: None }));
                }
            }
        }
    }

    fn finish(&mut self, (probe, Probed { outcome, took, rip }): Finished) {
        let is_lost = self.running.remove(&probe).is_some_and(|running| self.ways.is_lost(running.server));
        let outcome = match outcome {
            ProbeOutcome::Failed(_) if !self.has_carrier => ProbeOutcome::Unknown(LocalError::NoInterface),
            ProbeOutcome::Failed(ProbeFailure::Silent | ProbeFailure::Unreachable(None)) if is_lost => {
                ProbeOutcome::Failed(ProbeFailure::NoNeighbor)
            }
            outcome => outcome,
        };
        self.handle(HealthEvent::Finished { probe, outcome, rip, took });
    }

    fn handle(&mut self, event: HealthEvent) {
        let mut actions = Vec::new();
        self.health.handle(event, self.now(), &mut actions);
        for action in actions {
            match action {
                HealthAction::Start { probe, key } => self.start(probe, key),
                HealthAction::Abort(probe) => self.abort(probe),
                HealthAction::Report(report) => drop(self.reports.send(report)), // control may be ending
            }
        }
    }

    fn start(&mut self, probe: ProbeId, key: CheckKey) {
        let (server, way) = (key.server, self.ways.of(&key, Instant::now()));
        let shared = Arc::clone(&self.shared);
        let handle = self.probes.spawn(async move { (probe, probe::run(&key, way, &shared).await) });
        self.running.insert(probe, ProbeTask { server, handle });
    }

    fn abort(&mut self, probe: ProbeId) {
        if let Some(running) = self.running.remove(&probe) {
            running.handle.abort();
        }
    }

    fn now(&self) -> Tick {
        Tick::from_instant(Instant::now(), self.start)
    }

    /// Time until the next deadline.
    fn pause(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        let due = self.health.next_deadline();
        due.map_or(LONG, |due| Duration::from_millis(due.since(self.now()).millis().into()))
    }
}

fn keys(services: &[ServiceChecks]) -> HashSet<&CheckKey> {
    let servers = services.iter().flat_map(|service| &service.servers);
    servers.flat_map(|server| &server.checks).map(|check| &check.key).collect()
}
