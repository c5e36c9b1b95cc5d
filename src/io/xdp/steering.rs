//! Steering for AF_XDP: the steering programs of the interfaces.

use super::{errors, generic};
use crate::io::bpf::{self, AllowedModes, Attached, BpfLink, Buffers, Programs, RedirectCounter, XdpMode};
use crate::io::{Interface, SteeredService, Steering};
use crate::model::Diagnostic;
use crate::sys::ethtool::{self, GroOff};
use std::os::fd::{BorrowedFd, OwnedFd};

/// The steering program of the client side and, if needed, of the server side.
///
/// Some drivers send from a UMEM only while a program is attached. On the server side it has no services.
pub(super) struct XdpSteering {
    pub(super) client: SteeredInterface,
    pub(super) server: Option<SteeredInterface>,
}

impl Steering for XdpSteering {
    fn start(&mut self) -> Result<(), Diagnostic> {
        self.client.start()?;
        self.client.guard();
        match &mut self.server {
            Some(server) => server.start(),
            None => Ok(()),
        }
    }

    fn check(&self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        let tagged = services.iter().find(|service| !service.vlan.is_none());
        tagged.map_or(Ok(()), |tagged| self.client.check_sees_tags(tagged))
    }

    fn select(&mut self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        self.check(services)?;
        self.client.programs.set_services(services)?;
        self.client.replace()
    }

    fn restores(&self) -> bool {
        std::iter::once(&self.client).chain(&self.server).any(|steered| !steered.gro_off.is_empty())
    }

    fn hand_over(&mut self) -> Option<OwnedFd> {
        if self.server.is_some() {
            return None;
        }
        let is_native = |attached: &mut Attached| attached.mode == XdpMode::Native;
        self.client.attached.take_if(is_native).map(|attached| attached.link.into())
    }

    fn stop(&mut self) {
        self.client.stop();
        self.server.iter_mut().for_each(SteeredInterface::stop);
    }
}

fn stripped(interface: &str, service: &SteeredService) -> Diagnostic {
    let SteeredService { vlan, vip, .. } = service;
    Diagnostic::system(format!("serving {vip} in VLAN {vlan} on {interface}"))
        .cause(format!("{interface} takes VLAN tags out of received frames, and AF_XDP does not see them"))
        .remedy(format!("ethtool -K {interface} rxvlan off; or backend = \"packet\""))
}

fn hidden(interface: &str, kind: &str, service: &SteeredService) -> Diagnostic {
    let SteeredService { vlan, vip, .. } = service;
    Diagnostic::system(format!("serving {vip} in VLAN {vlan} on {interface}"))
        .cause(format!(
            "{interface} is a {kind}: Linux takes the outer VLAN tag out of a frame before it gets there, and AF_XDP in \
             generic mode does not see it"
        ))
        .remedy(format!("backend = \"packet\"; or a VLAN device above {interface} as the interface, without vlan"))
}

/// The steering program of one interface.
pub(super) struct SteeredInterface {
    interface: Interface,
    // Before `programs`: the attachment is dropped first.
    attached: Option<Attached>,
    /// True while the attached program is that of another process.
    is_foreign: bool,
    /// Keeps the kernel from what control answers: it passes the steering program.
    guard: Option<BpfLink>,
    gro_off: Vec<GroOff>,
    programs: Programs,
    options: AttachOptions,
}

/// Options of the steering program of an interface.
#[derive(Clone, Copy)]
pub(super) struct AttachOptions {
    /// Modes in which the program may run.
    pub(super) modes: AllowedModes,
    /// Buffers that a frame may have.
    pub(super) buffers: Buffers,
    /// Longest frame that fits the sockets' chunks, in bytes.
    pub(super) frame_max: u32,
}

