//! State that probes share.

use super::certificate::{CertificateWatch, unix_now};
use super::log::log_certificate;
use super::trust::TrustStores;
use super::{http, tls};
use crate::health::{CheckKey, ProbeOutcome};
use crate::model::HttpsCheck;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};

/// State that probes share.
#[derive(Debug)]
pub(super) struct ProbeShared {
    trust: TrustStores,
    certificates: Mutex<CertificateWatch>,
}

impl ProbeShared {
    pub(super) fn new() -> Self {
        Self { trust: TrustStores::new(), certificates: Mutex::default() }
    }

    /// Does the TLS handshake and the request of a check on a connected stream.
    ///
    /// # Errors
    /// The outcome of the probe.
    pub(super) async fn https<S>(
        &self,
        key: &CheckKey,
        check: &HttpsCheck,
        stream: S,
    ) -> Result<(), ProbeOutcome>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let to = key.destination();
        let handshake = tls::handshake(check, to.ip(), &self.trust, stream).await;
        if let Some(end) = handshake.certificate_end {
            self.observe_certificate(key, end);
        }
        http::request(&check.http, to, handshake.stream?).await.map_err(ProbeOutcome::Failed)
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
    }

    fn certificates(&self) -> MutexGuard<'_, CertificateWatch> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
