//! A director from start to stop.

use super::Director;
use super::error::DirectorError;
use super::hooks::check_programs;
use super::launch::LaunchContext;
use super::startup::{self, StartContext};
use crate::control::config_file::ReadConfig;
use crate::control::config_file::reloads::ReloadQueue;
use crate::control::host::signals::DirectorSignals;
use crate::control::http::exporter::Exporter;
use crate::control::http::server;
use crate::control::http::socket::{self, ControlSocket};
use crate::control::keeper;
use crate::control::readiness::{ReadyFile, ReadySignals};
use crate::control::role::{KeptRole, RoleState};
use crate::control::sync::SyncState;
use crate::io::CarrierDevice;
use crate::model::{BackendChoice, Config, Diagnostic, OnConflict};
use crate::time::Tick;
use std::path::Path;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Capacity of the channel of queries to the event loop.
const QUERIES_MAX: usize = 64;

/// Time for a read of the configuration file to complete at shutdown.
const GRACE: Duration = Duration::from_secs(1);

/// The environment of a director.
pub struct RunOptions<'a> {
    /// Path of the control socket.
    pub socket: &'a Path,
    /// Reads the configuration file again.
    pub read_config: ReadConfig,
    /// Backend of the command line, which overrides the file's.
    pub backend: Option<BackendChoice>,
    /// Called once the host has what the configuration names, before the director changes anything on it.
    pub on_host: Box<dyn FnOnce(&Config)>,
    /// Called once every VIP is claimed or on standby, and every real server is reachable or unreachable.
    pub on_ready: Box<dyn FnMut()>,
}

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

async fn start_and_serve(config: &Config, options: RunOptions<'_>) -> Result<(), DirectorError> {
    let RunOptions { socket: path, read_config, backend, on_host, on_ready } = options;
    // Installed first: a signal during the start, too, leads to an orderly end.
    let mut signals = DirectorSignals::listen()?;
    let ready_file = ready_file(config, None)?; // also before the host is there
    let context = startup::wait_for_host(config.clone(), &read_config, &mut signals, path).await?;
    let Some(StartContext { config, privileges, host, socket }) = context else { return Ok(()) };
    if config.director.on_conflict == OnConflict::Claim {
        tracing::warn!(
            "on_conflict = \"claim\": a VIP that another host has is taken from it, and connections that it directs break"
        );
    }
    let _claims = startup::claim(&host.interfaces).await?;
    let ready_file = self::ready_file(&config, ready_file)?;
    on_host(&config);
    let mut socket = match socket {
        Some(socket) => socket,
        None => socket::bind(path)?,
    };
    socket.set_access(&host.access)?;
    if let Some((user, group)) = privileges.owner() {
        socket.set_owner(user, group)?;
    }
    let exporter = match config.director.metrics {
        Some(address) => Some(Exporter::bind(address).await?),
        None => None,
    };
    let device = config.director.ha.tun.as_deref().map(CarrierDevice::create).transpose();
    let device = device.map_err(|refusal| refusal.at(config.places.director_key("ha.tun")))?;
    let role = RoleState::new(&config.director.ha, KeptRole::beside(path), Tick(0));
    let shadow =
        keeper::memory::open(Some(&keeper::memory::path(path)), config.director.connections as usize)?;
    let sync = SyncState::open(&config.director); // before privileges are dropped
    let context = LaunchContext { host, shadow, privileges: &privileges, role, on_ready };
    let mut director = Director::launch(&config, context)?;
    director.begin_sync(sync);
    director.set_ready_signals(ReadySignals::new(ready_file, device)).map_err(at_ready_file(&config))?;
    check_programs(&config.rules())?; // privileges have been dropped
    let reloads = ReloadQueue::new(read_config, backend);
    director.serve(socket, exporter, signals, reloads).await
}

impl Director {
    /// Runs the event loop and the servers until a signal stops them, then releases everything in order.
    async fn serve(
        mut self,
        socket: ControlSocket,
        exporter: Option<Exporter>,
        signals: DirectorSignals,
        reloads: ReloadQueue,
    ) -> Result<(), DirectorError> {
        let (sender, queries) = mpsc::channel(QUERIES_MAX);
        let (stop, stopped) = oneshot::channel::<()>();
        // The exporter ends with the runtime: it holds no resource and no pending reply.
        let _exporting = exporter.map(|exporter| tokio::spawn(exporter.serve(sender.clone())));
        let serving = tokio::spawn(server::serve(socket, sender, async { drop(stopped.await) }));
        let end = self.run_event_loop(queries, signals, reloads).await;
        self.begin_stop(); // for an end by an error
        self.backend.steering.stop();
        let workers_end =
            self.backend.workers.stop().map_err(|error| DirectorError::worker_ended(error.to_string()));
        drop(stop);
        let _ = serving.await; // a client's error does not fail the director
        workers_end.and(end) // a worker's own error takes precedence over the loop's
    }
}

/// The file that tells readiness: `open`, unless the configuration has been read again and names another.
fn ready_file(config: &Config, open: Option<ReadyFile>) -> Result<Option<ReadyFile>, Diagnostic> {
    let Some(path) = config.director.ha.ready_file.as_ref().map(Path::new) else { return Ok(None) };
    match open {
        Some(file) if file.path() == path => Ok(Some(file)),
        _ => Ok(Some(ReadyFile::open(path).map_err(at_ready_file(config))?)),
    }
}

/// Adds the line that names the file.
fn at_ready_file(config: &Config) -> impl Fn(Diagnostic) -> Diagnostic {
    let place = config.places.director_key("ha.ready_file");
    move |refusal| refusal.at(place.clone())
}
