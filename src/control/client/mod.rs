//! The client of the control socket, by the types of [`api`].

mod blocking;
mod error;
mod role;
mod sync;

pub use blocking::Blocking;
pub use error::STEP_TIMEOUT;

use crate::control::api::request::ChangeRequest;
use crate::control::api::{self, BODY_MAX, Draft, Plan, SOCKET_PATH_MAX, path};
use crate::io::claim::is_any_served;
use crate::model::{Config, Diagnostic, parse};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Largest response that is read as a whole, in bytes.
const ANSWER_MAX: usize = 64 << 20;
/// Longest line of a list, in bytes.
const LINE_MAX: usize = 64 << 10;

/// A client of one director; every call is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    /// The header `User-Agent`.
    agent: String,
}

impl Client {
    /// Creates a client of the control socket `socket`. Connects on each call.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), agent: api::SERVER.into() }
    }

    /// Sets the command of this program that the director's log names beside each change.
    #[must_use]
    pub fn named(self, command: &str) -> Self {
        Self { agent: api::user_agent(command), ..self }
    }

    /// Returns the status report.
    ///
    /// # Errors
    /// Like every method here, [`Diagnostic`].
    pub async fn status(&self) -> Result<api::overview::Status, Diagnostic> {
        self.read(path::STATUS).await
    }

    /// Returns every virtual service with its real servers.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn services(&self) -> Result<api::Services, Diagnostic> {
        self.read(path::SERVICES).await
    }

    /// Returns every health check.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn checks(&self) -> Result<api::checks::Checks, Diagnostic> {
        self.read(path::CHECKS).await
    }

    /// Returns the latest events, the oldest first.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn events(&self) -> Result<Vec<api::events::Event>, Diagnostic> {
        self.read(path::EVENTS).await
    }

    /// Returns every real server with the reasons for which it gets no new connections.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn reasons(&self) -> Result<Vec<api::reasons::ServerReasons>, Diagnostic> {
        self.read(path::REASONS).await
    }

    /// Returns every host that misuses an address.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn audit(&self) -> Result<api::audit::Audit, Diagnostic> {
        self.read(path::AUDIT).await
    }

    /// Returns every drop reason.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn drops(&self) -> Result<Vec<api::Drops>, Diagnostic> {
        self.read(path::DROPS).await
    }

    /// Returns every worker.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn workers(&self) -> Result<Vec<api::Worker>, Diagnostic> {
        self.read(path::WORKERS).await
    }

    /// Returns the connection timeouts.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn timeouts(&self) -> Result<api::Timeouts, Diagnostic> {
        self.read(path::TIMEOUTS).await
    }

    /// Applies all of `requests` or none. Returns a line for each difference; an older director returns none.
    ///
    /// # Errors
    /// [`Diagnostic`]; about [`Subject::Request`](crate::model::Subject) if one of the requests is at fault.
    pub async fn change(&self, requests: &[ChangeRequest]) -> Result<Vec<String>, Diagnostic> {
        let body = serde_json::to_vec(requests).map_err(|error| self.broken(error.to_string()))?;
        let changed: Option<api::Changed> = self.post(path::CHANGES, body).await?;
        Ok(changed.map(|changed| changed.changes).unwrap_or_default())
    }

    /// Reports the result of an external check.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn report(&self, report: &api::checks::CheckReport) -> Result<(), Diagnostic> {
        let body = serde_json::to_vec(report).map_err(|error| self.broken(error.to_string()))?;
        self.post(path::CHECK_REPORT, body).await
    }

    /// Reloads the configuration file. Returns a line for each difference.
    ///
    /// # Errors
    /// [`Diagnostic`], with the errors of the file as its cause.
    pub async fn reload(&self) -> Result<Vec<String>, Diagnostic> {
        self.post(path::RELOAD, Vec::new()).await
    }

    /// Evaluates a file as a reload would, without applying it.
    ///
    /// # Errors
    /// [`Diagnostic`], with the errors of an invalid file as its cause.
    pub async fn plan(&self, draft: &Draft) -> Result<Plan, Diagnostic> {
        let body = serde_json::to_vec(draft).map_err(|error| self.broken(error.to_string()))?;
        self.post(path::PLAN, body).await
    }

    /// Passes every connection to `each` as it arrives, until the list ends or `each` breaks.
    ///
    /// # Errors
    /// [`Diagnostic`]; `each` may have received some connections before.
    pub async fn connections(
        &self,
        mut each: impl FnMut(api::Connection) -> ControlFlow<()>,
    ) -> Result<(), Diagnostic> {
        let response = self.get(path::CONNECTIONS).await?;
        let (theirs, mut body, mut pending) = (name(&response), response.into_body(), Vec::new());
        while let Some(frame) = self.step(body.frame()).await? {
            let frame = frame.map_err(|error| self.broken(format!("the list ends early ({error})")))?;
            pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if self.take_lines(&theirs, &mut pending, &mut each)?.is_break() {
                return Ok(());
            }
        }
        if pending.is_empty() { Ok(()) } else { Err(self.broken("the list ends within a line")) }
    }

    /// Returns the body of `path` as text.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn text(&self, path: &str) -> Result<String, Diagnostic> {
        let response = self.get(path).await?;
        self.collect(response).await
    }

    /// Returns the running configuration.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn config(&self) -> Result<Config, Diagnostic> {
        let response = self.get(path::CONFIG).await?;
        let theirs = name(&response);
        let text = self.collect(response).await?;
        let config = parse(Path::new("the running configuration"), &text);
        config.map_err(|errors| {
            let first = errors.0.first().map(ToString::to_string).unwrap_or_default();
            self.misread(&theirs, &first)
        })
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<String, Diagnostic> {
        let bytes = self.step(Limited::new(response.into_body(), ANSWER_MAX).collect()).await?;
        let bytes = self.whole(bytes).await?.to_bytes();
        String::from_utf8(bytes.into()).map_err(|_| self.broken("it is not text"))
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Diagnostic> {
        let response = self.get(path).await?;
        self.parse(response).await
    }

    async fn parse<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Diagnostic> {
        let theirs = name(&response);
        let text = self.collect(response).await?;
        serde_json::from_str(&text).map_err(|error| self.misread(&theirs, &error))
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, Diagnostic> {
        if body.len() > BODY_MAX {
            return Err(error::request_too_large(body.len()));
        }
        let request = Request::post(path).header("content-type", "application/json");
        let response = self.send(path, request, body).await?;
        self.parse(response).await
    }

    /// Removes the complete lines from `pending` and passes their connections to `each`.
    fn take_lines(
        &self,
        theirs: &str,
        pending: &mut Vec<u8>,
        each: &mut impl FnMut(api::Connection) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Diagnostic> {
        let whole = pending.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in pending[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let connection = serde_json::from_slice(line).map_err(|error| self.misread(theirs, &error))?;
            if each(connection).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        pending.drain(..whole);
        if pending.len() > LINE_MAX {
            return Err(self.broken("a line does not end"));
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn get(&self, path: &str) -> Result<Response<Incoming>, Diagnostic> {
        self.send(path, Request::get(path), Vec::new()).await
    }

    async fn send(
        &self,
        path: &str,
        request: hyper::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Diagnostic> {
        let stream = self.connect().await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = self.whole(handshake).await?;
        // Ends with the body or with the runtime, so its handle is not kept.
        tokio::spawn(connection);
        let request = request.header("host", "directrix").header(header::USER_AGENT, &self.agent);
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| self.broken(error.to_string()))?;
        let response = self.step(sender.send_request(request)).await?;
        let response = self.whole(response).await?;
        self.check_status(path, response).await
    }

    /// Connects, and retries while the listener's queue is full: a non-blocking Unix socket reports EAGAIN (unix(7)).
    async fn connect(&self) -> Result<UnixStream, Diagnostic> {
        if self.socket.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(error::path_too_long(&self.socket));
        }
        self.step(async {
            loop {
                match UnixStream::connect(&self.socket).await {
                    Err(full) if full.kind() == io::ErrorKind::WouldBlock => {
                        sleep(Duration::from_millis(10)).await;
                    }
                    result => return result.map_err(|error| self.unreachable(&error)),
                }
            }
        })
        .await?
    }

    fn unreachable(&self, refused: &io::Error) -> Diagnostic {
        let socket = &self.socket;
        match refused.kind() {
            io::ErrorKind::ConnectionRefused if self.is_something_else() => error::not_a_socket(socket),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => {
                if is_any_served() {
                    error::elsewhere(socket)
                } else {
                    error::not_running(socket)
                }
            }
            io::ErrorKind::PermissionDenied => error::permission_denied(socket),
            _ => self.broken(format!("cannot connect: {refused}")),
        }
    }

    async fn check_status(
        &self,
        path: &str,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, Diagnostic> {
        let (status, theirs) = (response.status(), name(&response));
        if status == StatusCode::OK {
            return Ok(response);
        }
        let problem = self.problem(response).await;
        Err(match status {
            StatusCode::NOT_FOUND => self.unlike(&theirs, format!("it has no {path}")),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNPROCESSABLE_ENTITY if theirs != api::SERVER => {
                self.unlike(&theirs, format!("it does not understand the request: {}", problem.error))
            }
            status => error::refused(&self.socket, status, problem),
        })
    }

    /// Reads the problem of an error response; empty without a body.
    async fn problem(&self, response: Response<Incoming>) -> api::Problem {
        let body = self.step(Limited::new(response.into_body(), LINE_MAX).collect()).await;
        let bytes = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let error = String::from_utf8_lossy(&bytes).trim().to_owned();
            api::Problem::new(error)
        })
    }

    async fn step<T>(&self, step: impl Future<Output = T>) -> Result<T, Diagnostic> {
        timeout(STEP_TIMEOUT, step).await.map_err(|_| error::timed_out(&self.socket))
    }

    /// Returns the error of a response that this version cannot parse.
    fn misread(&self, theirs: &str, error: &dyn Display) -> Diagnostic {
        self.unlike(theirs, format!("its answer is not understood: {error}"))
    }

    /// Returns a version error, or a broken response if the versions are equal.
    fn unlike(&self, theirs: &str, what: String) -> Diagnostic {
        if theirs == api::SERVER {
            return self.broken(what);
        }
        error::incompatible_version(&self.socket, theirs, &what)
    }

    /// Converts a failed exchange: the director has ended if no process listens on the socket any more.
    async fn whole<T, E: Display>(&self, answer: Result<T, E>) -> Result<T, Diagnostic> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error.to_string(), // dropped before the await below
        };
        Err(match UnixStream::connect(&self.socket).await {
            Err(absent)
                if matches!(absent.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                error::ended(&self.socket)
            }
            _ => self.broken(error),
        })
    }

    /// Returns true for a file other than a socket: connect(2) reports ECONNREFUSED for both.
    fn is_something_else(&self) -> bool {
        std::fs::metadata(&self.socket).is_ok_and(|metadata| !metadata.file_type().is_socket())
    }

    fn broken(&self, what: impl Into<String>) -> Diagnostic {
        error::invalid_response(&self.socket, what)
    }
}

/// Returns the `Server` header: the director's program and version.
fn name(response: &Response<Incoming>) -> String {
    let server = response.headers().get(header::SERVER).and_then(|name| name.to_str().ok());
    server.unwrap_or("an older directrix, or none").to_owned()
}
