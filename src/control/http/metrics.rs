//! `GET /metrics`.

use crate::control::api::path;
use crate::control::http::server::{Query, ask_for, problem};
use crate::control::metrics::{ExpositionFormat, Readings, page};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// One page is made at a time for each listener: however many ask, workers answer one question
/// after the other, and one page is in the making.
#[derive(Clone)]
struct MetricsState {
    queries: Arc<Mutex<mpsc::Sender<Query>>>,
}

/// The route, to be merged into a router of any state.
pub(in crate::control) fn route<S: Clone + Send + Sync + 'static>(queries: mpsc::Sender<Query>) -> Router<S> {
    let desk = MetricsState { queries: Arc::new(Mutex::new(queries)) };
    Router::new().route(path::METRICS, get(metrics)).with_state(desk)
}

async fn metrics(State(desk): State<MetricsState>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = ExpositionFormat::accepted_by(&accepted.collect::<Vec<_>>().join(","));
    let queries = desk.queries.lock().await;
    match ask_for(&queries, Query::Metrics).await {
        Ok(readings) => answer(readings, format).await,
        Err(refusal) => refusal,
    }
}

/// Written on a thread of its own: with tens of thousands of servers that takes longer than the
/// control loop should wait.
async fn answer(readings: Readings, format: ExpositionFormat) -> Response {
    match tokio::task::spawn_blocking(move || page(readings, format)).await {
        Ok(page) => ([(header::CONTENT_TYPE, format.content_type())], page).into_response(),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written"),
    }
}
