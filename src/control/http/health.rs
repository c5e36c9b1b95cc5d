//! `GET /healthz`: for load balancers, VRRP track scripts and service managers.

use crate::control::api::path;
use crate::control::http::server::{Query, ask_for};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::mpsc;

/// The route, to be merged into a router of any state.
pub(in crate::control) fn route<S: Clone + Send + Sync + 'static>(queries: mpsc::Sender<Query>) -> Router<S> {
    Router::new().route(path::HEALTH, get(health)).with_state(queries)
}

async fn health(State(queries): State<mpsc::Sender<Query>>) -> Response {
    match ask_for(&queries, Query::Health).await {
        Ok(ailments) if ailments.is_empty() => "ok\n".into_response(),
        Ok(ailments) => (StatusCode::SERVICE_UNAVAILABLE, ailments.join("\n") + "\n").into_response(),
        Err(refusal) => refusal,
    }
}
