//! TLS part of a probe: a full handshake on a connected stream, and what is wrong with the certificate.

use super::certificate::{date, days_to, not_after};
use super::error::outcome_of;
use super::trust::TrustStores;
use crate::health::{LocalError, ProbeFailure, ProbeOutcome};
use crate::model::HttpsCheck;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

const BAD_NAME: LocalError =
    LocalError::Setup("the name of the server is no name of a host: correct sni or host");
const NO_VERSION: LocalError = LocalError::Setup("this build of directrix has no version of TLS");

/// A handshake: the stream or the outcome of the probe, and the certificate's end in Unix seconds, if there is one.
pub(super) struct Handshake<S> {
    pub(super) stream: Result<TlsStream<S>, ProbeOutcome>,
    pub(super) certificate_end: Option<i64>,
}

/// Does the handshake with the server at `address`.
///
/// Sessions are never resumed: the present certificate of this server is what matters.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    check: &HttpsCheck,
    address: IpAddr,
    verifier: ProbeVerifier,
    stream: S,
) -> Handshake<S> {
    let verifier = Arc::new(verifier);
    let prepared = server_name(check, address).and_then(|name| Ok((name, config(Arc::clone(&verifier))?)));
    let stream = match prepared {
        Ok((name, config)) => {
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| outcome(&error))
        }
        Err(error) => Err(ProbeOutcome::Unknown(error)),
    };
    Handshake { stream, certificate_end: verifier.certificate_end() }
}

/// The name that is sent and verified. Of an address none is sent (RFC 6066 section 3).
fn server_name(check: &HttpsCheck, address: IpAddr) -> Result<ServerName<'static>, LocalError> {
    match check.server_name() {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| BAD_NAME),
        None => Ok(ServerName::IpAddress(address.into())),
    }
}

