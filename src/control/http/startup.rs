//! The control socket of a director that waits for its host: whatever is asked, the answer is what it waits for.
//!
//! It starts no thread: privileges are given up afterwards, on the only thread there is.

use crate::control::http::connection::{self, Authorize, Listener};
use crate::control::http::server::{CLIENTS, problem};
use crate::control::http::socket::{ControlSocket, ControlSocketError, bind};
use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use std::io;
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// A control socket with mode 0600, for root and the user that the director runs as.
pub(in crate::control) struct StartupSocket {
    socket: ControlSocket,
    queue: Queue,
    clients: JoinSet<()>,
}

struct Queue {
    listener: UnixListener,
    reason: String,
}

/// What one client is told.
struct Waiting(String);

impl StartupSocket {
    /// Listens on `path`, as a director does.
    ///
    /// # Errors
    /// [`ControlSocketError`]: another director listens there, or the system refuses.
    pub(in crate::control) fn bind(path: &Path) -> Result<Self, ControlSocketError> {
        let socket = bind(path)?;
        let refused = |cause| ControlSocketError::System {
            what: "waiting for clients of",
            path: path.to_owned(),
            cause,
        };
        let listener = socket.listener().and_then(UnixListener::from_std).map_err(refused)?;
        let queue = Queue { listener, reason: String::new() };
        Ok(Self { socket, queue, clients: JoinSet::new() })
    }

    /// Says what the director waits for, to clients that come from now on.
    pub(in crate::control) fn set_reason(&mut self, reason: &str) {
        reason.clone_into(&mut self.queue.reason);
    }

    /// Answers clients, for ever. May be dropped and called again.
    pub(in crate::control) async fn serve(&mut self) {
        connection::attend(&self.queue, &Router::new(), CLIENTS, &mut self.clients).await;
    }

    /// The socket for the director, which answers clients that have not been accepted yet.
    pub(in crate::control) fn into_socket(mut self) -> ControlSocket {
        self.clients.detach_all();
        self.socket
    }
}

impl Listener for Queue {
    const NAME: &'static str = "the control socket";
    type Stream = UnixStream;
    type Authorize = Waiting;

    async fn next(&self) -> io::Result<(UnixStream, Waiting)> {
        self.listener.accept().await.map(|(stream, _)| (stream, Waiting(self.reason.clone())))
    }
}

impl Authorize for Waiting {
    async fn refusal(&self, _: &mut Request<Incoming>) -> Option<Response> {
        let error = format!("waiting for the network: {}", self.0);
        Some(problem(StatusCode::SERVICE_UNAVAILABLE, error))
    }
}
