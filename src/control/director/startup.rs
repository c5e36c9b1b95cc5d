//! Start before the network: waits until the configured interfaces exist, are up and have an address.
//!
//! Meanwhile the control socket answers with the reason.

use super::error::DirectorError;
use crate::control::config_file::ReadConfig;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::{ResolveError, ResolvedHost};
use crate::control::host::signals::{DirectorSignals, SignalAction};
use crate::control::http::socket::ControlSocket;
use crate::control::http::startup::StartupSocket;
use crate::control::log::limit::LogLimiter;
use crate::control::workers::watchdog;
use crate::io::Interface;
use crate::io::claim::Claim;
use crate::model::{BackendChoice, Config, Diagnostic};
use crate::sys::NetworkWatch;
use std::future;
use std::path::Path;
use std::time::{Duration, Instant};

/// Interval after which the same reason is logged again.
const REMINDER: Duration = Duration::from_secs(600);
/// Longest wait for the end of duplicate address detection of the link-local address, which takes a second or two.
const TENTATIVE_MAX: Duration = Duration::from_secs(2);
/// Interval of looks at it, as its end is not always notified.
const TENTATIVE_POLL: Duration = Duration::from_millis(100);
/// Longest wait for another directrix to end. Packet memory of gigabytes takes some tenths of a second to be freed.
const CLAIM_MAX: Duration = Duration::from_secs(1);
/// Interval of attempts to claim an interface.
const CLAIM_POLL: Duration = Duration::from_millis(2);
/// Interval of notifications to the service manager.
const NOTIFY_INTERVAL: Duration = Duration::from_secs(10);

/// The environment of a director.
pub struct RunOptions<'a> {
    /// Path of the control socket.
    pub socket: &'a Path,
    /// Reads the configuration file again.
    pub read_config: ReadConfig,
    /// Backend of the command line, which overrides the file's.
    pub backend: Option<BackendChoice>,
    /// True to take over from the running director with the same control socket.
    pub takes_over: bool,
    /// Called once the host has what the configuration names, before the director changes anything on it.
    pub on_host: Box<dyn Fn(&Config)>,
    /// Called once every VIP is claimed or on standby, and every real server is reachable or unreachable.
    pub on_ready: Box<dyn FnMut()>,
}

/// A configuration and the host that it resolves on.
pub(super) struct StartContext {
    pub(super) config: Config,
    pub(super) privileges: Privileges,
    pub(super) host: ResolvedHost,
    /// The control socket, if the director had to wait.
    pub(super) socket: Option<ControlSocket>,
}

/// Waits until the configuration resolves on this host; `None` if a signal stops the wait.
///
/// SIGHUP reads the file again: the remedy if it names the wrong interface.
///
/// # Errors
/// A permanent error of the host, or an error of the control socket at `path`.
pub(super) async fn wait_for_host(
    mut config: Config,
    read_config: &ReadConfig,
    signals: &mut DirectorSignals,
    path: &Path,
) -> Result<Option<StartContext>, DirectorError> {
    // Opened before the first attempt, so that no change is missed.
    let mut watch = NetworkWatch::open()?;
    let (mut log, mut socket, begin) = (WaitLog::new(), None, Instant::now());
    loop {
        let privileges = Privileges::of(&config)?;
        match ResolvedHost::resolve(&config) {
            Ok(host) if host.awaits_link_local() && begin.elapsed() < TENTATIVE_MAX => {
                let _ = tokio::time::timeout(TENTATIVE_POLL, watch.changed()).await;
                continue;
            }
            Ok(host) => {
                let socket = socket.map(StartupSocket::into_socket);
                return Ok(Some(StartContext { config, privileges, host, socket }));
            }
            Err(ResolveError { errors, may_recover: false }) => return Err(errors.into()),
            Err(ResolveError { errors, .. }) => {
                let reason = errors.to_string().replace('\n', "; ");
                log.report(&reason);
                let open = match socket.take() {
                    Some(open) => open,
                    None => StartupSocket::bind(path)?,
                };
                socket.insert(open).set_reason(&reason);
            }
        }
        tokio::select! {
            () = serve(&mut socket) => {}
            () = watch.changed() => {}
            () = tokio::time::sleep(NOTIFY_INTERVAL) => {}
            action = signals.next() => match action {
                SignalAction::Stop => {
                    tracing::info!("stopping");
                    return Ok(None);
                }
                // On this thread: privileges are dropped later, which requires a single thread.
                SignalAction::Reload => match read_config() {
                    Ok(read) => config = read,
                    Err(error) => tracing::error!(%error, "the configuration stays as it was"),
                },
                SignalAction::Dump | SignalAction::Ignore(_) => log.repeat(),
            },
        }
    }
}

/// Claims the interfaces. Another directrix on one of them may be about to end: after SIGKILL the kernel closes its sockets
/// one by one.
///
/// # Errors
/// If it has not ended within [`CLAIM_MAX`].
pub(super) fn claim(interfaces: &[Interface]) -> Result<Vec<Claim>, Diagnostic> {
    let begin = Instant::now();
    let mut claims = Vec::new();
    while let Some(interface) = interfaces.get(claims.len()) {
        match Claim::try_take(interface)? {
            Some(claim) => claims.push(claim),
            None if begin.elapsed() > CLAIM_MAX => return Err(Claim::refused(interface)),
            None => std::thread::sleep(CLAIM_POLL),
        }
    }
    Ok(claims)
}

/// Answers the clients of an open socket, without end.
async fn serve(socket: &mut Option<StartupSocket>) {
    match socket {
        Some(socket) => socket.serve().await,
        None => future::pending().await,
    }
}

/// The log of the wait: each new reason at once, the same one rarely.
struct WaitLog {
    last: Option<(String, Instant)>,
    limiter: LogLimiter<&'static str>,
}

impl WaitLog {
    fn new() -> Self {
        Self { last: None, limiter: LogLimiter::default() }
    }

    fn report(&mut self, reason: &str) {
        watchdog::notify_waiting(reason);
        let now = Instant::now();
        if self.is_due(reason, now) {
            self.limiter.log("host", now, || tracing::warn!(reason, "waiting for the network"));
        }
    }

    /// Logs the reason again at the next attempt.
    fn repeat(&mut self) {
        self.last = None;
    }

    /// Returns true for another reason than before, and for the same after [`REMINDER`].
    fn is_due(&mut self, reason: &str, now: Instant) -> bool {
        let known = self.last.as_ref().filter(|(last, _)| last == reason);
        let is_due = known.is_none_or(|(_, since)| now.duration_since(*since) >= REMINDER);
        if is_due {
            self.last = Some((reason.to_owned(), now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_reason_is_due_at_once_and_the_same_rarely() {
        let (mut log, start) = (WaitLog::new(), Instant::now());
        let mut at = |seconds, reason| log.is_due(reason, start + Duration::from_secs(seconds));
        assert!(at(0, "no eth0"));
        assert!(!at(1, "no eth0") && !at(599, "no eth0"));
        assert!(at(600, "no eth0") && !at(601, "no eth0"));
        assert!(at(602, "eth0 is down") && at(603, "no eth0"));
    }
}
