//! Programs that are called at changes, with the facts as JSON on standard input.
//!
//! A thread of its own calls one at a time, in the order of the changes, so that they can delay nothing. They are bounded
//! in time, rate and number: a program that does not end is killed, and of too many calls the latest are left out. The call for
//! a quorum is kept instead, until a later one for the same service replaces it.

use crate::control::log::limit::LogLimiter;
use crate::control::program::secure;
use crate::model::ServiceIdentity;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Calls that may wait; few in tests, which call them all.
const WAITING_MAX: usize = if cfg!(test) { 16 } else { 256 };
/// Time after which a program is killed.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Least time from one call to the next.
const INTERVAL: Duration = Duration::from_millis(50);
/// Interval at which a running program is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A call of a program.
#[derive(Debug)]
pub(in crate::control) struct HookCall {
    /// Absolute path.
    pub(in crate::control) program: String,
    /// JSON for its standard input, below the capacity of a pipe.
    pub(in crate::control) facts: String,
}

/// The thread that calls programs, once there has been a call.
#[derive(Debug, Default)]
pub(in crate::control) struct HookRunner {
    calls: Option<SyncSender<HookCall>>,
    /// The latest call for each quorum, while there is no room for it.
    quorums: BTreeMap<ServiceIdentity, HookCall>,
    limiter: LogLimiter<&'static str>,
}

impl HookRunner {
    /// Has a program called. Never blocks.
    pub(in crate::control) fn call(&mut self, call: HookCall) {
        if let Err(HookCall { program, .. }) = self.send(call) {
            self.limiter.log("hooks", Instant::now(), || {
                tracing::warn!(program, "hook not called: too many calls wait");
            });
        }
    }

    /// Has the program for the quorum of a service called, as soon as there is room. Never blocks.
    pub(in crate::control) fn call_for_quorum(&mut self, service: ServiceIdentity, call: HookCall) {
        self.quorums.insert(service, call);
        self.retry();
    }

    /// Sends what had no room. To be called every second or so.
    pub(in crate::control) fn retry(&mut self) {
        while let Some((service, call)) = self.quorums.pop_first() {
            if let Err(call) = self.send(call) {
                self.quorums.insert(service, call);
                return;
            }
        }
    }

    /// Returns the call if too many wait.
    fn send(&mut self, call: HookCall) -> Result<(), HookCall> {
        match self.calls().map(|calls| calls.try_send(call)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(TrySendError::Full(call) | TrySendError::Disconnected(call))) => Err(call),
            Err(error) => {
                tracing::warn!(%error, "hooks not called: their thread cannot start");
                Ok(())
            }
        }
    }

    fn calls(&mut self) -> io::Result<&SyncSender<HookCall>> {
        if self.calls.is_none() {
            let (sender, received) = sync_channel(WAITING_MAX);
            std::thread::Builder::new().name("hooks".into()).spawn(move || run(&received))?;
            self.calls = Some(sender);
        }
        Ok(self.calls.as_ref().expect("it has just been set"))
    }
}

fn run(calls: &Receiver<HookCall>) {
    for HookCall { program, facts } in calls {
        match call(&program, &facts, TIME_MAX) {
            Ok(HookEnd::Exit(status)) if status.success() => tracing::debug!(program, "hook called"),
            Ok(HookEnd::Exit(status)) => tracing::warn!(program, %status, "hook failed"),
            Ok(HookEnd::Killed) => tracing::warn!(program, "hook took too long and was killed"),
            Ok(HookEnd::Insecure) => tracing::error!(program, "hook not called: other users may change it"),
            Err(error) => tracing::warn!(program, %error, "hook cannot be called"),
        }
        sleep(INTERVAL);
    }
}

/// End of a call.
#[derive(Debug, PartialEq, Eq)]
enum HookEnd {
    /// The program has ended.
    Exit(ExitStatus),
    /// It was killed after the limit.
    Killed,
    /// It was not called, because other users may change it.
    Insecure,
}

/// Calls a program, which is killed after `limit`.
fn call(program: &str, facts: &str, limit: Duration) -> io::Result<HookEnd> {
    let Some(path) = secure(Path::new(program))? else { return Ok(HookEnd::Insecure) };
    let mut command = Command::new(path);
    command
        .arg0(program)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.current_dir("/").process_group(0);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(facts.as_bytes()); // a program need not read
    }
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(HookEnd::Exit(status));
        }
        sleep(POLL);
    }
    kill(&mut child)?;
    Ok(HookEnd::Killed)
}

