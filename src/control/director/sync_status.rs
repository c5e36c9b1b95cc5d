//! Connection sync as clients see it: its state, its warnings, and commands that start and stop daemons.

use super::Director;
use crate::control::api::events::EventSource;
use crate::control::api::overview::Warning;
use crate::control::api::sync::{
    SyncDaemonKind, SyncDaemonSettings, SyncDaemonStatus, SyncHelloStatus, SyncPeerStatus, SyncRefusalCount,
    SyncRequest, SyncStatus,
};
use crate::control::keeper::sync_report::{SyncHelloReport, SyncPeerReport, SyncReport};
use crate::control::log::audit::{self, Origin};
use crate::control::state::events::EventSubject;
use crate::control::sync::{SyncDaemon, backup_len, default_len};
use crate::model::{Diagnostic, DiagnosticKind, SyncConfig};
use crate::sync::SyncFacts;
use nix::errno::Errno;

/// Silence of a peer that is a warning: it repeats its connections each minute, and most say hello.
const SILENCE_MS: u32 = 5_000;
/// Of a peer without hellos.
const KERNEL_SILENCE_MS: u32 = 120_000;

impl Director {
    /// Starts or stops a daemon.
    ///
    /// # Errors
    /// In the words of ipvsadm, which has no others for the kernel's errors.
    pub(super) fn change_sync(&mut self, request: &SyncRequest, origin: &Origin) -> Result<(), Diagnostic> {
        let SyncRequest { daemon, start } = request;
        let mut daemons = self.sync.daemons.clone();
        let of = match daemon {
            SyncDaemonKind::Master => &mut daemons.master,
            SyncDaemonKind::Backup => &mut daemons.backup,
        };
        match (&of, start) {
            (Some(_), Some(_)) => return Err(refused("Daemon has already run")),
            (None, None) => return Err(refused("No daemon is running")),
            _ => {}
        }
        *of = start.as_ref().map(|settings| started(*daemon, settings));
        self.set_sync_daemons(daemons).map_err(|error| {
            let number = error.cause.raw_os_error().map(Errno::from_raw);
            refused(number.map_or(error.to_string(), |errno| errno.desc().to_owned()))
        })?;
        let done = if start.is_some() { "started" } else { "stopped" };
        let text = format!("sync daemon {}: {done}", daemon.name());
        self.events.add(EventSource::Operator, EventSubject::default(), text.clone());
        audit::changed(origin, &[text]);
        Ok(())
    }

    /// Returns the state of connection sync.
    pub(super) fn sync_status(&self) -> SyncStatus {
        let SyncReport {
            is_complete,
            counts,
            records_sent,
            datagrams_sent,
            send_failures,
            refusals,
            peers,
            ..
        } = self.keeper.sync.report();
        let (daemons, facts) = (&self.sync.daemons, self.sync.facts);
        let both = [(SyncDaemonKind::Master, &daemons.master), (SyncDaemonKind::Backup, &daemons.backup)];
        let refusals = refusals.into_iter().map(|(of, count)| SyncRefusalCount {
            reason: of.name().into(),
            count,
            explanation: of.explanation().into(),
        });
        let unheard = daemons.peers.iter().filter(|of| peers.iter().all(|peer| peer.source != **of));
        SyncStatus {
            daemons: both.into_iter().filter_map(|(kind, of)| Some(listed(kind, of.as_ref()?))).collect(),
            failure: self.sync.failure.clone(),
            complete: is_complete,
            connections: counts.connections,
            templates: counts.templates,
            records_sent,
            datagrams_sent,
            send_failures,
            unheard: unheard.copied().filter(|_| daemons.backup.is_some()).collect(),
            peers: peers.iter().map(|peer| peer_status(peer, &facts)).collect(),
            refusals: refusals.collect(),
        }
    }

    /// Returns warnings about connection sync.
    pub(super) fn sync_warnings(&self) -> Vec<Warning> {
        if !self.sync.daemons.is_any() {
            return Vec::new();
        }
        let status = self.sync_status();
        let failure = status.failure.map(|failure| format!("connection sync does not run: {failure}"));
        let unheard = status.unheard.iter().map(|peer| {
            format!("nothing was heard from the peer {peer} of [sync]: it does not run, or its messages do not arrive")
        });
        let silent = status.peers.iter().filter_map(|peer| {
            let longest = if peer.hello.is_some() { SILENCE_MS } else { KERNEL_SILENCE_MS };
            let seconds = peer.heard_ms / 1000;
            (peer.heard_ms > longest)
                .then(|| format!("the peer {} of [sync] was heard {seconds} s ago", peer.address))
        });
        let different = status.peers.iter().filter_map(|peer| {
            let differs = peer.hello.as_ref().is_some_and(|hello| !hello.same_services);
            differs.then(|| format!("the peer {} of [sync] has other services or real servers", peer.address))
        });
        let warn = |code: &'static str| move |text: String| Warning::new(code, text);
        failure
            .map(warn("sync-failed"))
            .into_iter()
            .chain(unheard.chain(silent).map(warn("sync-peer-silent")))
            .chain(different.map(warn("sync-peer-differs")))
            .collect()
    }
}

fn refused(what: impl Into<String>) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::RequestRefused, what)
}

/// The daemon of these settings, with IPVS's defaults.
fn started(kind: SyncDaemonKind, settings: &SyncDaemonSettings) -> SyncDaemon {
    let SyncDaemonSettings { interface, syncid, maxlen, group, port, ttl } = settings.clone();
    let group = group.unwrap_or(SyncConfig::GROUP);
    let maxlen = match kind {
        SyncDaemonKind::Master => maxlen.unwrap_or(default_len(group)),
        SyncDaemonKind::Backup => backup_len(&interface, group, maxlen),
    };
    let (port, ttl) = (port.unwrap_or(SyncConfig::PORT), ttl.unwrap_or(SyncConfig::TTL));
    SyncDaemon { interface, group, port, ttl, syncid, maxlen }
}

fn listed(daemon: SyncDaemonKind, of: &SyncDaemon) -> SyncDaemonStatus {
    let SyncDaemon { interface, group, port, ttl, syncid, maxlen } = of.clone();
    SyncDaemonStatus { daemon, interface, syncid, maxlen, group, port, ttl }
}

fn peer_status(peer: &SyncPeerReport, own: &SyncFacts) -> SyncPeerStatus {
    let hello = |of: SyncHelloReport| SyncHelloStatus {
        age_ms: of.age_ms,
        lag_ms: of.lag_ms,
        starts: of.starts,
        role: of.role.name().into(),
        complete: of.is_complete,
        connections: of.counts.connections,
        templates: of.counts.templates,
        difference: of.difference,
        same_services: of.config_hash == own.config_hash,
        same_mh: of.mh_hash == own.mh_hash,
    };
    let SyncPeerReport { source, heard_ms, messages, records, refused, lost, .. } = *peer;
    SyncPeerStatus {
        address: source,
        kind: if peer.hello.is_some() { "directrix" } else { "kernel" }.into(),
        heard_ms,
        messages,
        records,
        refused,
        lost,
        hello: peer.hello.map(hello),
    }
}
