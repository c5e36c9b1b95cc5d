//! State that probes share.

use super::certificate::{CertificateWatch, unix_now};
use super::external::ExternalReports;
use super::log::log_certificate;
use super::places::{self, ProbePlace, on_place, owned_place};
use super::tasks::BlockingTasks;
use super::tls::ProbeVerifier;
use super::trust::TrustStores;
use super::{file, http, script, tls};
use crate::control::api::checks::CheckReport;
use crate::health::{CheckKey, ProbeOutcome, WeightChange};
use crate::model::{CheckKind, ExternalCheck, FileCheck, HttpsCheck, ScriptCheck};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Most scripts at a time.
const SCRIPTS_MAX: usize = 32;
/// Most TLS handshakes at a time: all other checks wait while this thread computes one.
const HANDSHAKES_MAX: usize = 32;
/// Time after which a handshake gives its place back. What takes longer waits for the server.
const HANDSHAKE_HOLD: Duration = Duration::from_millis(50);

/// State that probes share.
#[derive(Debug)]
pub(super) struct ProbeShared {
    trust: TrustStores,
    certificates: Mutex<CertificateWatch>,
    reports: Mutex<ExternalReports>,
    /// Places of scripts that run or are being ended.
    scripts: Arc<Semaphore>,
    tasks: BlockingTasks,
    /// Places of TLS handshakes.
    handshakes: Semaphore,
}

impl ProbeShared {
    pub(super) fn new() -> Self {
        Self {
            trust: TrustStores::new(),
            certificates: Mutex::default(),
            reports: Mutex::default(),
            scripts: Arc::new(Semaphore::new(SCRIPTS_MAX)),
            tasks: BlockingTasks::default(),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
        }
    }

    /// Waits for a place for a TLS handshake.
    ///
    /// # Errors
    /// As [`places::place`].
    pub(super) async fn handshake_place(&self, deadline: Instant) -> Result<ProbePlace<'_>, ProbeOutcome> {
        places::place(&self.handshakes, deadline).await
    }

    /// Returns the verifier of a check, whose certificates may have to be read first.
    ///
    /// # Errors
    /// [`ProbeOutcome::Unknown`] if there is none until `deadline`.
    pub(super) async fn verifier(
        &self,
        check: &HttpsCheck,
        deadline: Instant,
    ) -> Result<ProbeVerifier, ProbeOutcome> {
        ProbeVerifier::new(check, &self.trust, deadline).await.map_err(ProbeOutcome::Unknown)
    }

    /// Does the TLS handshake, on its place, and the request of a check on a connected stream.
    ///
    /// # Errors
    /// The outcome of the probe.
    pub(super) async fn https<S>(
        &self,
        key: &CheckKey,
        check: &HttpsCheck,
        (stream, verifier, place): (S, ProbeVerifier, ProbePlace<'_>),
    ) -> Result<(), ProbeOutcome>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let to = key.destination();
        let handshake = tls::handshake(check, to.ip(), verifier, stream);
        let handshake = on_place(place, HANDSHAKE_HOLD, handshake).await;
        if let Some(end) = handshake.certificate_end {
            self.observe_certificate(key, end);
        }
        http::request(&check.http, to, handshake.stream?).await.map_err(ProbeOutcome::Failed)
    }

    /// Runs a script, once it has a place. Returns what it does to the weight.
    ///
    /// # Errors
    /// The outcome of the probe.
    pub(super) async fn script(
        &self,
        key: &CheckKey,
        check: &ScriptCheck,
        deadline: Instant,
    ) -> Result<Option<WeightChange>, ProbeOutcome> {
        let place = owned_place(&self.scripts, deadline).await?;
        script::run(check, key, (place, &self.tasks), deadline).await
    }

    /// Reads and judges the file of a check. Returns what it does to the weight.
    ///
    /// # Errors
    /// The outcome of the probe.
    pub(super) async fn file(
        &self,
        key: &CheckKey,
        check: &FileCheck,
        deadline: Instant,
    ) -> Result<Option<WeightChange>, ProbeOutcome> {
        file::run(check, key, &self.tasks, deadline).await
    }

    /// Judges the latest report on the server of `key`.
    ///
    /// # Errors
    /// The outcome of the probe.
    pub(super) fn external(&self, key: &CheckKey, check: &ExternalCheck) -> Result<(), ProbeOutcome> {
        self.reports().judge(check, key.server, std::time::Instant::now())
    }

    pub(super) fn take_report(&self, report: CheckReport) {
        self.reports().insert(report, std::time::Instant::now());
    }

    fn observe_certificate(&self, key: &CheckKey, end: i64) {
        let change = self.certificates().observe(key, end, unix_now());
        if let Some(change) = change {
            log_certificate(key, change);
        }
    }

    /// The end of the certificate of each check that has one, in Unix seconds.
    pub(super) fn certificate_ends(&self) -> HashMap<CheckKey, i64> {
        self.certificates().ends()
    }

    /// Forgets what belongs to other checks than these.
    pub(super) fn retain(&self, used: &HashSet<&CheckKey>) {
        self.certificates().retain(|key| used.contains(key));
        let is_needed = |server, name: &str| {
            used.iter().any(|key| {
                key.server == server && matches!(&*key.kind, CheckKind::External(of) if of.name == name)
            })
        };
        self.reports().retain(is_needed);
    }

    fn reports(&self) -> MutexGuard<'_, ExternalReports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn certificates(&self) -> MutexGuard<'_, CertificateWatch> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
