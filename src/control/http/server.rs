//! The control socket's server: HTTP/1.1, one request per connection.
//!
//! It owns no state: a handler sends a [`Query`] to the control loop and returns the reply. A client occupies at most
//! one of [`CLIENTS_MAX`] places, for a bounded time; clients without the right to change occupy at most
//! [`limits::READERS_MAX`](super::limits::READERS_MAX) of them.

use crate::control::api::request::ChangeRequest;
use crate::control::api::{self, BODY_MAX, Draft, path};
use crate::control::http::acceptor::{Acceptor, Requester};
use crate::control::http::limits::{CLIENTS_MAX, REPLY_TIMEOUT, REQUEST_TIMEOUT};
use crate::control::http::recreate::recreated;
use crate::control::http::response::{not_answering, problem, query_loop, stopping, wrong_method};
use crate::control::http::socket::ControlSocket;
use crate::control::http::{connection, health, metrics};
use crate::control::log::audit::RefusalLog;
use crate::control::log::limit;
use crate::control::query::Query;
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

/// Time for pending requests to complete once the director stops.
const GRACE: Duration = Duration::from_secs(1);
/// Chunks of connections buffered for a slow client.
const CHUNKS_MAX: usize = 4;

/// Fate of a socket's file at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketEnd {
    /// It is removed.
    Remove,
    /// Another process has it.
    Leave,
}

