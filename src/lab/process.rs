//! Processes in the background, told apart from later ones of the same pid by their start time.

use super::LabError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::process::Child;
use std::time::{Duration, Instant};

/// A process that the lab has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it is, for messages: "director", "rs1".
    pub role: String,
    /// Its process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot: field 22 of proc(5)'s `stat`.
    pub started: u64,
}

impl Process {
    /// The process behind `child`.
    ///
    /// # Errors
    /// [`LabError::Failed`] if it is gone already.
    pub fn of(role: &str, child: &Child) -> Result<Self, LabError> {
        let pid = child.id().cast_signed();
        let gone = || LabError::Failed(format!("{role} ended at once"));
        let started = stat(pid).ok_or_else(gone)?.started;
        Ok(Self { role: role.to_owned(), pid, started })
    }

    /// Whether it runs still. A zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// Sends it `signal`, if it is there.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// Ends all of `processes`: asks with SIGTERM, and after `patience` kills.
///
/// # Errors
/// [`LabError::Failed`] that names those that even SIGKILL has not ended two seconds later.
pub fn end(processes: &[Process], patience: Duration) -> Result<(), LabError> {
    processes.iter().for_each(|process| process.signal(Signal::SIGTERM));
    if gone_within(processes, patience) {
        return Ok(());
    }
    processes.iter().for_each(|process| process.signal(Signal::SIGKILL));
    if gone_within(processes, Duration::from_secs(2)) {
        return Ok(());
    }
    let left = processes.iter().filter(|process| process.is_alive());
    let names: Vec<String> = left.map(|process| format!("{} (pid {})", process.role, process.pid)).collect();
    Err(LabError::Failed(format!("cannot end {}", names.join(", "))))
}

fn gone_within(processes: &[Process], time: Duration) -> bool {
    let end = Instant::now() + time;
    loop {
        if !processes.iter().any(Process::is_alive) {
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

/// Fields 3 and 22 of `/proc/PID/stat`; the name in field 2 may hold blanks and parentheses.
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

    fn spawn(script: &str) -> (Process, Child) {
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        (Process::of("sh", &child).unwrap(), child)
    }

    #[test]
    fn another_process_of_the_same_pid_is_left_alone() {
        let (process, mut child) = spawn("exec sleep 60");
        let other = Process { started: process.started + 1, ..process.clone() };
        assert!(process.is_alive() && !other.is_alive());
        end(&[other], Duration::ZERO).unwrap();
        assert!(process.is_alive());
        end(&[process], Duration::from_secs(5)).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_ignores_sigterm_is_killed() {
        let (process, mut child) = spawn("trap '' TERM; echo; while :; do sleep 1; done");
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        end(std::slice::from_ref(&process), Duration::from_millis(50)).unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
