//! The control socket during startup: every response has the reason for the wait.
//!
//! It starts no thread: privileges are dropped afterwards, which requires a single thread.

use crate::control::http::connection::{self, Authorize, Listener};
use crate::control::http::limits::CLIENTS_MAX;
use crate::control::http::response::problem;
use crate::control::http::socket::{ControlSocket, bind, failed};
use crate::model::Diagnostic;
use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use std::io;
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// A control socket with mode 0600, for root and the director's own user.
pub(in crate::control) struct StartupSocket {
    socket: ControlSocket,
    listener: StartupListener,
    clients: JoinSet<()>,
}

struct StartupListener {
    listener: UnixListener,
    reason: String,
}

/// A client, with the reason that is reported to it.
struct StartupClient {
    reason: String,
}

impl StartupSocket {
    /// Listens on `path`.
    ///
    /// # Errors
    /// Another director listens there, or the system refuses.
    pub(in crate::control) fn bind(path: &Path) -> Result<Self, Diagnostic> {
        let socket = bind(path)?;
        let listener = socket.listener().and_then(UnixListener::from_std);
        let listener = listener.map_err(|cause| failed("waiting for clients of", path, cause))?;
        let listener = StartupListener { listener, reason: String::new() };
        Ok(Self { socket, listener, clients: JoinSet::new() })
    }

    /// Sets the reason that is reported to the next clients.
    pub(in crate::control) fn set_reason(&mut self, reason: &str) {
        reason.clone_into(&mut self.listener.reason);
    }

    /// Answers clients, without end. Cancel-safe.
    pub(in crate::control) async fn serve(&mut self) {
        connection::serve_clients(&self.listener, &Router::new(), CLIENTS_MAX, &mut self.clients).await;
    }

    /// Returns the socket for the running director, which answers the clients in its queue.
    pub(in crate::control) fn into_socket(mut self) -> ControlSocket {
        self.clients.detach_all();
        self.socket
    }
}

impl Listener for StartupListener {
    const NAME: &'static str = "control socket";
    type Stream = UnixStream;
    type Client = StartupClient;

    async fn accept(&self) -> io::Result<(UnixStream, StartupClient)> {
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, StartupClient { reason: self.reason.clone() }))
    }
}

impl Authorize for StartupClient {
    async fn authorize(&self, _: &mut Request<Incoming>) -> Result<(), Response> {
        let error = format!("waiting for the network: {}", self.reason);
        Err(problem(StatusCode::SERVICE_UNAVAILABLE, error))
    }
}
