//! `GET /healthz`: for load balancers, VRRP track scripts and service managers.

use crate::control::api::path;
use crate::control::http::response::query_loop;
use crate::control::query::Query;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::mpsc;

/// Returns the route, for a router of any state.
pub(in crate::control) fn route<S: Clone + Send + Sync + 'static>(queries: mpsc::Sender<Query>) -> Router<S> {
    Router::new().route(path::HEALTH, get(health)).with_state(queries)
}

async fn health(State(queries): State<mpsc::Sender<Query>>) -> Response {
    match query_loop(&queries, Query::Health).await {
        Ok(problems) if problems.is_empty() => "ok\n".into_response(),
        Ok(problems) => (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response(),
        Err(error) => error,
    }
}
