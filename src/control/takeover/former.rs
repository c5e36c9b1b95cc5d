//! The next process: its way to the running director.

use super::message::{FormerMessage, HandedDescriptor, HandedState, NextMessage, Offer, PROTOCOL};
use super::path;
use crate::io::HandedRings;
use crate::model::Diagnostic;
use crate::sys::passing;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Longest wait for an answer: stopping workers takes some tenths of a second at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running director, to be taken over from. If this is dropped before [`Former::finish`] and after [`Former::commit`], that
/// director ends with an error.
#[derive(Debug)]
pub(in crate::control) struct Former {
    socket: OwnedFd,
}

/// Everything that the running director has handed over.
#[derive(Debug)]
pub(in crate::control) struct Inheritance {
    /// State without descriptors.
    pub(in crate::control) state: HandedState,
    descriptors: Vec<(HandedDescriptor, OwnedFd)>,
}

impl Former {
    /// Connects to the director with this control socket.
    ///
    /// # Errors
    /// [`Diagnostic`] if there is none, or this user may not take over.
    pub(in crate::control) fn connect(control: &Path) -> Result<Self, Diagnostic> {
        let path = path(control);
        let socket = passing::connected(&path, PATIENCE).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Diagnostic::system(
                "there is no running director to take over from",
            )
            .cause(format!("nothing listens on {}", path.display()))
            .remedy(
                "start one without --takeover, or give the control socket of the running one with --socket",
            ),
            _ => Diagnostic::io(format!("connecting to {}", path.display()), &error)
                .remedy("only root and the user of the running director may take over"),
        })?;
        Ok(Self { socket })
    }

    /// Asks for the configuration.
    ///
    /// # Errors
    /// [`Diagnostic`] if the director refuses, or does not answer.
    pub(in crate::control) fn begin(&self) -> Result<Offer, Diagnostic> {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        match self.ask(&NextMessage::Begin { protocol: PROTOCOL, program })? {
            (FormerMessage::Offer, descriptors) => text(descriptors.into_iter().next()),
            _ => Err(unexpected()),
        }
    }

    /// Asks the director to stop forwarding, and to hand everything over; `None` if its configuration has changed since the offer.
    ///
    /// # Errors
    /// As for [`Former::begin`].
    pub(in crate::control) fn commit(&self, offer: &Offer) -> Result<Option<Inheritance>, Diagnostic> {
        let (answer, descriptors) = self.ask(&NextMessage::Commit { generation: offer.generation })?;
        let mut descriptors = descriptors.into_iter();
        match answer {
            FormerMessage::Offer => Ok(None),
            FormerMessage::State => {
                let state: HandedState = text(descriptors.next())?;
                let descriptors = state.descriptors.iter().copied().zip(descriptors).collect();
                Ok(Some(Inheritance { state, descriptors }))
            }
            FormerMessage::Refused(_) => Err(unexpected()),
        }
    }

    /// Tells the director that it may end. It may have ended already.
    pub(in crate::control) fn finish(self) {
        let _ = self.send(&NextMessage::Done);
    }

    fn ask(&self, message: &NextMessage) -> Result<(FormerMessage, Vec<OwnedFd>), Diagnostic> {
        self.send(message).map_err(|error| silent(&error))?;
        let (answer, descriptors) = passing::receive(self.socket.as_fd()).map_err(|error| silent(&error))?;
        match serde_json::from_slice(&answer) {
            Ok(FormerMessage::Refused(reason)) => {
                Err(Diagnostic::system("the running director does not hand over").cause(reason))
            }
            Ok(answer) => Ok((answer, descriptors)),
            Err(_) => Err(unexpected()),
        }
    }

    fn send(&self, message: &NextMessage) -> io::Result<()> {
        passing::send(self.socket.as_fd(), &serde_json::to_vec(message)?, &[])
    }
}

impl Inheritance {
    /// Takes the sockets of the workers, if they were handed over.
    pub(in crate::control) fn rings(&mut self) -> Option<HandedRings> {
        let facts = self.state.rings.take()?;
        let is_ring = |(name, _): &mut (HandedDescriptor, OwnedFd)| *name == HandedDescriptor::Ring;
        let descriptors =
            self.descriptors.extract_if(.., is_ring).map(|(_, descriptor)| descriptor).collect();
        Some(HandedRings { facts, descriptors })
    }

    /// Takes the descriptor of this name, if there is one.
    pub(in crate::control) fn take(&mut self, name: HandedDescriptor) -> Option<OwnedFd> {
        let place = self.descriptors.iter().position(|(of, _)| *of == name)?;
        Some(self.descriptors.remove(place).1)
    }
}

fn text<T: DeserializeOwned>(file: Option<OwnedFd>) -> Result<T, Diagnostic> {
    let text = file.ok_or_else(unexpected)?;
    let text = passing::text_of(text).map_err(|error| silent(&error))?;
    serde_json::from_slice(&text).map_err(|error| unexpected().cause(error.to_string()))
}

fn silent(error: &io::Error) -> Diagnostic {
    Diagnostic::io("the running director does not answer", error).remedy("see its log, or restart it")
}

fn unexpected() -> Diagnostic {
    Diagnostic::system("the running director answers what this program does not understand")
        .remedy("restart it: connections are kept over a restart, too")
}
