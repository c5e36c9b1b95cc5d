//! A start before the network: the director waits until the interfaces that its configuration names are there,
//! up, and have an address. Its control socket answers with what it waits for.

use crate::control::director::error::DirectorError;
use crate::control::director::reload::ReadConfig;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::{ResolveError, ResolvedHost};
use crate::control::host::signals::{DirectorSignals, SignalAction};
use crate::control::http::socket::ControlSocket;
use crate::control::http::startup::StartupSocket;
use crate::control::log::limit::LogLimiter;
use crate::control::workers::watchdog;
use crate::model::Config;
use crate::sys::NetworkWatch;
use std::future;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time after which it is said again what the director waits for.
const REMINDER: Duration = Duration::from_secs(600);
/// How often the service manager is told so, too.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// A configuration and a host that fit each other.
pub(in crate::control) struct StartContext {
    pub(in crate::control) config: Config,
    pub(in crate::control) privileges: Privileges,
    pub(in crate::control) host: ResolvedHost,
    /// The control socket, if the director had to wait.
    pub(in crate::control) socket: Option<ControlSocket>,
}

/// Waits for a host that the configuration fits; `None` if told to stop before.
///
/// SIGHUP has the file read again, as the way out if it names the wrong interface.
///
/// # Errors
/// What is wrong with the host and does not come right by itself, also with the control socket at `path`.
pub(in crate::control) async fn for_host(
    mut config: Config,
    reread: &ReadConfig,
    signals: &mut DirectorSignals,
    path: &Path,
) -> Result<Option<StartContext>, DirectorError> {
    // Before the first look, so that no change goes unnoticed between a look and the next wait.
    let mut watch = NetworkWatch::open()?;
    let (mut news, mut early) = (WaitLog::new(), None);
    loop {
        let privileges = Privileges::of(&config)?;
        match ResolvedHost::fit(&config) {
            Ok(host) => {
                let socket = early.map(StartupSocket::into_socket);
                return Ok(Some(StartContext { config, privileges, host, socket }));
            }
            Err(ResolveError { errors, may_recover: false }) => return Err(errors.into()),
            Err(ResolveError { errors, .. }) => {
                let reason = errors.to_string().replace('\n', "; ");
                news.tell(&reason);
                let socket = early.take().map_or_else(|| StartupSocket::bind(path), Ok)?;
                early.insert(socket).set_reason(&reason);
            }
        }
        tokio::select! {
            () = answer(&mut early) => {}
            () = watch.changed() => {}
            () = tokio::time::sleep(SIGN_OF_LIFE) => {}
            wish = signals.next() => match wish {
                SignalAction::Stop => {
                    tracing::info!("stopping");
                    return Ok(None);
                }
                // Here, not on a thread of its own: privileges are given up on the only thread there is.
                SignalAction::Reload => match reread() {
                    Ok(read) => config = read,
                    Err(errors) => tracing::error!("the configuration stays as it was: {errors}"),
                },
                SignalAction::Dump | SignalAction::Ignore(_) => news.repeat(),
            },
        }
    }
}

/// Answers clients of a socket that is there, for ever.
async fn answer(early: &mut Option<StartupSocket>) {
    match early {
        Some(socket) => socket.serve().await,
        None => future::pending().await,
    }
}

/// What has been said of the wait.
struct WaitLog {
    last: Option<(String, Instant)>,
    limiter: LogLimiter<&'static str>,
}

impl WaitLog {
    fn new() -> Self {
        Self { last: None, limiter: LogLimiter::default() }
    }

    fn tell(&mut self, reason: &str) {
        watchdog::tell_waiting(reason);
        let now = Instant::now();
        if self.is_news(reason, now) {
            self.limiter.log("host", now, || tracing::warn!(reason, "waiting for the network"));
        }
    }

    /// Says again at the next look what it waits for.
    fn repeat(&mut self) {
        self.last = None;
    }

    /// Another reason than before, or the same after long.
    fn is_news(&mut self, reason: &str, now: Instant) -> bool {
        let known = self.last.as_ref().filter(|(last, _)| last == reason);
        let is_news = known.is_none_or(|(_, since)| now.duration_since(*since) >= REMINDER);
        if is_news {
            self.last = Some((reason.to_owned(), now));
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_at_once_and_then_rarely() {
        let (mut news, start) = (WaitLog::new(), Instant::now());
        let mut at = |seconds, reason| news.is_news(reason, start + Duration::from_secs(seconds));
        assert!(at(0, "no eth0"));
        assert!(!at(1, "no eth0") && !at(599, "no eth0"));
        assert!(at(600, "no eth0") && !at(601, "no eth0"));
        assert!(at(602, "eth0 is down") && at(603, "no eth0"));
    }
}
