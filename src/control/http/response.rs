//! Responses shared by the control socket and the metrics listener.

use crate::control::api;
use crate::control::http::limits::REPLY_TIMEOUT;
use crate::control::query::Query;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, oneshot};

/// Sends a query to the control loop and returns its reply, or the error response for the client.
pub(in crate::control) async fn query_loop<T>(
    queries: &mpsc::Sender<Query>,
    query: impl FnOnce(oneshot::Sender<T>) -> Query,
) -> Result<T, Response> {
    let (sender, reply) = oneshot::channel();
    let exchange = async {
        queries.send(query(sender)).await.ok()?;
        reply.await.ok()
    };
    match tokio::time::timeout(REPLY_TIMEOUT, exchange).await {
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => Err(stopping()),
        Err(_) => Err(not_answering()),
    }
}

/// Returns the response of a director whose control loop has ended.
pub(in crate::control) fn stopping() -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the director is stopping")
}

/// Returns the response for a control loop that exceeds [`REPLY_TIMEOUT`].
pub(in crate::control) fn not_answering() -> Response {
    problem(StatusCode::GATEWAY_TIMEOUT, "the director's control loop does not answer")
}

/// Returns the response to an unsupported method.
pub(in crate::control) async fn wrong_method() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "changes are requested by POST, all else by GET")
}

/// Returns an error response with an [`api::Problem`] as body.
pub(in crate::control) fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(api::Problem::new(error))).into_response()
}
