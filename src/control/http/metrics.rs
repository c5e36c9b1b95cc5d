//! `GET /metrics`.

use crate::control::api::path;
use crate::control::http::response::{problem, query_loop};
use crate::control::metrics::readings::Readings;
use crate::control::metrics::{ExpositionFormat, page};
use crate::control::query::Query;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// Serialises the pages of one listener.
///
/// However many clients scrape, the workers answer one query at a time and one page is rendered.
#[derive(Clone)]
struct MetricsState {
    queries: Arc<Mutex<mpsc::Sender<Query>>>,
}

/// Returns the route, for a router of any state.
pub(in crate::control) fn route<S: Clone + Send + Sync + 'static>(queries: mpsc::Sender<Query>) -> Router<S> {
    let state = MetricsState { queries: Arc::new(Mutex::new(queries)) };
    Router::new().route(path::METRICS, get(metrics)).with_state(state)
}

async fn metrics(State(state): State<MetricsState>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = ExpositionFormat::accepted_by(&accepted.collect::<Vec<_>>().join(","));
    let queries = state.queries.lock().await;
    match query_loop(&queries, Query::Metrics).await {
        Ok(readings) => render(readings, format).await,
        Err(error) => error,
    }
}

/// Renders the page on a blocking thread: with tens of thousands of servers it would delay the control loop.
async fn render(readings: Readings, format: ExpositionFormat) -> Response {
    match tokio::task::spawn_blocking(move || page(readings, format)).await {
        Ok(page) => ([(header::CONTENT_TYPE, format.content_type())], page).into_response(),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written"),
    }
}
