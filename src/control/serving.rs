//! Serves HTTP/1.1 to clients that nobody vouches for: one request a connection, so many clients
//! at a time, each for a bounded time. What waits for a client is never the control loop.

use super::stall::Stall;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long a client may take to send its request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may go without reading any of its answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest request head in bytes. hyper allows no less than 8192.
const REQUEST_MAX: usize = 16 * 1024;

/// A listener of any kind.
pub(super) trait Door: Sync {
    /// What it is called in the log.
    const NAME: &'static str;
    /// One client.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next client.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Door for UnixListener {
    const NAME: &'static str = "the control socket";
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Door for TcpListener {
    const NAME: &'static str = "the metrics listener";
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves whoever comes through `door`, `places` at a time, for ever. Takes a place for a client
/// first, then the client: those without wait in the listener's queue.
pub(super) async fn attend<D: Door>(door: &D, router: &Router, places: usize, clients: &mut JoinSet<()>) {
    let places = Arc::new(Semaphore::new(places));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = next_client(door).await;
        let router = router.clone();
        clients.spawn(async move {
            converse::<D>(stream, router).await;
            drop(place);
        });
        while clients.try_join_next().is_some() {}
    }
}

/// Accepting fails when descriptors or memory run out: that passes, and is logged once a second
/// at most.
async fn next_client<D: Door>(door: &D) -> D::Stream {
    loop {
        match door.next().await {
            Ok(stream) => return stream,
            Err(cause) => tracing::warn!(%cause, "{} cannot accept a client; trying again", D::NAME),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One request and its answer. Errors are the client's: a malformed request has been answered
/// with its status, a client that went away needs nothing.
async fn converse<D: Door>(stream: D::Stream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(REQUEST_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Stall::new(stream, READ_TIMEOUT)), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a client of {} was dropped", D::NAME);
    }
}
