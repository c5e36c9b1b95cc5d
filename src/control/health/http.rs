//! HTTP/1.1 part of a probe: a GET on a new connection.

use super::error::outcome_of;
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
use tokio::net::TcpStream;

/// Part of a body that is searched, in bytes.
const BODY_MAX: usize = 64 << 10;
/// Part of a body that is shown, in characters.
const SHOWN_MAX: usize = 60;

/// Requests the path of `check` and judges the answer.
///
/// # Errors
/// [`ProbeFailure`].
pub(super) async fn get(check: &HttpCheck, to: SocketAddr, stream: TcpStream) -> Result<(), ProbeFailure> {
    let host = check.host.clone().unwrap_or_else(|| to.to_string());
    let request = Request::get(check.path.as_str())
        .header(header::HOST, host)
        .header(header::USER_AGENT, SERVER)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| ProbeFailure::Malformed(error.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failure(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        if !check.expect.iter().any(|range| range.contains(status)) {
            return Err(ProbeFailure::Status(status));
        }
        match &check.body {
            Some(text) => find(text, response.into_body()).await,
            None => Ok(()),
        }
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        // It drives the connection. Its own end comes with an answer, or with an error of the request.
        () = async { let _ = connection.await; std::future::pending().await } => unreachable!("it has no end"),
    }
}

/// Reads the body until it has `text`.
async fn find(text: &str, mut body: Incoming) -> Result<(), ProbeFailure> {
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        let from = seen.len().saturating_sub(text.len()); // the text may begin in the part before
        seen.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if seen[from..].windows(text.len().max(1)).any(|part| part == text.as_bytes()) || text.is_empty() {
            return Ok(());
        }
        if seen.len() >= BODY_MAX {
            break;
        }
    }
    Err(ProbeFailure::Body(String::from_utf8_lossy(&seen).chars().take(SHOWN_MAX).collect()))
}

/// The evidence in an error of hyper.
fn failure(error: &hyper::Error) -> ProbeFailure {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(outcome_of) {
        Some(ProbeOutcome::Failed(failure)) => failure,
        _ if error.is_incomplete_message() || error.is_canceled() => ProbeFailure::Closed,
        _ => ProbeFailure::Malformed(format!("no HTTP: {error}")),
    }
}
