//! A director from start to stop.

use super::error::DirectorError;
use super::event_loop::LoopInputs;
use super::start::{Started, start};
pub use super::startup::RunOptions;
use crate::control::config_file::reloads::ReloadQueue;
use crate::control::host::signals::DirectorSignals;
use crate::control::http::server::{self, SocketEnd};
use crate::model::Config;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Capacity of the channel of queries to the event loop.
const QUERIES_MAX: usize = 64;

/// Time for a read of the configuration file to complete at shutdown.
const GRACE: Duration = Duration::from_secs(1);

/// Runs a director until SIGTERM or SIGINT; SIGHUP reloads its file.
///
/// # Errors
/// [`DirectorError`]. The interface is then in its original state.
pub fn run(config: &Config, options: RunOptions<'_>) -> Result<(), DirectorError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(start_and_serve(config, options));
    runtime.shutdown_timeout(GRACE);
    end
}

async fn start_and_serve(config: &Config, mut options: RunOptions<'_>) -> Result<(), DirectorError> {
    // Installed first: a signal during the start, too, leads to an orderly end.
    let mut signals = DirectorSignals::listen()?;
    let Some(started) = start(config, &mut options, &mut signals).await? else { return Ok(()) };
    let reloads = ReloadQueue::new(options.read_config, options.backend);
    serve(started, signals, reloads).await
}

/// Runs the event loop and the servers until a signal stops them or another process has taken over, then releases everything in
/// order.
async fn serve(
    started: Started,
    signals: DirectorSignals,
    reloads: ReloadQueue,
) -> Result<(), DirectorError> {
    let Started { mut director, socket, exporter, next } = started;
    let (sender, queries) = mpsc::channel(QUERIES_MAX);
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or(SocketEnd::Remove) };
    // The exporter ends with the runtime: it holds no resource and no pending reply.
    let exporting = exporter.map(|exporter| tokio::spawn(exporter.serve(sender.clone())));
    director.handover.exporting = exporting.map(|task| task.abort_handle());
    let serving = tokio::spawn(server::serve(socket, sender, stopped));
    director.handover.stop_server = Some(stop);
    let end = director.run_event_loop(LoopInputs { queries, signals, reloads, next }).await;
    director.begin_stop(); // for an end by an error
    director.backend.steering.stop();
    let workers_end =
        director.backend.workers.stop().map_err(|error| DirectorError::worker_ended(error.to_string()));
    director.handover.stop_server = None;
    let _ = serving.await; // a client's error does not fail the director
    workers_end.and(end) // a worker's own error takes precedence over the loop's
}