impl SteeredInterface {
    /// Loads the program; attaches nothing.
    pub(super) fn load(interface: &Interface, options: AttachOptions) -> Result<Self, Diagnostic> {
        let mut programs = Programs::load_for(interface, options.frame_max)?;
        bpf::load_steering(&mut programs, interface, options.buffers)?;
        Ok(Self {
            interface: interface.clone(),
            attached: None,
            is_foreign: false,
            guard: None,
            gro_off: Vec::new(),
            programs,
            options,
        })
    }

    /// Takes over the attachment of another process, whose program redirects frames to the same sockets until services are set.
    pub(super) fn adopt(&mut self, link: BpfLink) {
        self.attached = Some(Attached { link, mode: XdpMode::Native, refusal: None });
        self.is_foreign = true;
    }

    /// Puts the own program, which has the services, in the place of that of another process.
    fn replace(&mut self) -> Result<(), Diagnostic> {
        if let Some(attached) = self.attached.as_ref().filter(|_| self.is_foreign) {
            bpf::replace_steering(&mut self.programs, attached, &self.interface, self.options.buffers)?;
            self.is_foreign = false;
        }
        Ok(())
    }

    /// Redirects the frames of a queue to a socket.
    pub(super) fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), Diagnostic> {
        self.programs.set_socket(queue, socket)
    }

    /// Readers of the redirect counters of `queues`.
    pub(super) fn redirected(&self, queues: &[u32]) -> Result<Vec<RedirectCounter>, Diagnostic> {
        self.programs.redirected(queues)
    }

    /// Mode of the program, and the reason for generic mode.
    pub(super) fn mode(&self) -> Option<(XdpMode, Option<&str>)> {
        self.attached.as_ref().map(|attached| (attached.mode, attached.refusal.as_deref()))
    }

    fn start(&mut self) -> Result<(), Diagnostic> {
        if self.attached.is_some() {
            return Ok(());
        }
        let AttachOptions { modes, buffers, .. } = self.options;
        errors::wait_unoccupied(&self.interface)?;
        let attached = bpf::attach_steering(&mut self.programs, &self.interface, modes, buffers)?;
        if attached.mode == XdpMode::Generic {
            self.gro_off = generic::forbid_merging(&self.interface);
        }
        self.attached = Some(attached);
        Ok(())
    }

    /// Checks that the program sees the tags of frames for `service`.
    fn check_sees_tags(&self, service: &SteeredService) -> Result<(), Diagnostic> {
        let (name, is_generic) =
            (&self.interface.name, self.mode().is_some_and(|of| of.0 == XdpMode::Generic));
        if ethtool::strips_tags(name) {
            return Err(stripped(name, service));
        }
        match generic::hides_tags(&self.interface).filter(|_| is_generic) {
            Some(kind) => Err(hidden(name, &kind, service)),
            None => Ok(()),
        }
    }

    /// Attaches the guard program, if the kernel permits: without it only a host that routes is disturbed.
    fn guard(&mut self) {
        if self.guard.is_some() {
            return;
        }
        match bpf::attach_guard(&mut self.programs, &self.interface) {
            Ok(link) => self.guard = Some(link),
            Err(error) => {
                tracing::debug!(interface = %self.interface.name, %error, "AF_XDP without a guard program");
            }
        }
    }

    fn stop(&mut self) {
        self.attached = None;
        self.guard = None;
        self.gro_off.clear();
        // An empty set needs no new keys, so it cannot be refused.
        let _ = self.programs.set_services::<SteeredService>(&[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceAddress;
    use crate::wire::Protocol;
    use crate::wire::vlan::Vlans;

    #[test]
    fn stripped_tags_are_named_with_the_command() {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        let service = SteeredService { vlan: Vlans::new(&[100]).unwrap(), ..address.into() };
        let text = stripped("eth0", &service).to_string();
        assert!(
            text.starts_with("serving 192.0.2.1 in VLAN 100 on eth0: eth0 takes VLAN tags out"),
            "{text}"
        );
        assert!(text.ends_with("ethtool -K eth0 rxvlan off; or backend = \"packet\""), "{text}");
        assert!(!ethtool::strips_tags("lo") && !ethtool::strips_tags("no-such-if"));
    }
}
