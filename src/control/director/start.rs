//! Start of a director up to its event loop: the process before, the host, the launch.

use super::Director;
use super::entrance::Entrance;
use super::error::DirectorError;
use super::hooks::check_programs;
use super::launch::Launched;
use super::startup::{self, RunOptions, StartContext};
use super::takeover::inherited_rules;
use crate::control::host::signals::DirectorSignals;
use crate::control::http::exporter::Exporter;
use crate::control::http::socket::ControlSocket;
use crate::control::readiness::{ReadyFile, ReadySignals};
use crate::control::sync::SyncState;
use crate::control::takeover::{Former, TakeoverListener};
use crate::model::{Config, Diagnostic, OnConflict};
use std::path::Path;

/// A launched director with its sockets.
pub(super) struct Started {
    pub(super) director: Director,
    pub(super) socket: ControlSocket,
    pub(super) exporter: Option<Exporter>,
    /// For the next process.
    pub(super) next: TakeoverListener,
}

/// Starts a director; `None` if a signal has stopped the wait for the host.
///
/// # Errors
/// [`DirectorError`].
pub(super) async fn start(
    config: &Config,
    options: &mut RunOptions<'_>,
    signals: &mut DirectorSignals,
) -> Result<Option<Started>, DirectorError> {
    let ready_file = ready_file(config, None)?; // also before the host is there
    let former = options.takes_over.then(|| Former::connect(options.socket)).transpose()?;
    let offer = former.as_ref().map(Former::begin).transpose()?;
    let of_file = config;
    let config = offer.as_ref().map_or_else(|| config.clone(), |offer| inherited_rules(config, offer));
    let context = startup::wait_for_host(config, &options.read_config, signals, options.socket).await?;
    let Some(StartContext { config, privileges, host, socket }) = context else { return Ok(None) };
    if config.director.on_conflict == OnConflict::Claim {
        tracing::warn!(
            "on_conflict = \"claim\": a VIP that another host has is taken from it, and connections that it directs break"
        );
    }
    let takes_over = offer.is_some();
    let file = if takes_over { of_file } else { &config }.to_string();
    let sync = SyncState::open(&config.director); // before privileges are dropped
    let entrance = Entrance {
        config: &config,
        host: &host,
        privileges: &privileges,
        path: options.socket,
        socket,
        file,
        former: former.as_ref().zip(offer),
        since: None,
    };
    let Launched { mut director, socket, exporter, next, device, since, state } =
        Director::launch(entrance, &*options.on_host)?;
    director.on_ready = Some(finishing(former, std::mem::replace(&mut options.on_ready, Box::new(|| {}))));
    match state.daemons {
        Some(daemons) => director.begin_handed_sync(daemons),
        None => director.begin_sync(sync),
    }
    let ready_file = self::ready_file(&config, ready_file)?;
    let ready = director.set_ready_signals(ReadySignals::new(ready_file, device), state.is_ready);
    ready.map_err(at_ready_file(&config))?;
    check_programs(&config.rules())?; // privileges have been dropped
    if takes_over {
        director.publish()?;
        tracing::info!(ms = since.elapsed().as_millis(), "took over: this process forwards");
    }
    Ok(Some(Started { director, socket, exporter, next }))
}

/// A callback of readiness that also lets the process before end.
fn finishing(former: Option<Former>, mut on_ready: Box<dyn FnMut()>) -> Box<dyn FnMut()> {
    let mut former = former;
    Box::new(move || {
        former.take().into_iter().for_each(Former::finish);
        on_ready();
    })
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
