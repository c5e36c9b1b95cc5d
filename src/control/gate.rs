//! The control socket's door: who comes in is known by the kernel's word and judged by [`Access`], each
//! request by what it would do.

use super::access::{Access, Person, Right};
use super::api;
use super::server::{CLIENTS, problem};
use super::serving::{Door, Guest};
use crate::io::Peer;
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use nix::unistd::{Uid, User, geteuid};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Clients without the right to change that are served at the same time. The other places are kept for those
/// who have it: nobody else can keep them out.
pub const READERS: usize = CLIENTS / 2;

/// Further such clients that are told to try again; more are sent away without a word.
const TOLD: usize = CLIENTS / 4;
/// Users whose names are looked up at the same time; more are called by their number.
const LOOKUPS: usize = 16;
/// How long a name may take to be found: a directory service may be away.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// The listener with all that a client is judged by.
pub(super) struct Gate {
    listener: UnixListener,
    rules: Arc<Rules>,
    readers: Arc<Semaphore>,
    told: Arc<Semaphore>,
}

struct Rules {
    access: Access,
    /// The user that the director runs as.
    own: Person,
    lookups: Arc<Semaphore>,
}

impl Gate {
    /// For a process that will not become another user any more.
    pub(super) fn new(listener: UnixListener, access: Access) -> Self {
        let user = geteuid().as_raw();
        let own = Person { user, name: name(user) };
        let rules = Arc::new(Rules { access, own, lookups: Arc::new(Semaphore::new(LOOKUPS)) });
        let [readers, told] = [READERS, TOLD].map(|places| Arc::new(Semaphore::new(places)));
        Self { listener, rules, readers, told }
    }

    /// `None`: it is sent away.
    fn judge(&self, stream: &UnixStream) -> Option<Caller> {
        let refused =
            |cause| tracing::warn!(%cause, "a client was sent away: the system does not say who it is");
        let peer = Peer::of(stream).map_err(refused).ok()?;
        let right = self.rules.access.right(&peer, self.rules.own.user);
        let caller =
            Caller { user: peer.user, right, rules: Arc::clone(&self.rules), is_late: false, _place: None };
        if right == Right::Change {
            return Some(caller);
        }
        let free = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        match free(&self.readers) {
            place @ Some(_) => Some(Caller { _place: place, ..caller }),
            None => free(&self.told).map(|place| Caller { _place: Some(place), is_late: true, ..caller }),
        }
    }
}

impl Door for Gate {
    const NAME: &'static str = "the control socket";
    type Stream = UnixStream;
    type Guest = Caller;

    async fn next(&self) -> io::Result<(UnixStream, Caller)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if let Some(caller) = self.judge(&stream) {
                return Ok((stream, caller));
            }
        }
    }
}

/// A client that has come in.
pub(super) struct Caller {
    user: u32,
    right: Right,
    rules: Arc<Rules>,
    /// All places for readers are taken.
    is_late: bool,
    /// Kept as long as it is served, if it may not change.
    _place: Option<OwnedSemaphorePermit>,
}

impl Guest for Caller {
    async fn refusal(&self, method: &Method) -> Option<Response> {
        if self.is_late {
            let error = format!("{READERS} clients that may not change are being served; try again later");
            return Some(problem(StatusCode::SERVICE_UNAVAILABLE, error));
        }
        let needed = if method.is_safe() { Right::Read } else { Right::Change };
        if self.right >= needed {
            return None;
        }
        let Rules { access, own, .. } = &*self.rules;
        let who = Person { user: self.user, name: self.rules.name(self.user).await };
        let error = access.refusal(&who, self.right, own);
        let code = if self.right == Right::Read { api::READ_ONLY } else { api::NO_ACCESS };
        let problem = api::Problem { error, code: Some(code.into()), at: None };
        Some((StatusCode::FORBIDDEN, Json(problem)).into_response())
    }
}

impl Rules {
    /// Looked up on a thread of its own, for which nobody waits long, also not at the end.
    async fn name(&self, user: u32) -> Option<String> {
        let permit = Arc::clone(&self.lookups).try_acquire_owned().ok()?;
        let (tell, told) = oneshot::channel();
        let look_up = move || {
            let _ = tell.send(name(user)); // too late, perhaps
            drop(permit);
        };
        std::thread::Builder::new().name("user-name".into()).spawn(look_up).ok()?;
        tokio::time::timeout(LOOKUP_TIMEOUT, told).await.ok()?.ok()?
    }
}

fn name(user: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(user)).ok().flatten().map(|user| user.name)
}
