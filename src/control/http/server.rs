//! The control socket's server: HTTP/1.1, one request a connection.
//!
//! It owns no state. A handler sends a [`Query`] to the control loop and passes the answer on.
//! Whatever a client does, it costs the director at most one of [`CLIENTS`] places for a bounded
//! time; those who may not change have at most [`READERS`] of them.

pub use crate::control::http::acceptor::READERS;
pub use crate::control::http::connection::{READ_TIMEOUT, REQUEST_TIMEOUT};
pub use crate::control::http::socket::{ControlSocket, ControlSocketError, PATH_MAX, bind};

use crate::control::api::overview::Status;
use crate::control::api::request::ChangeRequest;
use crate::control::api::{self, Draft, Plan, path};
use crate::control::director::apply::RefusedAt;
use crate::control::http::acceptor::{Acceptor, Requester};
use crate::control::http::connection;
use crate::control::http::health;
use crate::control::http::metrics;
use crate::control::http::recreate::remade;
use crate::control::log::audit::{Origin, Refusals};
use crate::control::log::limit;
use crate::control::metrics::Readings;
use crate::model::Config;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Clients that are served at the same time; more wait to be accepted.
pub const CLIENTS: usize = 64;
/// How long the control loop may take to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest request body in bytes: as many servers as there are numbers, with all that can be said of each.
pub const BODY_MAX: usize = 16 << 20;
/// How long requests under way may take to end once the director stops.
const GRACE: Duration = Duration::from_secs(1);
/// Chunks of connections that may wait for a slow client.
const CHUNKS: usize = 4;

/// A question to the control loop, with the way back for its answer.
#[derive(Debug)]
pub enum Query {
    /// A director at a glance.
    Status(oneshot::Sender<Status>),
    /// What ails the director; nothing if all is well.
    Health(oneshot::Sender<Vec<String>>),
    /// Every virtual service with its real servers.
    Services(oneshot::Sender<api::Services>),
    /// Every connection, in chunks of any size; dropping the sender ends the list. A send waits
    /// while the client is slow, and fails once it is gone.
    Connections(mpsc::Sender<Vec<api::Connection>>),
    /// Every drop reason.
    Drops(oneshot::Sender<Vec<api::Drops>>),
    /// Every worker.
    Workers(oneshot::Sender<Vec<api::Worker>>),
    /// The connection timeouts.
    Timeouts(oneshot::Sender<api::Timeouts>),
    /// Changes, all of them or none: a line for each thing that became different.
    Change(Vec<ChangeRequest>, Origin, oneshot::Sender<Result<Vec<String>, RefusedAt>>),
    /// The file shall be read again: what became different, or why nothing did.
    Reload(Origin, oneshot::Sender<Result<Vec<String>, String>>),
    /// What a reload would make of another file.
    Plan(Box<Config>, oneshot::Sender<Plan>),
    /// The running configuration as a file's text.
    Config(oneshot::Sender<String>),
    /// What a page of metrics is made of.
    Metrics(oneshot::Sender<Readings>),
}

