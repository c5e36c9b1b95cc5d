//! Background processes, identified by pid and start time.

use crate::model::Diagnostic;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::process::Child;
use std::time::{Duration, Instant};

/// A background process of a lab or bench.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackgroundProcess {
    /// Role, for messages: "director", "rs1".
    pub role: String,
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)).
    pub started: u64,
}

impl BackgroundProcess {
    /// Identifies the process of `child`.
    ///
    /// # Errors
    /// `System` if it has already ended.
    pub fn of(role: &str, child: &Child) -> Result<Self, Diagnostic> {
        let pid = child.id().cast_signed();
        match stat(pid) {
            Some(stat) => Ok(Self { role: role.to_owned(), pid, started: stat.started }),
            None => Err(Diagnostic::system(format!("{role} ended at once"))),
        }
    }

    /// Whether it is running. A zombie is not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// Sends `signal`, if it is running.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// Ends all of `processes` by SIGTERM, and after `timeout` by SIGKILL.
///
/// # Errors
/// `System` with the processes still running two seconds after SIGKILL.
pub fn end(processes: &[BackgroundProcess], timeout: Duration) -> Result<(), Diagnostic> {
    processes.iter().for_each(|process| process.signal(Signal::SIGTERM));
    if ended_within(processes, timeout) {
        return Ok(());
    }
    processes.iter().for_each(|process| process.signal(Signal::SIGKILL));
    if ended_within(processes, Duration::from_secs(2)) {
        return Ok(());
    }
    let left = processes.iter().filter(|process| process.is_alive());
    let names: Vec<String> = left.map(|process| format!("{} (pid {})", process.role, process.pid)).collect();
    Err(Diagnostic::system(format!("cannot end {}", names.join(", "))))
}

fn ended_within(processes: &[BackgroundProcess], time: Duration) -> bool {
    let end = Instant::now() + time;
    loop {
        if !processes.iter().any(BackgroundProcess::is_alive) {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Stat {
    state: char,
    started: u64,
}

/// Parses fields 3 and 22 of `/proc/PID/stat`. The name in field 2 may contain blanks and parentheses.
fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, started: fields.nth(18)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn spawn(script: &str) -> (BackgroundProcess, Child) {
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        (BackgroundProcess::of("sh", &child).unwrap(), child)
    }

    #[test]
    fn process_with_reused_pid_is_not_ended() {
        let (process, mut child) = spawn("exec sleep 60");
        let other = BackgroundProcess { started: process.started + 1, ..process.clone() };
        assert!(process.is_alive() && !other.is_alive());
        end(&[other], Duration::ZERO).unwrap();
        assert!(process.is_alive());
        end(&[process], Duration::from_secs(5)).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn process_that_ignores_sigterm_is_killed() {
        let (process, mut child) = spawn("trap '' TERM; echo; while :; do sleep 1; done");
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        end(std::slice::from_ref(&process), Duration::from_millis(50)).unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
