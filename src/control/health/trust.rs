//! Trust of TLS probes: certificates of the host or of a file, read again each minute.

use crate::health::LocalError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
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

const SLOW: LocalError = LocalError::Setup(
    "the certificates to trust were not read within the timeout: see whether the file system of ca answers",
);

type Verifier = Result<Arc<WebPkiServerVerifier>, LocalError>;

/// A verifier and when it was made. It is locked while its certificates are read.
type TrustSlot = Arc<tokio::sync::Mutex<Option<(Instant, Verifier)>>>;

/// Verifiers by the file of their certificates; `None`: those of the host.
#[derive(Debug)]
pub(super) struct TrustStores {
    provider: Arc<CryptoProvider>,
    slots: Mutex<HashMap<Option<String>, TrustSlot>>,
}

impl TrustStores {
    pub(super) fn new() -> Self {
        Self { provider: Arc::new(ring::default_provider()), slots: Mutex::default() }
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Returns the verifier for the certificates of `ca`, which are read on a blocking thread if they are not at hand.
    ///
    /// # Errors
    /// [`LocalError::Setup`] if there are none, or they are not read until `deadline`.
    pub(super) async fn verifier(&self, ca: Option<&str>, deadline: tokio::time::Instant) -> Verifier {
        timeout_at(deadline, self.read(ca)).await.unwrap_or(Err(SLOW))
    }

    async fn read(&self, ca: Option<&str>) -> Verifier {
        let mut slot = self.slot(ca).lock_owned().await; // one reads, the others wait for it
        if let Some(verifier) = fresh(&slot) {
            return verifier.clone();
        }
        let (provider, ca) = (Arc::clone(&self.provider), ca.map(str::to_owned));
        // The lock goes with it: a file system that hangs has one thread, however many probes have given up.
        let read = spawn_blocking(move || {
            let verifier = load(ca.as_deref(), provider);
            *slot = Some((Instant::now(), verifier.clone()));
            verifier
        });
        read.await.unwrap_or(Err(LocalError::Panic))
    }

    /// Returns the slot of a file, and forgets old slots.
    fn slot(&self, ca: Option<&str>) -> TrustSlot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.try_lock().map_or(true, |slot| fresh(&slot).is_some()));
        Arc::clone(slots.entry(ca.map(str::to_owned)).or_default())
    }
}

fn fresh(slot: &Option<(Instant, Verifier)>) -> Option<&Verifier> {
    slot.as_ref().filter(|(at, _)| at.elapsed() < AGE_MAX).map(|(_, verifier)| verifier)
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

#[cfg(test)]
mod tests {
    use super::super::tls::certificates::Authority;
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    /// A FIFO without a writer hangs its readers.
    #[test]
    fn a_file_that_hangs_is_the_hosts_fault_and_read_once() {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let hung = directory.path().join("ca.pem");
        mkfifo(&hung, Mode::from_bits_truncate(0o600)).unwrap();
        let ca = Some(hung.to_str().unwrap());
        let good = authority.certificate().display().to_string();
        let after = |millis| tokio::time::Instant::now() + Duration::from_millis(millis);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let trust = TrustStores::new();
        runtime.block_on(async {
            assert_eq!(trust.verifier(ca, after(50)).await.unwrap_err(), SLOW);
            assert_eq!(trust.verifier(ca, after(50)).await.unwrap_err(), SLOW);
            assert!(trust.verifier(Some(&good), after(5_000)).await.is_ok(), "another file");
            let text = std::fs::read(&good).unwrap();
            let written = spawn_blocking({
                let hung = hung.clone();
                move || std::fs::write(hung, text)
            });
            assert!(trust.verifier(ca, after(5_000)).await.is_ok(), "of the first reader, the only one");
            written.await.unwrap().unwrap();
        });
    }
}
