//! HTTP/1.1 part of a probe: a request on a connected stream.

use super::tls;
use crate::control::api::SERVER;
use crate::health::{ProbeFailure, ProbeOutcome};
use crate::model::HttpCheck;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// Part of a body that is searched, in bytes.
const BODY_MAX: usize = 64 << 10;
/// Part of a body that is shown, in characters.
const SHOWN_MAX: usize = 60;

/// Sends the request of `check` and judges the answer. `to`: the destination, for the Host header.
///
/// # Errors
/// [`ProbeFailure`].
pub(super) async fn request<S>(check: &HttpCheck, to: SocketAddr, stream: S) -> Result<(), ProbeFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failure(&error))?;
    let answer = async {
        let response = sender.send_request(head(check, to)?).await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        if !check.expect.iter().any(|range| range.contains(status)) {
            return Err(ProbeFailure::Status(status));
        }
        judge(check, response.into_body()).await
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        // It drives the connection. Its own end comes with an answer, or with an error of the request.
        () = async { let _ = connection.await; std::future::pending().await } => unreachable!("it has no end"),
    }
}

/// The request. A configured header replaces the usual one of its name.
fn head(check: &HttpCheck, to: SocketAddr) -> Result<Request<Empty<Bytes>>, ProbeFailure> {
    let host = check.host.clone().unwrap_or_else(|| to.to_string());
    let mut request =
        Request::builder().method(check.method.name()).uri(check.path.as_str()).header(header::HOST, host);
    let usual = [(header::USER_AGENT, SERVER), (header::ACCEPT, "*/*")];
    let is_set = |name: &header::HeaderName| {
        check.headers.iter().any(|(set, _)| set.eq_ignore_ascii_case(name.as_str()))
    };
    for (name, value) in usual.into_iter().filter(|(name, _)| !is_set(name)) {
        request = request.header(name, value);
    }
    for (name, value) in &check.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let request = request.header(header::CONNECTION, "close").body(Empty::new());
    request.map_err(|error| ProbeFailure::Malformed(error.to_string()))
}

/// Judges the first [`BODY_MAX`] bytes of a body.
async fn judge(check: &HttpCheck, body: Incoming) -> Result<(), ProbeFailure> {
    match (&check.body, &check.regex) {
        (None, None) => Ok(()),
        (Some(text), None) => read_until(text, body).await,
        (text, Some(pattern)) => {
            let seen = read(body).await?;
            let has_text = text.as_ref().is_none_or(|text| has(&seen, text));
            (has_text && pattern.matches(&seen)).then_some(()).ok_or_else(|| lacking(&seen))
        }
    }
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, ProbeFailure> {
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        seen.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if seen.len() >= BODY_MAX {
            seen.truncate(BODY_MAX);
            break;
        }
    }
    Ok(seen)
}

fn has(seen: &[u8], text: &str) -> bool {
    text.is_empty() || seen.windows(text.len()).any(|part| part == text.as_bytes())
}

fn lacking(seen: &[u8]) -> ProbeFailure {
    ProbeFailure::Body(String::from_utf8_lossy(seen).chars().take(SHOWN_MAX).collect())
}

/// Reads the body until it has `text`.
async fn read_until(text: &str, mut body: Incoming) -> Result<(), ProbeFailure> {
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        let from = seen.len().saturating_sub(text.len()); // the text may begin in the part before
        seen.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if has(&seen[from..], text) {
            return Ok(());
        }
        if seen.len() >= BODY_MAX {
            break;
        }
    }
    Err(lacking(&seen))
}

/// The evidence in an error of hyper.
fn failure(error: &hyper::Error) -> ProbeFailure {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(tls::outcome) {
        Some(ProbeOutcome::Failed(failure)) => failure,
        _ if error.is_incomplete_message() || error.is_canceled() => ProbeFailure::Closed,
        _ => ProbeFailure::Malformed(format!("no HTTP: {error}")),
    }
}
