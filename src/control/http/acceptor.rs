//! Clients of the control socket: identified by their kernel credentials, authorized by [`Access`] per request.

use crate::control::api::{self, ErrorCode};
use crate::control::host::access::{Access, PeerUser, Permission, ROOT};
use crate::control::http::connection::{Authorize, Listener};
use crate::control::http::limits::{CLIENTS_MAX, READERS_MAX};
use crate::control::http::response::problem;
use crate::control::log::audit::{Origin, RefusalLog};
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

/// Further readers that get a response with status 503; beyond these, connections are closed at once.
const REJECTED_MAX: usize = CLIENTS_MAX / 4;
/// Concurrent lookups of user names; further users are logged by number.
const NAME_LOOKUPS_MAX: usize = 16;
/// Timeout of a user name lookup: a directory service may be unreachable.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// The listener of the control socket with its access policy.
pub(in crate::control) struct Acceptor {
    listener: UnixListener,
    policy: Arc<AccessPolicy>,
    readers: Arc<Semaphore>,
    rejected: Arc<Semaphore>,
    refusals: RefusalLog,
}

struct AccessPolicy {
    access: Access,
    /// User 0.
    root: PeerUser,
    /// The director's own user.
    own: PeerUser,
    lookups: Arc<Semaphore>,
}

impl Acceptor {
    /// Takes a listener. To be called after the process has changed its user.
    pub(in crate::control) fn new(listener: UnixListener, access: Access) -> Self {
        let user = geteuid().as_raw();
        let [own, root] = [user, ROOT].map(|user| PeerUser { user, name: user_name(user) });
        let lookups = Arc::new(Semaphore::new(NAME_LOOKUPS_MAX));
        let policy = Arc::new(AccessPolicy { access, root, own, lookups });
        let [readers, rejected] =
            [READERS_MAX, REJECTED_MAX].map(|clients| Arc::new(Semaphore::new(clients)));
        Self { listener, policy, readers, rejected, refusals: RefusalLog::default() }
    }

    /// Returns the log of refused requests.
    pub(in crate::control) fn refusals(&self) -> RefusalLog {
        self.refusals.clone()
    }

    /// Identifies a client; `None` if its connection is to be closed.
    fn identify(&self, stream: &UnixStream) -> Option<SocketPeer> {
        let peer = match PeerCredentials::of(stream) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "client rejected: the kernel does not report its user");
                return None;
            }
        };
        let permission = self.policy.access.permission(&peer, self.policy.own.user);
        let peer = SocketPeer {
            user: peer.user,
            process: peer.process,
            permission,
            policy: Arc::clone(&self.policy),
            refusals: self.refusals.clone(),
            is_rejected: false,
            _permit: None,
        };
        if permission == Permission::Change { Some(peer) } else { self.admit_reader(peer) }
    }

    /// Reserves one of the readers' places, or one for a rejection.
    fn admit_reader(&self, peer: SocketPeer) -> Option<SocketPeer> {
        if let Ok(permit) = Arc::clone(&self.readers).try_acquire_owned() {
            return Some(SocketPeer { _permit: Some(permit), ..peer });
        }
        self.refusals.log_busy(peer.user, peer.process, READERS_MAX);
        let permit = Arc::clone(&self.rejected).try_acquire_owned().ok()?;
        Some(SocketPeer { _permit: Some(permit), is_rejected: true, ..peer })
    }
}

impl Listener for Acceptor {
    const NAME: &'static str = "control socket";
    type Stream = UnixStream;
    type Client = SocketPeer;

    async fn accept(&self) -> io::Result<(UnixStream, SocketPeer)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if let Some(peer) = self.identify(&stream) {
                return Ok((stream, peer));
            }
        }
    }
}

/// The process at the other end of a connection, with its permission.
pub(in crate::control) struct SocketPeer {
    user: u32,
    process: i32,
    permission: Permission,
    policy: Arc<AccessPolicy>,
    refusals: RefusalLog,
    /// True if every reader's place was taken.
    is_rejected: bool,
    /// Place of a reader, kept until its response is complete.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Authorize for SocketPeer {
    async fn authorize(&self, request: &mut Request<Incoming>) -> Result<(), Response> {
        if self.is_rejected {
            let error = format!(
                "{READERS_MAX} clients without the right to change are being served; try again later"
            );
            return Err(problem(StatusCode::SERVICE_UNAVAILABLE, error));
        }
        let needed = if request.method().is_safe() { Permission::Read } else { Permission::Change };
        if self.permission < needed {
            return Err(self.refuse(request).await);
        }
        if needed == Permission::Change {
            let origin = Origin::request(self.user().await, self.process, request.headers());
            request.extensions_mut().insert(Requester { origin, refusals: self.refusals.clone() });
        }
        Ok(())
    }
}

impl SocketPeer {
    /// Logs a refused request and returns its response.
    async fn refuse(&self, request: &Request<Incoming>) -> Response {
        let user = self.user().await;
        let error = self.policy.access.denial(&user, self.permission, &self.policy.own);
        let origin = Origin::request(user, self.process, request.headers());
        let requested = (request.method(), request.uri().path());
        self.refusals.log(&origin, requested, StatusCode::FORBIDDEN, &error);
        let code =
            if self.permission == Permission::Read { ErrorCode::ReadOnly } else { ErrorCode::NoAccess };
        let problem = api::Problem { code: Some(code), ..api::Problem::new(error) };
        (StatusCode::FORBIDDEN, Json(problem)).into_response()
    }

    async fn user(&self) -> PeerUser {
        let known = [&self.policy.root, &self.policy.own].into_iter().find(|known| known.user == self.user);
        match known {
            Some(user) => user.clone(),
            None => PeerUser { user: self.user, name: self.policy.look_up_name(self.user).await },
        }
    }
}

/// The origin of a request for a change, as an extension for its handler.
#[derive(Clone)]
pub(in crate::control) struct Requester {
    pub(in crate::control) origin: Origin,
    pub(in crate::control) refusals: RefusalLog,
}

impl AccessPolicy {
    /// Looks up a user's name on a thread of its own, which delays neither the response nor the shutdown.
    async fn look_up_name(&self, user: u32) -> Option<String> {
        let permit = Arc::clone(&self.lookups).try_acquire_owned().ok()?;
        let (sender, name) = oneshot::channel();
        let thread = std::thread::Builder::new().name("user-name".into());
        thread
            .spawn(move || {
                let _ = sender.send(user_name(user)); // fails after the timeout
                drop(permit);
            })
            .ok()?;
        tokio::time::timeout(LOOKUP_TIMEOUT, name).await.ok()?.ok()?
    }
}

fn user_name(user: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(user)).ok().flatten().map(|user| user.name)
}