fn config(verifier: Arc<ProbeVerifier>) -> Result<Arc<ClientConfig>, LocalError> {
    let config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions();
    let config = config.map_err(|_| NO_VERSION)?.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = config.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Verifies the certificate of one handshake, or none, and keeps its end.
#[derive(Debug)]
pub(super) struct ProbeVerifier {
    provider: Arc<CryptoProvider>,
    /// `None`: every certificate is good.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    schemes: Vec<SignatureScheme>,
    end: Mutex<Option<i64>>,
}

impl ProbeVerifier {
    /// The verifier for the certificates that `check` trusts, which may have to be read first.
    ///
    /// # Errors
    /// As [`TrustStores::verifier`].
    pub(super) async fn new(
        check: &HttpsCheck,
        trust: &TrustStores,
        deadline: Instant,
    ) -> Result<Self, LocalError> {
        let ca = check.ca.as_deref();
        let verifier = if check.verify { Some(trust.verifier(ca, deadline).await?) } else { None };
        let provider = Arc::clone(trust.provider());
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        Ok(Self { provider, verifier, schemes, end: Mutex::default() })
    }

    fn certificate_end(&self) -> Option<i64> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for ProbeVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = not_after(certificate);
        match &self.verifier {
            Some(of) => of.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.verifier {
            Some(of) => of.verify_tls12_signature(message, certificate, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.verifier {
            Some(of) => of.verify_tls13_signature(message, certificate, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// The outcome that an error of a handshake, or of a stream after it, means.
pub(super) fn outcome(error: &io::Error) -> ProbeOutcome {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let failure = match tls {
        None => return outcome_of(error),
        Some(rustls::Error::InvalidCertificate(fault)) => ProbeFailure::Certificate(sentence(fault)),
        Some(rustls::Error::InvalidMessage(_)) => ProbeFailure::Malformed(
            "the port speaks no TLS: correct the port, or write type = \"http\"".into(),
        ),
        Some(rustls::Error::AlertReceived(alert)) => {
            ProbeFailure::Malformed(format!("the server refuses the TLS handshake: {alert:?}"))
        }
        Some(other) => ProbeFailure::Malformed(format!("TLS: {other}")),
    };
    ProbeOutcome::Failed(failure)
}

/// A fault of a certificate, with the remedy.
fn sentence(fault: &CertificateError) -> String {
    let unix = |time: &UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match fault {
        CertificateError::ExpiredContext { time, not_after } => {
            let (now, end) = (unix(time), unix(not_after));
            format!("the certificate expired {}, on {}: renew it", ago(days_to(now, end)), date(end))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let start = date(unix(not_before));
            format!("the certificate is not valid before {start}: correct it, or this host's clock")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            // Each is the text of a Rust value: DnsName("www.example.org").
            let names = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name));
            let names: Vec<_> = names.collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            let name = expected.to_str();
            format!("the certificate is valid for {names}, not for {name}: correct it, or the key host or sni")
        }
        CertificateError::UnknownIssuer => "the issuer of the certificate is not trusted: write its file into ca, let the \
             server send the intermediate certificates, or write verify = false"
            .into(),
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "the certificate is that of an authority, not of a server: issue one for the server, or write verify = false".into()
        }
        other => format!("the certificate is not valid: {other}"),
    }
}

fn ago(days: i64) -> String {
    match days {
        0 => "today".into(),
        1 => "a day ago".into(),
        days => format!("{days} days ago"),
    }
}

#[cfg(test)]
#[path = "../../../tests/support/certificates.rs"]
pub(super) mod certificates;

#[cfg(test)]
mod tests {
    use super::certificates::{Authority, Issued};
    use super::*;
    use crate::model::HttpCheck;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;

    const PAST: (&str, &str) = ("20200101000000Z", "20200201000000Z");
    const PRESENT: (&str, &str) = ("20200101000000Z", "20480101000000Z");
    const FUTURE: (&str, &str) = ("20470101000000Z", "20480101000000Z");
    const END: i64 = 2_461_449_600; // date -u -d 2048-01-01 +%s

    fn acceptor(issued: &Issued) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![CertificateDer::from_pem_file(&issued.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
    }

    fn check(authority: &Authority) -> HttpsCheck {
        let host = Some("www.example.org:8443".into());
        let ca = Some(authority.certificate().display().to_string());
        let http = HttpCheck { host, ..HttpCheck::default() };
        HttpsCheck { http, sni: None, verify: true, ca, expiry_warning: 14 }
    }

    /// Handshake with a server that has `issued` and then echoes. Returns the outcome and the end.
    fn shake(check: &HttpsCheck, issued: &Issued) -> (Result<(), ProbeOutcome>, Option<i64>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (to, acceptor) = (listener.local_addr().unwrap(), acceptor(issued));
            tokio::spawn(async move {
                let stream = acceptor.accept(listener.accept().await.unwrap().0).await?;
                let (mut from, mut to) = tokio::io::split(stream);
                tokio::io::copy(&mut from, &mut to).await
            });
            let stream = TcpStream::connect(to).await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            let verifier = match ProbeVerifier::new(check, &TrustStores::new(), deadline).await {
                Ok(verifier) => verifier,
                Err(error) => return (Err(ProbeOutcome::Unknown(error)), None),
            };
            let Handshake { stream, certificate_end } = handshake(check, to.ip(), verifier, stream).await;
            let outcome = match stream {
                Ok(mut stream) => {
                    stream.write_all(b"echo").await.unwrap();
                    let mut answer = [0; 4];
                    stream.read_exact(&mut answer).await.unwrap();
                    assert_eq!(&answer, b"echo");
                    Ok(())
                }
                Err(outcome) => Err(outcome),
            };
            (outcome, certificate_end)
        })
    }

    fn sentence_of(outcome: Result<(), ProbeOutcome>) -> String {
        match outcome {
            Err(ProbeOutcome::Failed(ProbeFailure::Certificate(sentence))) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_valid_certificate_passes_and_shows_its_end() {
        let authority = Authority::new();
        let (usual, issued) = (check(&authority), authority.issue("www.example.org", PRESENT));
        assert_eq!(shake(&usual, &issued), (Ok(()), Some(END)));
        let by_sni = HttpsCheck { sni: Some("mail.example.org".into()), ..usual };
        assert_eq!(shake(&by_sni, &authority.issue("mail.example.org", PRESENT)).0, Ok(()));
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_sentence() {
        let (authority, other) = (Authority::new(), Authority::new());
        let check = check(&authority);
        for (issued, sentence) in [
            (authority.issue("www.example.org", PAST), "days ago, on 2020-02-01: renew it"),
            (authority.issue("www.example.org", FUTURE), "is not valid before 2047-01-01"),
            (authority.issue("mail.example.org", PRESENT), "for mail.example.org, not for www.example.org"),
            (other.issue("www.example.org", PRESENT), "the issuer of the certificate is not trusted"),
        ] {
            let (outcome, end) = shake(&check, &issued);
            let found = sentence_of(outcome);
            assert!(found.contains(sentence), "{found}");
            assert!(end.is_some(), "its end is shown, too: {sentence}");
            assert_eq!(shake(&HttpsCheck { verify: false, ..check.clone() }, &issued), (Ok(()), end));
        }
    }

    #[test]
    fn a_missing_or_empty_file_of_authorities_is_the_hosts_fault() {
        let authority = Authority::new();
        let issued = authority.issue("www.example.org", PRESENT);
        for ca in ["/nonexistent/ca.pem".to_owned(), issued.key.display().to_string()] {
            let (outcome, _) = shake(&HttpsCheck { ca: Some(ca), ..check(&authority) }, &issued);
            assert!(matches!(outcome, Err(ProbeOutcome::Unknown(LocalError::Setup(_)))), "{outcome:?}");
        }
    }

    #[test]
    fn a_port_without_tls_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let authority = Authority::new();
        let check = check(&authority);
        let outcome = runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            theirs.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            let verifier = ProbeVerifier::new(&check, &TrustStores::new(), deadline).await.unwrap();
            let shaken = handshake(&check, [127, 0, 0, 1].into(), verifier, ours);
            tokio::time::timeout_at(deadline, shaken).await.unwrap().stream.err()
        });
        let Some(ProbeOutcome::Failed(ProbeFailure::Malformed(what))) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(what.contains("speaks no TLS"), "{what}");
    }
}
