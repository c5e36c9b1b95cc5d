//! Entrance: the moment from which this process has the interfaces, its sockets and the connections.
//!
//! In a takeover it ends the forwarding of the process before, so everything that can be done beforehand is.

use super::handover::Handover;
use super::startup;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::ResolvedHost;
use crate::control::http::exporter::Exporter;
use crate::control::http::socket::{self, ControlSocket};
use crate::control::keeper::memory::{self, OpenedShadow};
use crate::control::role::{KeptRole, RoleState};
use crate::control::takeover::{Former, HandedDescriptor, HandedState, Inheritance, Offer, TakeoverListener};
use crate::io::{CarrierDevice, HandedRings};
use crate::model::{Config, Diagnostic, DiagnosticKind, KeepConnections};
use crate::time::Tick;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

/// Everything that a process enters with.
pub(super) struct Entrance<'a> {
    pub(super) config: &'a Config,
    pub(super) host: &'a ResolvedHost,
    pub(super) privileges: &'a Privileges,
    /// Path of the control socket.
    pub(super) path: &'a Path,
    /// The control socket of a start that had to wait.
    pub(super) socket: Option<ControlSocket>,
    /// The configuration of the file.
    pub(super) file: String,
    /// The process that is taken over from, with its offer.
    pub(super) former: Option<(&'a Former, Offer)>,
    /// Time of the entrance.
    pub(super) since: Option<Instant>,
}

/// Everything that this process has from its entrance on.
pub(super) struct Entered {
    pub(super) socket: ControlSocket,
    pub(super) exporter: Option<Exporter>,
    /// For the next process.
    pub(super) next: TakeoverListener,
    pub(super) handover: Handover,
    pub(super) device: Option<CarrierDevice>,
    pub(super) role: RoleState,
    /// Sockets of the process before, until the backend takes them.
    pub(super) rings: Option<HandedRings>,
    /// Until the tables take it.
    pub(super) shadow: Option<OpenedShadow>,
    /// State of the process before.
    pub(super) state: Option<HandedState>,
}

impl Entrance<'_> {
    /// Takes interfaces, sockets and connections; from the process before, if there is one.
    ///
    /// # Errors
    /// [`Diagnostic`]. The rules of the process before have changed since its offer; another director has an interface; a path or an
    /// address is in use.
    pub(super) fn enter(&mut self) -> Result<Entered, Diagnostic> {
        let Self { config, host, privileges, path, .. } = *self;
        self.since = Some(Instant::now());
        let mut inheritance = self.inheritance()?;
        let mut passed = |name| inheritance.as_mut().and_then(|of: &mut Inheritance| of.take(name));
        let mut handover = Handover {
            claims: startup::claim(&host.interfaces)?,
            file: self.file.clone(),
            ..Handover::default()
        };
        let socket = self.control_socket(passed(HandedDescriptor::Control))?;
        let next = TakeoverListener::bind(path, privileges)?;
        let exporter = exporter(config, passed(HandedDescriptor::Metrics))?;
        handover.keep(HandedDescriptor::Control, socket.passed());
        handover.keep(HandedDescriptor::Metrics, exporter.as_ref().map(Exporter::passed).transpose());
        let device = carrier_device(config, passed(HandedDescriptor::Tun))?;
        let mut role = RoleState::new(&config.director.ha, KeptRole::beside(path), Tick(0));
        let shadow = shadow(config, path, passed(HandedDescriptor::Shadow))?;
        handover.keep_shadow(&shadow.parts.session);
        let rings = inheritance.as_mut().and_then(Inheritance::rings);
        let state = inheritance.map(|of| of.state);
        state.iter().filter_map(|of| of.role).for_each(|former| role.machine.carry_on(former));
        Ok(Entered { socket, exporter, next, handover, device, role, rings, shadow: Some(shadow), state })
    }

    fn inheritance(&self) -> Result<Option<Inheritance>, Diagnostic> {
        let Some((former, offer)) = &self.former else { return Ok(None) };
        let changed = || {
            Diagnostic::new(DiagnosticKind::System, "the rules were changed during the takeover")
                .remedy("try again: the running director goes on")
        };
        former.commit(offer)?.ok_or_else(changed).map(Some)
    }

    fn control_socket(&mut self, passed: Option<OwnedFd>) -> Result<ControlSocket, Diagnostic> {
        let adopt = |listener| {
            ControlSocket::adopt(listener, self.path)
                .map_err(|error| Diagnostic::io("taking over the control socket", &error))
        };
        let mut socket = match (self.socket.take(), passed) {
            (Some(socket), _) => socket,
            (None, Some(listener)) => adopt(listener)?,
            (None, None) => socket::bind(self.path)?,
        };
        socket.set_access(&self.host.access)?;
        if let Some((user, group)) = self.privileges.owner() {
            socket.set_owner(user, group)?;
        }
        Ok(socket)
    }
}

fn exporter(config: &Config, passed: Option<OwnedFd>) -> Result<Option<Exporter>, Diagnostic> {
    let Some(address) = config.director.metrics else { return Ok(None) };
    let adopted = passed.and_then(|listener| Exporter::adopt(listener, address).ok().flatten());
    adopted.map_or_else(|| Exporter::bind(address), Ok).map(Some)
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
    let connections = config.director.connections as usize;
    let path = memory::path(control);
    let file = Some(&*path).filter(|_| config.director.ha.keep == KeepConnections::Shm);
    if file.is_none() {
        let _ = std::fs::remove_file(&path); // of a process before that has kept them
    }
    match passed {
        Some(passed) => memory::adopt(passed, file, connections),
        None => memory::open(file, connections),
    }
}
