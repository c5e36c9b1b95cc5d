//! Serves HTTP/1.1 to clients that nobody vouches for: one request a connection, so many clients
//! at a time, each for a bounded time. What waits for a client is never the control loop.

use crate::control::api::SERVER;
use crate::control::http::write_timeout::WriteTimeout;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long a client may take to send its request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may go without reading any of its answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest request head in bytes. hyper allows no less than 8192.
const REQUEST_MAX: usize = 16 * 1024;

/// A listener of any kind.
pub(in crate::control) trait Listener: Sync {
    /// What it is called in the log.
    const NAME: &'static str;
    /// One client.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// What is known of it.
    type Authorize: Authorize;

    /// The next client.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Authorize)>> + Send;
}

/// A client, as its requests are judged. Kept until it has its answer.
pub(in crate::control) trait Authorize: Send + Sync + 'static {
    /// The answer to a request that this client may not make. Else the request learns what handlers need to know
    /// of its sender.
    fn refusal(&self, request: &mut Request<Incoming>) -> impl Future<Output = Option<Response>> + Send;
}

/// Anybody, who may ask for all that is answered.
impl Authorize for () {
    async fn refusal(&self, _: &mut Request<Incoming>) -> Option<Response> {
        None
    }
}

impl Listener for TcpListener {
    const NAME: &'static str = "the metrics listener";
    type Stream = TcpStream;
    type Authorize = ();

    async fn next(&self) -> io::Result<(TcpStream, ())> {
        self.accept().await.map(|(stream, _)| (stream, ()))
    }
}

/// Serves whoever comes through `door`, `places` at a time, for ever. Takes a place for a client
/// first, then the client: those without wait in the listener's queue.
pub(in crate::control) async fn attend<D: Listener>(
    door: &D,
    router: &Router,
    places: usize,
    clients: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(places));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, guest) = next_client(door).await;
        let router = router.clone();
        clients.spawn(async move {
            converse::<D>(stream, guest, router).await;
            drop(place);
        });
        while clients.try_join_next().is_some() {}
    }
}

/// Accepting fails when descriptors or memory run out: that passes, and is logged once a second
/// at most.
async fn next_client<D: Listener>(door: &D) -> (D::Stream, D::Authorize) {
    loop {
        match door.next().await {
            Ok(client) => return client,
            Err(cause) => tracing::warn!(%cause, "{} cannot accept a client; trying again", D::NAME),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One request and its answer. Errors are the client's: a malformed request has been answered
/// with its status, a client that went away needs nothing.
async fn converse<D: Listener>(stream: D::Stream, guest: D::Authorize, router: Router) {
    let (guest, router) = (Arc::new(guest), TowerToHyperService::new(router));
    let service = service_fn(|mut request: Request<Incoming>| {
        let (guest, router) = (Arc::clone(&guest), router.clone());
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let mut response = match guest.refusal(&mut request).await {
                Some(refusal) => {
                    swallow(request.into_body()).await;
                    refusal
                }
                None => router.call(request).await?,
            };
            tracing::debug!(%method, path, status = response.status().as_u16(), "request answered by {}", D::NAME);
            response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(REQUEST_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, READ_TIMEOUT)), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a client of {} was dropped", D::NAME);
    }
}

/// A client that still writes when the answer comes would see a broken pipe, and not the answer.
async fn swallow(mut body: Incoming) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(REQUEST_TIMEOUT, all).await;
}
