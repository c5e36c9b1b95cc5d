//! Trust of TLS probes: certificates of the host or of a file, read again each minute.

use crate::health::LocalError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Time for which the certificates are used that were read.
const AGE_MAX: Duration = Duration::from_secs(60);

const NO_CERTIFICATES: LocalError = LocalError::Setup(
    "this host has no certificates to trust: install ca-certificates, or write ca or verify = false",
);
const NO_FILE: LocalError =
    LocalError::Setup("the file of ca cannot be read: let the director's user read it, or correct the path");
const EMPTY_FILE: LocalError =
    LocalError::Setup("the file of ca has no certificate in PEM: correct the path or the file");

type Verifier = Result<Arc<WebPkiServerVerifier>, LocalError>;

/// Verifiers by the file of their certificates; `None`: those of the host.
#[derive(Debug)]
pub(super) struct TrustStores {
    provider: Arc<CryptoProvider>,
    read: Mutex<HashMap<Option<String>, (Instant, Verifier)>>,
}

impl TrustStores {
    pub(super) fn new() -> Self {
        Self { provider: Arc::new(ring::default_provider()), read: Mutex::default() }
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Returns the verifier for the certificates of `ca`, which are read on a blocking thread if they are not at hand.
    ///
    /// # Errors
    /// [`LocalError::Setup`] if there are none.
    pub(super) async fn verifier(&self, ca: Option<&str>) -> Verifier {
        let mut read = self.read.lock().await; // one reads, the others wait for it
        let ca = ca.map(str::to_owned);
        if let Some((_, verifier)) = read.get(&ca).filter(|(at, _)| at.elapsed() < AGE_MAX) {
            return verifier.clone();
        }
        let (provider, file) = (Arc::clone(&self.provider), ca.clone());
        let verifier = tokio::task::spawn_blocking(move || load(file.as_deref(), provider)).await;
        let verifier = verifier.unwrap_or(Err(LocalError::Panic));
        read.retain(|_, (at, _)| at.elapsed() < AGE_MAX);
        read.insert(ca, (Instant::now(), verifier.clone()));
        verifier
    }
}

/// Reads certificates. Blocks. Unusable ones are left out, as the host's store often has some.
fn load(ca: Option<&str>, provider: Arc<CryptoProvider>) -> Verifier {
    let (certificates, none) = match ca {
        None => (rustls_native_certs::load_native_certs().certs, NO_CERTIFICATES),
        Some(file) => {
            let text = std::fs::read(file).map_err(|_| NO_FILE)?;
            (CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect(), EMPTY_FILE)
        }
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|_| none) // the only reason is that there are none
}
