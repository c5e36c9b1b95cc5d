//! Warm restart: the next process takes over from this one, or this one from the former.

use super::Director;
use super::error::DirectorError;
use crate::control::sync::{SyncDaemons, SyncState};
use crate::control::takeover::{
    HandedDaemons, HandedDescriptor, HandedService, HandedState, Offer, TakeoverListener, TakeoverRequest,
    claimed,
};
use crate::control::workers::{StoppedWorker, status};
use crate::io::HandedRings;
use crate::model::{Config, Diagnostic, DirectorConfig, Places, parse};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for the next process, which answers for the VIPs within a second as a rule.
pub(super) const FINISH_MAX: Duration = Duration::from_secs(10);

impl Director {
    /// Answers a request of the next process. True if everything is to be handed over now.
    pub(super) fn answer_takeover(&self, request: &TakeoverRequest, next: &mut TakeoverListener) -> bool {
        let generation = self.handover.generation;
        match request {
            TakeoverRequest::Begin { program } => {
                tracing::info!(process = next.process(), program, "another process is to take over");
            }
            TakeoverRequest::Commit { generation: known } if *known == generation => return true,
            TakeoverRequest::Commit { .. } => {}
        }
        next.offer(&Offer {
            generation,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            workers: self.backend.workers.handles().len(),
            copies: self
                .backend
                .workers
                .handles()
                .iter()
                .flat_map(|of| &of.ports)
                .any(|port| port.mode.ends_with(", copy")),
            running: self.config().to_string(),
            file: self.handover.file.clone(),
        });
        false
    }

    /// Stops forwarding, and hands everything over. The neighbor driver still answers for the VIPs.
    pub(super) fn hand_over(&mut self, next: &mut TakeoverListener) -> Result<(), DirectorError> {
        let begin = Instant::now();
        let (is_ready, role) = (self.ready.readiness.reason().is_none(), Some(self.role.role()));
        self.handover.is_over = true;
        self.handover.end_service();
        let (rings, stopped) = match self.stop_for_next() {
            Ok((rings, workers)) => (rings, Ok(workers)),
            Err(error) => (None, Err(error)),
        };
        self.keeper.stop();
        let tun = self.ready.signals.pass();
        self.handover.keep(HandedDescriptor::Tun, tun);
        let workers = &self.backend.workers;
        let totals = |server| status::totals(workers, server);
        let names = self.handover.passed.iter().map(|(name, _)| *name);
        let sockets = rings.iter().flat_map(|rings| &rings.descriptors);
        let state = HandedState {
            descriptors: names.chain(sockets.clone().map(|_| HandedDescriptor::Ring)).collect(),
            is_ready,
            role,
            claimed: claimed(&self.registry),
            services: HandedService::all_of(&self.registry, &totals, begin),
            daemons: self.daemons_of_commands(),
            rings: rings.as_ref().map(|rings| rings.facts.clone()),
        };
        let passed = self.handover.passed.iter().map(|(_, descriptor)| descriptor);
        let descriptors: Vec<BorrowedFd<'_>> = passed.chain(sockets).map(AsFd::as_fd).collect();
        next.hand_over(&state, &descriptors)?;
        let (has_rings, ms) = (rings.is_some(), begin.elapsed().as_millis());
        if !has_rings {
            self.backend.steering.stop(); // while the next process binds its sockets
        }
        tracing::info!(process = next.process(), has_rings, ms, "handed over: the next process forwards");
        stopped.map(drop)
    }

    /// Stops forwarding. Returns the workers' sockets, if the next process can go on with them, and what is left of the workers.
    fn stop_for_next(&mut self) -> Result<(Option<HandedRings>, Vec<StoppedWorker>), DirectorError> {
        let stopped = self.backend.workers.stop();
        let mut workers = stopped.map_err(|error| DirectorError::worker_ended(error.to_string()))?;
        if workers.iter().any(|worker| worker.ports.is_none()) {
            return Ok((None, workers));
        }
        let ports = workers.iter_mut().filter_map(|worker| worker.ports.take()).collect();
        let attachment = self.backend.steering.hand_over();
        Ok((attachment.and_then(|attachment| HandedRings::new(attachment, ports)), workers))
    }
}

impl Director {
    fn daemons_of_commands(&self) -> Option<HandedDaemons> {
        let SyncDaemons { master, backup, .. } = self.sync.daemons.clone();
        let configured = SyncDaemons::configured(&self.settings);
        let is_other = (&configured.master, &configured.backup) != (&master, &backup);
        is_other.then_some(HandedDaemons { master, backup })
    }

    /// Runs the daemons that commands had started in the process before, in place of those of the configuration.
    pub(super) fn begin_handed_sync(&mut self, handed: HandedDaemons) {
        let HandedDaemons { master, backup } = handed;
        let daemons = SyncDaemons { master, backup, ..SyncDaemons::configured(&self.settings) };
        self.begin_sync(SyncState::of(daemons));
    }
}

/// Waits until the next process has taken over, and tells the service manager of it.
///
/// # Errors
/// The next process has ended, and nothing forwards.
pub(super) async fn finished(next: &mut TakeoverListener) -> Result<(), DirectorError> {
    let process = next.process();
    let failed = || {
        let what = "the next process has ended before it had taken over";
        Diagnostic::system(what).remedy("see its log; connections are kept for the next start")
    };
    match tokio::time::timeout(FINISH_MAX, next.finished()).await {
        Ok(true) => {}
        Ok(false) => return Err(failed().into()),
        Err(_) => tracing::warn!(process, "the next process does not say that it has taken over"),
    }
    if let Ok(process) = u32::try_from(process)
        && let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::MainPid(process)])
    {
        tracing::warn!(%error, "notifying the service manager of the next process failed (NOTIFY_SOCKET)");
    }
    Ok(())
}

/// The configuration of a process that takes over: its file's, with the running rules unless the file has been changed since it was last
/// read.
pub(super) fn inherited_rules(config: &Config, offer: &Offer) -> Config {
    let read = |text: &str| parse(Path::new("the running configuration"), text);
    match (read(&offer.file), read(&offer.running)) {
        (Ok(file), Ok(running)) if file.rules().differences(&config.rules()).is_empty() => {
            with_rules_of(config, running)
        }
        (Ok(_), Ok(_)) => {
            tracing::info!("the configuration file has been changed: its rules apply, not the running ones");
            config.clone()
        }
        (Err(errors), _) | (_, Err(errors)) => {
            tracing::warn!(%errors, "the running rules cannot be read: those of the configuration file apply");
            config.clone()
        }
    }
}

/// A configuration with the rules of another, and their places.
fn with_rules_of(config: &Config, running: Config) -> Config {
    let DirectorConfig { timeouts, policy, .. } = running.director;
    let Places { services, servers, .. } = running.places;
    Config {
        director: DirectorConfig { timeouts, policy, ..config.director.clone() },
        services: running.services,
        marks: running.marks,
        places: Places { services, servers, ..config.places.clone() },
    }
}
