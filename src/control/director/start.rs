//! Start of a director up to its event loop: the host, the process before, sockets, launch.

use super::Director;
use super::error::DirectorError;
use super::handover::Handover;
use super::hooks::check_programs;
use super::launch::LaunchContext;
use super::startup::{self, RunOptions, StartContext};
use super::takeover::inherited_rules;
use crate::control::host::signals::DirectorSignals;
use crate::control::http::exporter::Exporter;
use crate::control::http::socket::{self, ControlSocket};
use crate::control::keeper::memory::{self, OpenedShadow};
use crate::control::readiness::{ReadyFile, ReadySignals};
use crate::control::role::{KeptRole, RoleState};
use crate::control::sync::SyncState;
use crate::control::takeover::{Former, HandedDescriptor, Inheritance, TakeoverListener};
use crate::io::CarrierDevice;
use crate::io::claim::Claim;
use crate::model::{Config, Diagnostic, OnConflict};
use crate::time::Tick;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

/// A launched director with its sockets.
pub(super) struct Started {
    pub(super) director: Director,
    pub(super) socket: ControlSocket,
    pub(super) exporter: Option<Exporter>,
    /// For the next process.
    pub(super) next: TakeoverListener,
}

/// The host, and what the process before has handed over.
struct Prepared {
    context: StartContext,
    claims: Vec<Claim>,
    inheritance: Option<Inheritance>,
    /// Time from which nothing forwards, in a takeover.
    since: Instant,
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
    let Some(prepared) = prepare(config, options, signals, former.as_ref()).await? else { return Ok(None) };
    let Prepared { context, claims, mut inheritance, since } = prepared;
    let file = if former.is_some() { config } else { &context.config }.to_string();
    let mut handover = Handover { claims, file, ..Handover::default() };
    let StartContext { config, privileges, host, socket } = context;
    let ready_file = self::ready_file(&config, ready_file)?;
    let socket = match (socket, passed(&mut inheritance, HandedDescriptor::Control)) {
        (Some(socket), _) => socket,
        (None, Some(listener)) => ControlSocket::adopt(listener, options.socket)?,
        (None, None) => socket::bind(options.socket)?,
    };
    let mut socket = socket;
    socket.set_access(&host.access)?;
    if let Some((user, group)) = privileges.owner() {
        socket.set_owner(user, group)?;
    }
    let next = TakeoverListener::bind(options.socket, &privileges)?;
    let exporter = exporter(&config, passed(&mut inheritance, HandedDescriptor::Metrics)).await?;
    handover.keep(HandedDescriptor::Control, socket.passed());
    handover.keep(HandedDescriptor::Metrics, exporter.as_ref().map(Exporter::passed).transpose());
    let device = carrier_device(&config, passed(&mut inheritance, HandedDescriptor::Tun))?;
    let role = RoleState::new(&config.director.ha, KeptRole::beside(options.socket), Tick(0));
    let shadow = shadow(&config, options.socket, passed(&mut inheritance, HandedDescriptor::Shadow))?;
    let inherited = inheritance.map(|of| of.state);
    let carries_on = inherited.as_ref().is_some_and(|of| of.is_ready);
    let takes_over = inherited.is_some();
    let on_ready = finishing(former, std::mem::replace(&mut options.on_ready, Box::new(|| {})));
    let context =
        LaunchContext { host, shadow, privileges: &privileges, role, inherited, handover, on_ready };
    let sync = SyncState::open(&config.director); // before privileges are dropped
    let mut director = Director::launch(&config, context)?;
    director.begin_sync(sync);
    let ready = director.set_ready_signals(ReadySignals::new(ready_file, device), carries_on);
    ready.map_err(at_ready_file(&config))?;
    check_programs(&config.rules())?; // privileges have been dropped
    if takes_over {
        director.publish()?;
        tracing::info!(ms = since.elapsed().as_millis(), "took over: this process forwards");
    }
    Ok(Some(Started { director, socket, exporter, next }))
}

/// Waits for the host, and takes everything from the process before, if there is one. Until then that one goes on as before.
async fn prepare(
    config: &Config,
    options: &RunOptions<'_>,
    signals: &mut DirectorSignals,
    former: Option<&Former>,
) -> Result<Option<Prepared>, DirectorError> {
    loop {
        let offer = former.map(Former::begin).transpose()?;
        let config = offer.as_ref().map_or_else(|| config.clone(), |offer| inherited_rules(config, offer));
        let context = startup::wait_for_host(config, &options.read_config, signals, options.socket).await?;
        let Some(context) = context else { return Ok(None) };
        if context.config.director.on_conflict == OnConflict::Claim {
            tracing::warn!(
                "on_conflict = \"claim\": a VIP that another host has is taken from it, and connections that it directs break"
            );
        }
        let (Some(former), Some(offer)) = (former, offer) else {
            let (since, claims) = (Instant::now(), startup::claim(&context.host.interfaces).await?);
            (options.on_host)(&context.config);
            return Ok(Some(Prepared { context, claims, inheritance: None, since }));
        };
        (options.on_host)(&context.config);
        let since = Instant::now();
        // Rules that have changed meanwhile are offered again.
        if let Some(inheritance) = former.commit(&offer)? {
            let claims = startup::claim(&context.host.interfaces).await?;
            return Ok(Some(Prepared { context, claims, inheritance: Some(inheritance), since }));
        }
    }
}

fn passed(inheritance: &mut Option<Inheritance>, name: HandedDescriptor) -> Option<OwnedFd> {
    inheritance.as_mut()?.take(name)
}

async fn exporter(config: &Config, passed: Option<OwnedFd>) -> Result<Option<Exporter>, DirectorError> {
    let Some(address) = config.director.metrics else { return Ok(None) };
    let adopted = passed.map(|listener| Exporter::adopt(listener, address)).transpose()?.flatten();
    match adopted {
        Some(exporter) => Ok(Some(exporter)),
        None => Ok(Some(Exporter::bind(address).await?)),
    }
}

/// The TUN device of the configuration: the one that was passed, if it has the name.
fn carrier_device(config: &Config, passed: Option<OwnedFd>) -> Result<Option<CarrierDevice>, Diagnostic> {
    let Some(name) = config.director.ha.tun.as_deref() else { return Ok(None) };
    let passed = passed.and_then(|queue| CarrierDevice::from_fd(queue).ok());
    if let Some(device) = passed.filter(|device| device.name() == name) {
        return Ok(Some(device));
    }
    let created = CarrierDevice::create(name);
    created.map(Some).map_err(|refusal| refusal.at(config.places.director_key("ha.tun")))
}

fn shadow(config: &Config, control: &Path, passed: Option<OwnedFd>) -> Result<OpenedShadow, Diagnostic> {
    let (file, connections) = (memory::path(control), config.director.connections as usize);
    match passed {
        Some(passed) => memory::adopt(passed, &file, connections),
        None => memory::open(Some(&file), connections),
    }
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
