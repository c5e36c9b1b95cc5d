//! `directrix upgrade`: a new process of the installed program takes over from the running director.

use super::change;
use super::exe::exe;
use super::status::finish;
use crate::control::client::Blocking;
use crate::model::Diagnostic;
use procfs::process::Process;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest wait until the new process is ready.
const READY_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Environment that belongs to one process alone (sd_notify(3), sd_listen_fds(3)).
const OF_ONE_PROCESS: [&str; 3] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"];

/// The arguments of `directrix upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The new process has the arguments, the environment and the directory of the running one. Rules that were changed by commands stay, \
unless the configuration file has been changed since it was last read. A director that is a unit of systemd is upgraded by \
\"systemctl reload directrix\".")]
pub(super) struct Args {
    /// Only reload the configuration file, if the running program is this one and no changed key needs a restart
    #[arg(long)]
    if_needed: bool,

    /// Start the process that takes over from this one, print its number and end
    #[arg(long, hide = true, value_name = "PID")]
    start_after: Option<u32>,
}

/// Replaces the running director by a new process.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    if let Some(process) = args.start_after {
        return finish(start(process).map(|next| println!("{next}")));
    }
    match reload_suffices(args, socket) {
        Ok(true) => change::reload(socket),
        Ok(false) => finish(upgrade(socket)),
        Err(error) => finish(Err(error)),
    }
}

fn reload_suffices(args: &Args, socket: &Path) -> Result<bool, Diagnostic> {
    if !args.if_needed {
        return Ok(false);
    }
    let status = Blocking::new(socket)?.named("upgrade").status()?;
    Ok(status.file.restarts.is_empty() && is_this_program(status.pid))
}

/// True if the process runs the file of this program.
fn is_this_program(process: u32) -> bool {
    let own = exe().ok().and_then(|path| identity(&path));
    own.is_some() && own == identity(Path::new(&format!("/proc/{process}/exe")))
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino())).ok()
}

fn upgrade(socket: &Path) -> Result<(), Diagnostic> {
    let director = Blocking::new(socket)?.named("upgrade");
    let before = director.status()?;
    check_unit(before.pid)?;
    let after = wait_ready(&director, start_orphan(before.pid)?)?;
    println!(
        "process {} ({}) has taken over from {} ({})",
        after.pid, after.version, before.pid, before.version
    );
    Ok(())
}

/// Refuses a director of a unit to a command outside of it: systemd would end the unit with the former process.
fn check_unit(process: u32) -> Result<(), Diagnostic> {
    let group = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let of_director = group(&process.to_string());
    let unit = of_director
        .lines()
        .find_map(|line| line.rsplit('/').next().filter(|name| name.ends_with(".service")));
    match unit {
        Some(unit) if of_director != group("self") && !of_director.is_empty() => {
            let what =
                format!("process {process} is the main process of {unit}, which this command is not part of");
            Err(Diagnostic::system(what).remedy(format!("systemctl reload {unit}")))
        }
        _ => Ok(()),
    }
}

/// Starts the new process by another one that ends at once, so that the service manager is its parent: systemd waits for an orderly end
/// of its own children alone. Returns its number.
fn start_orphan(process: u32) -> Result<u32, Diagnostic> {
    let mut command = Command::new(exe()?);
    command.args(["upgrade", "--start-after", &process.to_string()]);
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| Diagnostic::io("starting the new process", &error))?;
    let number = String::from_utf8_lossy(&output.stdout).trim().parse();
    number.map_err(|_| {
        Diagnostic::system("the new process has not been started").remedy("see the message above")
    })
}

/// Starts the new process as the running one was started. Returns its number.
fn start(process: u32) -> Result<u32, Diagnostic> {
    let unreadable = |error: procfs::ProcError| {
        Diagnostic::system(format!("reading the arguments of process {process}"))
            .cause(error.to_string())
            .remedy(
                "upgrade as root or as the director's user, or start \"directrix run --takeover\" yourself",
            )
    };
    let running = Process::new(process.cast_signed()).map_err(unreadable)?;
    let words = running.cmdline().map_err(unreadable)?;
    let environment = running.environ().map_err(unreadable)?;
    let mut command = Command::new(exe()?);
    command.args(arguments(&words));
    command.env_clear().envs(environment.into_iter().filter(|(name, _)| !is_of_one_process(name)));
    command.current_dir(directory(&running.cwd().map_err(unreadable)?, process));
    // A group of its own: Ctrl-C ends this command alone.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().map_err(|error| Diagnostic::io("starting the new process", &error))?;
    Ok(child.id())
}

/// The directory of the running director; the root, where that is the directory of another mount namespace, as in a unit with a sandbox.
fn directory(path: &Path, process: u32) -> &Path {
    let own = identity(Path::new(&format!("/proc/{process}/cwd")));
    if own.is_some() && own == identity(path) { path } else { Path::new("/") }
}

/// The arguments of the running director, with `--takeover` once.
fn arguments(words: &[String]) -> Vec<String> {
    let others = words.iter().skip(1).filter(|word| *word != "--takeover").cloned();
    others.chain(["--takeover".to_owned()]).collect()
}

fn is_of_one_process(name: &OsString) -> bool {
    OF_ONE_PROCESS.iter().any(|one| name == one)
}

fn wait_ready(director: &Blocking, next: u32) -> Result<crate::control::api::overview::Status, Diagnostic> {
    let begin = Instant::now();
    while begin.elapsed() < READY_MAX {
        if !is_alive(next) {
            return Err(Diagnostic::system("the new process has ended")
                .remedy("see its messages above; until it has taken over, the running director goes on"));
        }
        match director.status() {
            Ok(status) if status.pid == next && status.ready => return Ok(status),
            _ => sleep(POLL), // nothing answers for a moment during the switch
        }
    }
    let what = format!("process {next} is not ready after {} s", READY_MAX.as_secs());
    Err(Diagnostic::system(what).remedy("see its messages above, and \"directrix status\""))
}

/// True while the process runs. A zombie does not.
fn is_alive(process: u32) -> bool {
    let stat = Process::new(process.cast_signed()).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.state != 'Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_process_takes_over_whatever_the_former_one_did() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let wanted = words("run --config d.toml --takeover");
        assert_eq!(arguments(&words("/usr/bin/directrix run --config d.toml")), wanted);
        assert_eq!(arguments(&words("directrix run --takeover --config d.toml")), wanted);
    }

    #[test]
    fn this_process_runs_this_program() {
        assert!(is_this_program(std::process::id()));
        assert!(!is_this_program(1) && !is_this_program(u32::MAX));
        check_unit(std::process::id()).unwrap();
    }

    #[test]
    fn an_environment_of_one_process_is_not_passed_on() {
        assert!(is_of_one_process(&"WATCHDOG_PID".into()) && !is_of_one_process(&"WATCHDOG_USEC".into()));
    }
}
