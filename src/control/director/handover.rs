//! Everything that is kept for the next process.

use crate::control::http::server::SocketEnd;
use crate::control::takeover::HandedDescriptor;
use crate::io::claim::Claim;
use crate::shadow::ShadowSession;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Everything that ends once another process takes over.
#[derive(Default)]
pub(super) struct Handover {
    /// Exclusive rights to the interfaces.
    pub(super) claims: Vec<Claim>,
    /// Copies of descriptors for the next process.
    pub(super) passed: Vec<(HandedDescriptor, OwnedFd)>,
    /// Ends the server of the control socket.
    pub(super) stop_server: Option<oneshot::Sender<SocketEnd>>,
    /// Ends the listener of the metrics.
    pub(super) exporting: Option<AbortHandle>,
    /// The configuration of the file when it was last read.
    pub(super) file: String,
    /// Changes of the rules so far.
    pub(super) generation: u64,
    /// True once the workers have been stopped for the next process.
    pub(super) is_over: bool,
}

impl Handover {
    /// Keeps a descriptor for the next process. Without one, that process opens its own.
    pub(super) fn keep(&mut self, name: HandedDescriptor, descriptor: io::Result<Option<OwnedFd>>) {
        match descriptor {
            Ok(Some(descriptor)) => self.passed.push((name, descriptor)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(?name, %error, "a descriptor cannot be handed over at a warm restart")
            }
        }
    }

    /// Keeps the shadow memory for the next process.
    pub(super) fn keep_shadow(&mut self, session: &ShadowSession) {
        self.keep(HandedDescriptor::Shadow, session.as_fd().try_clone_to_owned().map(Some));
    }

    /// Ends the service of clients. Later ones are the next process's.
    pub(super) fn end_service(&mut self) {
        self.claims.clear();
        self.exporting.take().inspect(AbortHandle::abort);
        if let Some(stop) = self.stop_server.take() {
            let _ = stop.send(SocketEnd::Leave); // a server that has ended needs no stop
        }
    }
}
