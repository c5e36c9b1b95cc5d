//! The metrics listener: `GET /metrics` and `GET /healthz` over TCP, and nothing else.
//!
//! Every host that reaches its address may read; no request changes anything.

use crate::control::api::path;
use crate::control::http::response::{problem, wrong_method};
use crate::control::http::{connection, health, metrics};
use crate::control::query::Query;
use crate::model::Diagnostic;
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Clients served at the same time; more wait to be accepted.
pub const SCRAPERS_MAX: usize = 16;

/// A bound metrics listener.
#[derive(Debug)]
pub struct Exporter {
    listener: TcpListener,
}

impl Exporter {
    /// Listens on `address`; port 0 selects a free port.
    ///
    /// # Errors
    /// If the address cannot be bound.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn bind(address: SocketAddr) -> Result<Self, Diagnostic> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        bind().map(|listener| Self { listener }).map_err(|cause| bind_error(address, &cause))
    }

    /// Takes over the listener of the process before; `None` if it has another address.
    ///
    /// # Errors
    /// Of getsockname(2) and epoll(7).
    pub fn adopt(listener: OwnedFd, address: SocketAddr) -> io::Result<Option<Self>> {
        let listener = Self { listener: TcpListener::from_std(listener.into())? };
        Ok((listener.address()? == address).then_some(listener))
    }

    /// Returns a copy of the listener for the next process.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn passed(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// Of getsockname(2).
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves without end. The control loop replies to `queries`.
    pub async fn serve(self, queries: mpsc::Sender<Query>) {
        let mut clients = JoinSet::new();
        connection::serve_clients(&self.listener, &router(queries), SCRAPERS_MAX, &mut clients).await;
    }
}

fn bind_error(address: SocketAddr, cause: &io::Error) -> Diagnostic {
    let port = address.port();
    let remedy = match cause.kind() {
        ErrorKind::AddrInUse => format!(
            "stop the program that listens there (ss -ltnp 'sport = :{port}' shows it), or write another port for metrics"
        ),
        ErrorKind::AddrNotAvailable => {
            format!("write an address that \"ip address\" shows, or \"127.0.0.1:{port}\", for metrics")
        }
        ErrorKind::PermissionDenied => "write a port from 1024 up for metrics, or run as root".into(),
        _ => "write another address for metrics, or none".into(),
    };
    Diagnostic::system(format!("metrics cannot be served at {address}"))
        .cause(cause.to_string())
        .remedy(remedy)
}

fn router(queries: mpsc::Sender<Query>) -> Router {
    const WELCOME: &str = concat!("directrix ", env!("CARGO_PKG_VERSION"), ": /metrics, /healthz\n");
    metrics::route(queries.clone())
        .merge(health::route(queries))
        .route("/", get(async || WELCOME))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
}

async fn not_found(uri: Uri) -> Response {
    problem(
        StatusCode::NOT_FOUND,
        format!("there is no {}; there are {} and {}", uri.path(), path::METRICS, path::HEALTH),
    )
}
