//! Steering for AF_PACKET: the socket filters and the guard program.

use super::errors::socket_error;
use super::filter;
use super::guard::Guard;
use crate::io::{Interface, SteeredService, Steering};
use crate::model::Diagnostic;
use crate::sys::packet_socket::PacketSocket;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// The filters of all workers' sockets, and the guard program.
///
/// A frame passes the sockets first, the guard next. A change therefore widens the guard, then
/// replaces the filters, then narrows the guard: no frame is handled both here and by the
/// kernel. A frame of a new service that arrives within those microseconds may be lost; frames of
/// services that stay are not.
pub(super) struct PacketSteering {
    interface: Interface,
    sockets: Vec<Arc<PacketSocket>>,
    guard: Option<Guard>,
    services: Vec<SteeredService>,
}

impl PacketSteering {
    /// For `sockets` on `interface` that still reject every frame.
    pub(super) fn new(interface: Interface, sockets: Vec<Arc<PacketSocket>>) -> Self {
        Self { interface, sockets, guard: None, services: Vec::new() }
    }

    fn change(&mut self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        let guard = self.guard.as_mut().ok_or_else(|| not_started(&self.interface))?;
        let both: BTreeSet<_> = self.services.iter().chain(services).copied().collect();
        guard.set_services(&both.into_iter().collect::<Vec<_>>())?;
        filter_all(&self.sockets, services, &self.interface)?;
        guard.set_services(services)
    }

    /// Rolls a failed change back, as far as the kernel permits.
    fn change_back(&mut self) {
        let _ = filter_all(&self.sockets, &self.services, &self.interface);
        if let Some(guard) = &mut self.guard {
            let _ = guard.set_services(&self.services);
        }
    }
}

impl Steering for PacketSteering {
    fn start(&mut self) -> Result<(), Diagnostic> {
        self.guard = Some(Guard::attach(&self.interface));
        Ok(())
    }

    fn check(&self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.check(services))
    }

    fn select(&mut self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        if let Err(error) = self.change(services) {
            self.change_back();
            return Err(error);
        }
        self.services = services.to_vec();
        Ok(())
    }

    fn stop(&mut self) {
        for socket in &self.sockets {
            // One instruction, no memory to run out of.
            let _ = socket.set_filter(&filter::reject_all());
        }
        self.guard = None;
        self.services.clear();
    }
}

impl Drop for PacketSteering {
    fn drop(&mut self) {
        self.stop();
    }
}

fn filter_all(
    sockets: &[Arc<PacketSocket>],
    services: &[SteeredService],
    interface: &Interface,
) -> Result<(), Diagnostic> {
    sockets
        .iter()
        .try_for_each(|socket| filter_one(socket, services))
        .map_err(|error| socket_error(format!("filtering what arrives on {}", interface.name), &error))
}

/// Attaches the most exact filter that fits the kernel's limits.
fn filter_one(socket: &PacketSocket, services: &[SteeredService]) -> io::Result<()> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for program in filter::programs(services) {
        match socket.set_filter(&program) {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => refused = error,
            other => return other,
        }
    }
    Err(refused)
}

fn not_started(interface: &Interface) -> Diagnostic {
    Diagnostic::system(format!("changing the services on {}", interface.name))
        .cause("the steering has not been started")
        .remedy("start the steering first")
}