/// Serves `socket` until `shutdown` completes, then waits a second for pending requests.
///
/// A socket whose file was deleted is recreated. The control loop replies to `queries`.
///
/// # Errors
/// If the socket cannot be polled. A client never causes an error.
pub async fn serve(
    mut socket: ControlSocket,
    queries: mpsc::Sender<Query>,
    shutdown: impl Future<Output = SocketEnd>,
) -> io::Result<()> {
    let router = router(queries);
    let mut clients = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let end = loop {
        let acceptor = Acceptor::new(UnixListener::from_std(socket.listener()?)?, socket.access().clone());
        let recreated = tokio::select! {
            biased;
            end = &mut shutdown => break end,
            () = connection::serve_clients(&acceptor, &router, CLIENTS_MAX, &mut clients) => break SocketEnd::Remove,
            () = report_suppressed(acceptor.refusals()) => break SocketEnd::Remove,
            recreated = recreated(&socket) => recreated,
        };
        socket = recreated;
    };
    match end {
        SocketEnd::Remove => drop(socket),
        SocketEnd::Leave => socket.leave(),
    }
    let _ = tokio::time::timeout(GRACE, async { while clients.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Logs the number of suppressed messages about refusals, at each interval of the rate limit.
async fn report_suppressed(refusals: RefusalLog) {
    let mut clock = tokio::time::interval(limit::REFILL);
    loop {
        clock.tick().await;
        refusals.report_suppressed();
    }
}

type Queries = State<mpsc::Sender<Query>>;

fn router(queries: mpsc::Sender<Query>) -> Router {
    Router::new()
        .route(path::STATUS, get(async |State(queries): Queries| reply(&queries, Query::Status).await))
        .route(path::SERVICES, get(async |State(queries): Queries| reply(&queries, Query::Services).await))
        .route(path::DROPS, get(async |State(queries): Queries| reply(&queries, Query::Drops).await))
        .route(path::WORKERS, get(async |State(queries): Queries| reply(&queries, Query::Workers).await))
        .route(path::TIMEOUTS, get(async |State(queries): Queries| reply(&queries, Query::Timeouts).await))
        .route(path::CHECKS, get(async |State(queries): Queries| reply(&queries, Query::Checks).await))
        .route(path::EVENTS, get(async |State(queries): Queries| reply(&queries, Query::Events).await))
        .route(path::REASONS, get(async |State(queries): Queries| reply(&queries, Query::Reasons).await))
        .route(path::AUDIT, get(async |State(queries): Queries| reply(&queries, Query::Audit).await))
        .route(
            path::ROLE,
            get(async |State(queries): Queries| reply(&queries, Query::Role).await).post(set_role),
        )
        .route(
            path::SYNC,
            get(async |State(queries): Queries| reply(&queries, Query::Sync).await).post(change_sync),
        )
        .route(path::CONNECTIONS, get(connections))
        .route(path::CONFIG, get(config))
        .route(path::CHECK_REPORT, post(report_check))
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

/// Returns the control loop's reply as JSON, or the error response.
async fn reply<T: Serialize + Send + 'static>(
    queries: &mpsc::Sender<Query>,
    query: impl FnOnce(oneshot::Sender<T>) -> Query,
) -> Response {
    match query_loop(queries, query).await {
        Ok(reply) => json(reply).await,
        Err(error) => error,
    }
}

/// Serializes a reply on a blocking thread: megabytes of services would delay ARP and changes.
async fn json(reply: impl Serialize + Send + 'static) -> Response {
    let written = tokio::task::spawn_blocking(|| Json(reply).into_response()).await;
    written.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written"))
}

async fn config(State(queries): Queries) -> Response {
    match query_loop(&queries, Query::Config).await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/toml")], text).into_response(),
        Err(error) => error,
    }
}

async fn change(
    State(queries): Queries,
    Extension(requester): Extension<Requester>,
    request: axum::extract::Request,
) -> Response {
    let requests = match read_body::<Vec<ChangeRequest>>(request).await {
        Ok(requests) => requests,
        Err((status, error)) => {
            return refuse_change(&requester, status, api::Problem::new(error));
        }
    };
    match query_loop(&queries, |reply| Query::Change(requests, requester.origin.clone(), reply)).await {
        Ok(Ok(changes)) => json(api::Changed { changes }).await,
        Ok(Err(error)) => refuse_change(&requester, StatusCode::CONFLICT, api::Problem::from(&error)),
        Err(error) => error,
    }
}

/// Logs a refused change and returns its response.
fn refuse_change(requester: &Requester, status: StatusCode, problem: api::Problem) -> Response {
    let Requester { origin, refusals } = requester;
    refusals.log(origin, (&Method::POST, path::CHANGES), status, &problem.error);
    (status, Json(problem)).into_response()
}

/// Reads and parses a request's body.
///
/// # Errors
/// Status and reason, if it is malformed or does not arrive in time.
async fn read_body<T: DeserializeOwned>(request: axum::extract::Request) -> Result<T, (StatusCode, String)> {
    match tokio::time::timeout(REQUEST_TIMEOUT, Json::<T>::from_request(request, &())).await {
        Ok(Ok(Json(body))) => Ok(body),
        Ok(Err(rejection)) => Err((rejection.status(), rejection.body_text())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time".into())),
    }
}

/// Sets the role, if commands are its source.
async fn set_role(
    State(queries): Queries,
    Extension(requester): Extension<Requester>,
    request: axum::extract::Request,
) -> Response {
    let role = match read_body::<api::role::RoleRequest>(request).await {
        Ok(api::role::RoleRequest { role }) => role,
        Err((status, error)) => return problem(status, error),
    };
    match query_loop(&queries, |reply| Query::SetRole(role, requester.origin, reply)).await {
        Ok(Ok(())) => Json(()).into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, Json(api::Problem::from(&error))).into_response(),
        Err(error) => error,
    }
}

/// Starts or stops a sync daemon.
async fn change_sync(
    State(queries): Queries,
    Extension(requester): Extension<Requester>,
    request: axum::extract::Request,
) -> Response {
    let request: api::sync::SyncRequest = match read_body(request).await {
        Ok(request) => request,
        Err((status, error)) => return problem(status, error),
    };
    match query_loop(&queries, |reply| Query::ChangeSync(request, requester.origin, reply)).await {
        Ok(Ok(())) => Json(()).into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, Json(api::Problem::from(&error))).into_response(),
        Err(error) => error,
    }
}

/// Takes the result of an external check. It changes no rules, and is no event.
async fn report_check(State(queries): Queries, request: axum::extract::Request) -> Response {
    let report: api::checks::CheckReport = match read_body(request).await {
        Ok(report) => report,
        Err((status, error)) => return problem(status, error),
    };
    match query_loop(&queries, |reply| Query::Report(report, reply)).await {
        Ok(Ok(())) => Json(()).into_response(),
        Ok(Err(error)) => (StatusCode::NOT_FOUND, Json(api::Problem::from(&error))).into_response(),
        Err(error) => error,
    }
}

/// Parses the draft on a blocking thread, as a reload does with the director's own file.
async fn plan(State(queries): Queries, request: axum::extract::Request) -> Response {
    let draft: Draft = match read_body(request).await {
        Ok(draft) => draft,
        Err((status, error)) => return problem(status, error),
    };
    match tokio::task::spawn_blocking(move || draft.parse()).await {
        Ok(Ok(config)) => reply(&queries, |sender| Query::Plan(Box::new(config), sender)).await,
        Ok(Err(errors)) => problem(StatusCode::CONFLICT, errors.to_string()),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be parsed"),
    }
}

async fn reload(State(queries): Queries, Extension(requester): Extension<Requester>) -> Response {
    match query_loop(&queries, |reply| Query::Reload(requester.origin, reply)).await {
        Ok(Ok(changes)) => Json(changes).into_response(),
        Ok(Err(errors)) => problem(StatusCode::CONFLICT, errors.to_string()),
        Err(late) if late.status() == StatusCode::GATEWAY_TIMEOUT => problem(
            late.status(),
            "the configuration file is still being read; the log will have the outcome",
        ),
        Err(error) => error,
    }
}

async fn connections(State(queries): Queries) -> Response {
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    match queries.send_timeout(Query::Connections(sender), REPLY_TIMEOUT).await {
        Ok(()) => ndjson(lines(chunks)),
        Err(mpsc::error::SendTimeoutError::Closed(_)) => stopping(),
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => not_answering(),
    }
}

fn ndjson(lines: impl Stream<Item = Result<Vec<u8>, io::Error>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Encodes chunks as JSON lines. A chunk that is late aborts the response, so that the client detects a truncated list.
fn lines(chunks: mpsc::Receiver<Vec<api::Connection>>) -> impl Stream<Item = Result<Vec<u8>, io::Error>> {
    stream::unfold(Some(chunks), async |chunks| {
        let mut chunks = chunks?;
        match tokio::time::timeout(REPLY_TIMEOUT, chunks.recv()).await {
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
        path::CHECKS,
        path::CHECK_REPORT,
        path::EVENTS,
        path::REASONS,
        path::AUDIT,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::{self, ThreadId};

    /// A value that reports the thread that serializes it.
    struct ThreadProbe(std::sync::mpsc::Sender<ThreadId>);

    impl Serialize for ThreadProbe {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.send(thread::current().id()).unwrap();
            serializer.serialize_unit()
        }
    }

    #[test]
    fn replies_are_serialized_off_the_control_thread() {
        let (sender, writers) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(json(ThreadProbe(sender)));
        assert_eq!(response.status(), StatusCode::OK);
        assert_ne!(writers.try_recv().unwrap(), thread::current().id());
    }
}
