//! The control socket's door: who comes in is known by the kernel's word and judged by [`Access`], each
//! request by what it would do.

use crate::control::api;
use crate::control::host::access::{Access, PeerUser, Permission, ROOT};
use crate::control::http::connection::{Authorize, Listener};
use crate::control::http::server::{CLIENTS, problem};
use crate::control::log::audit::{Origin, Refusals};
use crate::sys::PeerCredentials;
use axum::Json;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
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
pub(in crate::control) struct Acceptor {
    listener: UnixListener,
    rules: Arc<AccessPolicy>,
    readers: Arc<Semaphore>,
    told: Arc<Semaphore>,
    refusals: Refusals,
}

struct AccessPolicy {
    access: Access,
    /// User 0.
    root: PeerUser,
    /// The user that the director runs as.
    own: PeerUser,
    lookups: Arc<Semaphore>,
}

impl Acceptor {
    /// For a process that will not become another user any more.
    pub(in crate::control) fn new(listener: UnixListener, access: Access) -> Self {
        let user = geteuid().as_raw();
        let [own, root] = [user, ROOT].map(|user| PeerUser { user, name: name(user) });
        let rules = Arc::new(AccessPolicy { access, root, own, lookups: Arc::new(Semaphore::new(LOOKUPS)) });
        let [readers, told] = [READERS, TOLD].map(|places| Arc::new(Semaphore::new(places)));
        Self { listener, rules, readers, told, refusals: Refusals::default() }
    }

    /// The log of refused requests.
    pub(in crate::control) fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// `None`: it is sent away.
    fn judge(&self, stream: &UnixStream) -> Option<SocketPeer> {
        let refused =
            |cause| tracing::warn!(%cause, "a client was turned away: the kernel does not name its user");
        let peer = PeerCredentials::of(stream).map_err(refused).ok()?;
        let right = self.rules.access.right(&peer, self.rules.own.user);
        let (rules, refusals) = (Arc::clone(&self.rules), self.refusals.clone());
        let (user, process) = (peer.user, peer.process);
        let caller = SocketPeer { user, process, right, rules, refusals, is_late: false, _place: None };
        if right == Permission::Change {
            return Some(caller);
        }
        let free = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        if let place @ Some(_) = free(&self.readers) {
            return Some(SocketPeer { _place: place, ..caller });
        }
        self.refusals.no_place(user, process, READERS);
        free(&self.told).map(|place| SocketPeer { _place: Some(place), is_late: true, ..caller })
    }
}

impl Listener for Acceptor {
    const NAME: &'static str = "the control socket";
    type Stream = UnixStream;
    type Authorize = SocketPeer;

    async fn next(&self) -> io::Result<(UnixStream, SocketPeer)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if let Some(caller) = self.judge(&stream) {
                return Ok((stream, caller));
            }
        }
    }
}

/// A client that has come in.
pub(in crate::control) struct SocketPeer {
    user: u32,
    process: i32,
    right: Permission,
    rules: Arc<AccessPolicy>,
    refusals: Refusals,
    /// All places for readers are taken.
    is_late: bool,
    /// Kept as long as it is served, if it may not change.
    _place: Option<OwnedSemaphorePermit>,
}

impl Authorize for SocketPeer {
    async fn refusal(&self, request: &mut Request<Incoming>) -> Option<Response> {
        if self.is_late {
            let error = format!("{READERS} clients that may not change are being served; try again later");
            return Some(problem(StatusCode::SERVICE_UNAVAILABLE, error));
        }
        let needed = if request.method().is_safe() { Permission::Read } else { Permission::Change };
        if self.right >= Permission::Change && needed == Permission::Change {
            let origin = Origin::request(self.person().await, self.process, request.headers());
            request.extensions_mut().insert(Requester { origin, refusals: self.refusals.clone() });
        }
        if self.right >= needed {
            return None;
        }
        let AccessPolicy { access, own, .. } = &*self.rules;
        let who = self.person().await;
        let error = access.refusal(&who, self.right, own);
        let origin = Origin::request(who, self.process, request.headers());
        let asked = (request.method(), request.uri().path());
        self.refusals.log(&origin, asked, StatusCode::FORBIDDEN, &error);
        let code = if self.right == Permission::Read { api::READ_ONLY } else { api::NO_ACCESS };
        let problem = api::Problem { error, code: Some(code.into()), at: None };
        Some((StatusCode::FORBIDDEN, Json(problem)).into_response())
    }
}

impl SocketPeer {
    async fn person(&self) -> PeerUser {
        let known = [&self.rules.root, &self.rules.own].into_iter().find(|person| person.user == self.user);
        match known {
            Some(person) => person.clone(),
            None => PeerUser { user: self.user, name: self.rules.name(self.user).await },
        }
    }
}

/// The sender of a request for a change, for its handler.
#[derive(Clone)]
pub(in crate::control) struct Requester {
    pub(in crate::control) origin: Origin,
    pub(in crate::control) refusals: Refusals,
}

impl AccessPolicy {
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