/// Serves `socket` until `shutdown` is over; then gives requests under way a second to end, and
/// removes the socket. One whose file is deleted meanwhile is made again. The control loop answers what arrives
/// at the other end of `queries`.
///
/// # Errors
/// If the socket cannot be waited on. What a single client does is never an error.
pub async fn serve(
    mut socket: ControlSocket,
    queries: mpsc::Sender<Query>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = router(queries);
    let mut clients = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let gate = Acceptor::new(UnixListener::from_std(socket.listener()?)?, socket.access().clone());
        let remade = tokio::select! {
            () = &mut shutdown => break,
            () = connection::attend(&gate, &router, CLIENTS, &mut clients) => break,
            () = settle(gate.refusals()) => break,
            remade = remade(&socket) => remade,
        };
        socket = remade;
    }
    drop(socket);
    let _ = tokio::time::timeout(GRACE, async { while clients.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Reports now and then how many log lines about refusals were left out.
async fn settle(refusals: Refusals) {
    let mut clock = tokio::time::interval(limit::REFILL);
    loop {
        clock.tick().await;
        refusals.settle();
    }
}

type Queries = State<mpsc::Sender<Query>>;

fn router(queries: mpsc::Sender<Query>) -> Router {
    Router::new()
        .route(path::STATUS, get(async |State(queries): Queries| ask(&queries, Query::Status).await))
        .route(path::SERVICES, get(async |State(queries): Queries| ask(&queries, Query::Services).await))
        .route(path::DROPS, get(async |State(queries): Queries| ask(&queries, Query::Drops).await))
        .route(path::WORKERS, get(async |State(queries): Queries| ask(&queries, Query::Workers).await))
        .route(path::TIMEOUTS, get(async |State(queries): Queries| ask(&queries, Query::Timeouts).await))
        .route(path::CONNECTIONS, get(connections))
        .route(path::CONFIG, get(config))
        .route(path::CHANGES, post(change))
        .route(path::RELOAD, post(reload))
        .route(path::PLAN, post(plan))
        .merge(metrics::route(queries.clone()))
        .merge(health::route(queries.clone()))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(queries)
}

async fn ask<T: Serialize + Send + 'static>(
    queries: &mpsc::Sender<Query>,
    query: impl FnOnce(oneshot::Sender<T>) -> Query,
) -> Response {
    match ask_for(queries, query).await {
        Ok(answer) => json(answer).await,
        Err(refusal) => refusal,
    }
}

/// Thousands of services are megabytes: written by another thread, they hold up neither ARP nor changes.
async fn json(answer: impl Serialize + Send + 'static) -> Response {
    let written = tokio::task::spawn_blocking(|| Json(answer).into_response()).await;
    written.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written"))
}

/// The control loop's answer, or what to tell the client if there is none.
pub(in crate::control) async fn ask_for<T>(
    queries: &mpsc::Sender<Query>,
    query: impl FnOnce(oneshot::Sender<T>) -> Query,
) -> Result<T, Response> {
    let (sender, answer) = oneshot::channel();
    let exchange = async {
        queries.send(query(sender)).await.ok()?;
        answer.await.ok()
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(problem(StatusCode::SERVICE_UNAVAILABLE, "the director is stopping")),
        Err(_) => Err(problem(StatusCode::GATEWAY_TIMEOUT, "the director's control loop does not answer")),
    }
}

async fn config(State(queries): Queries) -> Response {
    let text = ask_for(&queries, Query::Config).await;
    text.map_or_else(
        |problem| problem,
        |text| ([(header::CONTENT_TYPE, "application/toml")], text).into_response(),
    )
}

async fn change(
    State(queries): Queries,
    Extension(Requester { origin, refusals }): Extension<Requester>,
    request: axum::extract::Request,
) -> Response {
    let refuse = |status, problem: api::Problem| {
        refusals.log(&origin, (&Method::POST, path::CHANGES), status, &problem.error);
        (status, Json(problem)).into_response()
    };
    let requests = match arrival::<Vec<ChangeRequest>>(request).await {
        Ok(requests) => requests,
        Err((status, error)) => return refuse(status, api::Problem { error, code: None, at: None }),
    };
    match ask_for(&queries, |reply| Query::Change(requests, origin.clone(), reply)).await {
        Ok(Ok(changes)) => json(api::Changed { changes }).await,
        Ok(Err(RefusedAt(at, refused))) => {
            let problem = api::Problem { at: Some(at), ..api::Problem::from(&refused) };
            refuse(StatusCode::CONFLICT, problem)
        }
        Err(problem) => problem,
    }
}

/// What a request's body says, once it is here; else status and reason.
async fn arrival<T: DeserializeOwned>(request: axum::extract::Request) -> Result<T, (StatusCode, String)> {
    let arrival = Json::<T>::from_request(request, &());
    match tokio::time::timeout(REQUEST_TIMEOUT, arrival).await {
        Ok(Ok(Json(said))) => Ok(said),
        Ok(Err(rejection)) => Err((rejection.status(), rejection.body_text())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time".into())),
    }
}

/// Parsed by another thread than the control loop's, as the director's own file is.
async fn plan(State(queries): Queries, request: axum::extract::Request) -> Response {
    let draft: Draft = match arrival(request).await {
        Ok(draft) => draft,
        Err((status, error)) => return problem(status, error),
    };
    match tokio::task::spawn_blocking(move || draft.parse()).await {
        Ok(Ok(config)) => ask(&queries, |reply| Query::Plan(Box::new(config), reply)).await,
        Ok(Err(errors)) => problem(StatusCode::CONFLICT, errors.to_string()),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be parsed"),
    }
}

async fn reload(State(queries): Queries, Extension(sender): Extension<Requester>) -> Response {
    match ask_for(&queries, |reply| Query::Reload(sender.origin, reply)).await {
        Ok(Ok(changes)) => Json(changes).into_response(),
        Ok(Err(reason)) => problem(StatusCode::CONFLICT, reason),
        Err(late) if late.status() == StatusCode::GATEWAY_TIMEOUT => problem(
            late.status(),
            "the configuration file is still being read; the log will say what comes of it",
        ),
        Err(problem) => problem,
    }
}

async fn connections(State(queries): Queries) -> Response {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let sent = queries.send_timeout(Query::Connections(sender), ANSWER_TIMEOUT).await;
    match sent {
        Ok(()) => ndjson(lines(chunks)),
        Err(mpsc::error::SendTimeoutError::Closed(_)) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "the director is stopping")
        }
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
            problem(StatusCode::GATEWAY_TIMEOUT, "the director's control loop does not answer")
        }
    }
}

