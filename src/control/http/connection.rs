//! HTTP/1.1 for untrusted clients: one request per connection, a bounded number of clients, each for a bounded time.
//!
//! A slow client delays its own task only, never the control loop.

use crate::control::api::SERVER;
use crate::control::http::limits::{READ_TIMEOUT, REQUEST_TIMEOUT};
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

/// Largest request head in bytes. hyper allows no less than 8192.
const REQUEST_MAX: usize = 16 * 1024;

/// A listener of any transport.
pub(in crate::control) trait Listener: Sync {
    /// Name in the log.
    const NAME: &'static str;
    /// Connection to one client.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Identity and rights of one client.
    type Client: Authorize;

    /// Accepts the next client.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Client)>> + Send;
}

/// The authorization of a client's requests; kept until its response is complete.
pub(in crate::control) trait Authorize: Send + Sync + 'static {
    /// Checks a request, and adds the extensions that its handler needs.
    ///
    /// # Errors
    /// The response to a request that this client has no right to.
    fn authorize(&self, request: &mut Request<Incoming>)
    -> impl Future<Output = Result<(), Response>> + Send;
}

/// Every request is allowed.
impl Authorize for () {
    async fn authorize(&self, _: &mut Request<Incoming>) -> Result<(), Response> {
        Ok(())
    }
}

impl Listener for TcpListener {
    const NAME: &'static str = "metrics listener";
    type Stream = TcpStream;
    type Client = ();

    async fn accept(&self) -> io::Result<(TcpStream, ())> {
        TcpListener::accept(self).await.map(|(stream, _)| (stream, ()))
    }
}

/// Serves the clients of `listener`, `clients_max` at a time, without end.
///
/// Acquires a permit before it accepts: further clients wait in the listener's queue.
pub(in crate::control) async fn serve_clients<L: Listener>(
    listener: &L,
    router: &Router,
    clients_max: usize,
    clients: &mut JoinSet<()>,
) {
    let permits = Arc::new(Semaphore::new(clients_max));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let (stream, client) = accept(listener).await;
        let router = router.clone();
        clients.spawn(async move {
            serve_client::<L>(stream, client, router).await;
            drop(permit);
        });
        while clients.try_join_next().is_some() {}
    }
}

/// Accepts the next client; retries once a second while descriptors or memory are exhausted.
async fn accept<L: Listener>(listener: &L) -> (L::Stream, L::Client) {
    loop {
        match listener.accept().await {
            Ok(client) => return client,
            Err(error) => {
                tracing::warn!(listener = L::NAME, %error, "accepting a client failed; trying again")
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Serves one request and its response. Errors are the client's and need no report.
async fn serve_client<L: Listener>(stream: L::Stream, client: L::Client, router: Router) {
    let (client, router) = (Arc::new(client), TowerToHyperService::new(router));
    let service = service_fn(|mut request: Request<Incoming>| {
        let (client, router) = (Arc::clone(&client), router.clone());
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let mut response = match client.authorize(&mut request).await {
                Ok(()) => router.call(request).await?,
                Err(refusal) => {
                    discard(request.into_body()).await;
                    refusal
                }
            };
            let status = response.status().as_u16();
            tracing::debug!(listener = L::NAME, %method, path, status, "request answered");
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
        tracing::debug!(listener = L::NAME, %error, "client connection failed");
    }
}

/// Reads the rest of a refused request: a client that still writes would get EPIPE before it reads the response.
async fn discard(mut body: Incoming) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(REQUEST_TIMEOUT, all).await;
}