/// Kills a program with what it has started.
fn kill(child: &mut Child) -> io::Result<()> {
    let group = nix::unistd::Pid::from_raw(child.id() as i32); // pids are below 2^22
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL); // it may just have ended
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceAddress;
    use crate::wire::Protocol;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::{TempDir, tempdir};

    /// A program with this text, in a directory of its own.
    fn script(text: &str) -> (TempDir, String) {
        let dir = tempdir().unwrap();
        let path = dir.path().join("hook");
        fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", dir.path().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let program = path.to_str().unwrap().to_owned();
        (dir, program)
    }

    fn wait_for(mut what: impl FnMut() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(20));
            sleep(POLL);
        }
    }

    #[test]
    fn a_program_gets_the_facts_and_little_else() {
        let (dir, program) = script("cat > facts; env > env; exit 3");
        let end = call(&program, "{\"a\": 1}\n", TIME_MAX).unwrap();
        assert!(matches!(end, HookEnd::Exit(status) if status.code() == Some(3)), "{end:?}");
        assert_eq!(fs::read_to_string(dir.path().join("facts")).unwrap(), "{\"a\": 1}\n");
        let env = fs::read_to_string(dir.path().join("env")).unwrap();
        assert!(
            env.lines().all(
                |line| ["PATH", "PWD", "OLDPWD", "_", "SHLVL"].contains(&line.split('=').next().unwrap())
            ),
            "{env}"
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let (dir, program) = script("sleep 1000 & echo $! > child; wait");
        let start = Instant::now();
        assert_eq!(call(&program, "", Duration::from_millis(500)).unwrap(), HookEnd::Killed);
        assert!(start.elapsed() < Duration::from_secs(5));
        let child = fs::read_to_string(dir.path().join("child")).unwrap();
        // The orphan is reaped by init, or by no process in a container.
        let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        wait_for(|| state().is_empty() || state().contains(" Z "));
    }

    #[test]
    fn calls_keep_their_order_and_never_block() {
        let (dir, program) = script("cat >> all; sleep 0.01");
        let mut runner = HookRunner::default();
        let start = Instant::now();
        for number in 0..WAITING_MAX * 4 {
            runner.call(HookCall { program: program.clone(), facts: format!("{number}\n") });
        }
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        let read = || fs::read_to_string(dir.path().join("all")).unwrap_or_default();
        wait_for(|| read().lines().count() >= 5);
        drop(runner);
        assert!(read().starts_with("0\n1\n2\n3\n4\n"), "{}", read());
    }

    #[test]
    fn a_program_that_others_may_change_is_not_called() {
        let (dir, program) = script("touch called");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(call(&program, "", TIME_MAX).unwrap(), HookEnd::Insecure);
        assert!(!dir.path().join("called").exists());
    }

    #[test]
    fn the_latest_call_for_a_quorum_is_kept_until_there_is_room() {
        let (dir, program) = script("cat >> all; sleep 0.01");
        let mut runner = HookRunner::default();
        let call = |facts: &str| HookCall { program: program.clone(), facts: format!("{facts}\n") };
        let service = |port| {
            let address = ([192, 0, 2, 1], port).into();
            ServiceIdentity::from(ServiceAddress { protocol: Protocol::Tcp, address })
        };
        (0..WAITING_MAX * 2).for_each(|_| runner.call(call("notify")));
        for port in [80, 443] {
            ["down", "up", "down"].iter().for_each(|state| {
                runner.call_for_quorum(service(port), call(&format!("{port} {state}")));
            });
        }
        wait_for(|| {
            runner.retry();
            runner.quorums.is_empty()
        });
        drop(runner);
        let read = || fs::read_to_string(dir.path().join("all")).unwrap_or_default();
        let has_last =
            |port: &str| read().lines().rfind(|line| line.starts_with(port)) == Some(&format!("{port} down"));
        wait_for(|| has_last("80") && has_last("443"));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        assert!(call("/nonexistent/hook", "", TIME_MAX).is_err());
    }
}