fn ndjson(lines: impl Stream<Item = Result<Vec<u8>, io::Error>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// A chunk that does not come in time breaks the answer off, so that the client can tell a
/// list cut short from a whole one.
fn lines(chunks: mpsc::Receiver<Vec<api::Connection>>) -> impl Stream<Item = Result<Vec<u8>, io::Error>> {
    stream::unfold(Some(chunks), async |chunks| {
        let mut chunks = chunks?;
        match tokio::time::timeout(ANSWER_TIMEOUT, chunks.recv()).await {
            Ok(None) => None,
            Ok(Some(chunk)) => Some((json_lines(&chunk), Some(chunks))),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

fn json_lines(chunk: &[api::Connection]) -> Result<Vec<u8>, io::Error> {
    let mut text = Vec::with_capacity(chunk.len() * 192);
    for connection in chunk {
        serde_json::to_writer(&mut text, connection)?;
        text.push(b'\n');
    }
    Ok(text)
}

async fn not_found(uri: Uri) -> Response {
    let known = [
        path::STATUS,
        path::SERVICES,
        path::CONNECTIONS,
        path::DROPS,
        path::WORKERS,
        path::TIMEOUTS,
        path::CONFIG,
        path::CHANGES,
        path::RELOAD,
        path::PLAN,
        path::METRICS,
        path::HEALTH,
    ];
    let error = format!("there is no {}; there are {}", uri.path(), known.join(", "));
    problem(StatusCode::NOT_FOUND, error)
}

pub(in crate::control) async fn wrong_method() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "what changes something is asked for by POST, all else by GET")
}

pub(in crate::control) fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(api::Problem { error: error.into(), code: None, at: None })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::{self, ThreadId};

    /// Tells which thread writes it.
    struct Witness(std::sync::mpsc::Sender<ThreadId>);

    impl Serialize for Witness {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.send(thread::current().id()).unwrap();
            serializer.serialize_unit()
        }
    }

    #[test]
    fn answers_are_written_by_another_thread_than_the_control_loop_s() {
        let (sender, writers) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(json(Witness(sender)));
        assert_eq!(response.status(), StatusCode::OK);
        assert_ne!(writers.try_recv().unwrap(), thread::current().id());
    }
}
