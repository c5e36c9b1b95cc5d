//! A director with its keepalived.

use super::super::ready::Readiness;
use super::super::runner::{Runner, command};
use super::super::step::Step;
use super::DrillOptions;
use super::topology::{PORT, namespace, rips, vip};
use crate::control::api::sync::SyncStatus;
use crate::control::client::Blocking;
use crate::model::{Diagnostic, Role};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Longest wait for readiness, for a role, and for the end of a process.
const PATIENCE: Duration = Duration::from_secs(30);
const KEEPALIVED: &str = include_str!("../../../docs/examples/keepalived-2.2.7.conf");

/// A director with its keepalived, and their files.
pub(super) struct Member {
    pub(super) host: &'static str,
    netns: String,
    directory: PathBuf,
    exe: PathBuf,
    director: Option<Child>,
    keepalived: Option<Child>,
}

impl Member {
    /// Writes the files of a director.
    pub(super) fn new(
        options: &DrillOptions,
        (host, priority): (&'static str, u8),
        directory: &Path,
    ) -> Result<Self, Diagnostic> {
        let directory = directory.join(host);
        let failed = |error| Diagnostic::io(directory.display().to_string(), &error);
        fs::create_dir(&directory).map_err(failed)?;
        let files = directory.display().to_string();
        fs::write(directory.join("directrix.toml"), configuration(options, &files)).map_err(failed)?;
        let keepalived = KEEPALIVED
            .replace("/run/directrix/vrrp.fifo directrix directrix", &format!("{files}/vrrp.fifo"))
            .replace("priority 250", &format!("priority {priority}"));
        fs::write(directory.join("keepalived.conf"), keepalived).map_err(failed)?;
        let (netns, exe) = (namespace(options, host), options.exe.clone());
        Ok(Self { host, netns, directory, exe, director: None, keepalived: None })
    }

    /// Starts the director, and waits until it is ready.
    pub(super) fn start_director(&mut self, runner: &Runner<'_>) -> Result<(), Diagnostic> {
        let child = self.spawn_director(runner, &[])?;
        self.director = Some(child);
        Ok(())
    }

    /// Starts a process that takes over from the director, and waits for the end of that.
    pub(super) fn upgrade(&mut self, runner: &Runner<'_>) -> Result<(), Diagnostic> {
        let next = self.spawn_director(runner, &["--takeover"])?;
        if let Some(mut former) = self.director.replace(next) {
            wait_end(&mut former, runner)?;
        }
        Ok(())
    }

    fn spawn_director(&self, runner: &Runner<'_>, more: &[&str]) -> Result<Child, Diagnostic> {
        let file = self.file("directrix.toml").display().to_string();
        let (exe, socket) = (self.exe.display().to_string(), self.socket().display().to_string());
        let words = [&exe, "--socket", &socket, "run", "--config", &file];
        let readiness = Readiness::listen(self.file("ready"))?;
        let mut child = self.spawn(runner, &[&words[..], more].concat(), "directrix")?;
        if readiness.wait(&mut child, runner.interrupt, PATIENCE)? {
            return Ok(child);
        }
        let _ = child.kill(); // it may have ended
        let _ = child.wait();
        let log = fs::read_to_string(self.file("directrix.log")).unwrap_or_default();
        Err(Diagnostic::system(format!("the director of {} is not ready; its log:\n{log}", self.host)))
    }

    /// Starts keepalived.
    pub(super) fn start_keepalived(&mut self, runner: &Runner<'_>) -> Result<(), Diagnostic> {
        for name in ["parent.pid", "vrrp.pid"] {
            let _ = fs::remove_file(self.file(name)); // of a process that was killed
        }
        let [file, parent, vrrp] =
            ["keepalived.conf", "parent.pid", "vrrp.pid"].map(|name| self.file(name).display().to_string());
        let words = ["keepalived", "-n", "-l", "-P", "-f", &file, "-p", &parent, "-r", &vrrp];
        self.keepalived = Some(self.spawn(runner, &words, "keepalived")?);
        Ok(())
    }

    fn spawn(&self, runner: &Runner<'_>, words: &[&str], role: &str) -> Result<Child, Diagnostic> {
        let step = Step::within(&self.netns, words.iter().copied());
        runner.console.print(&format!("{step} &"));
        let failed = |error: std::io::Error| Diagnostic::io(format!("cannot start {role}"), &error);
        let log = self.file(&format!("{role}.log"));
        let log = File::options().create(true).append(true).open(log).map_err(failed)?;
        let mut command = command(&step);
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        command.env("NOTIFY_SOCKET", self.file("ready")).env_remove("DIRECTRIX_SOCKET");
        command.spawn().map_err(failed)
    }

    /// Ends keepalived in an orderly way.
    pub(super) fn stop_keepalived(&mut self, runner: &Runner<'_>) -> Result<(), Diagnostic> {
        end(self.keepalived.take(), runner)
    }

    /// Ends the director in an orderly way.
    pub(super) fn stop_director(&mut self, runner: &Runner<'_>) -> Result<(), Diagnostic> {
        end(self.director.take(), runner)
    }

    /// Kills everything; keepalived's parent is stopped first, as it would start another child.
    pub(super) fn kill(&mut self) {
        if let Some(parent) = &self.keepalived {
            let parent = parent.id();
            let _ = kill(Pid::from_raw(parent.cast_signed()), Signal::SIGSTOP); // it may have ended
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
            for child in children.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let _ = kill(Pid::from_raw(child), Signal::SIGKILL); // likewise
            }
        }
        for mut child in [self.director.take(), self.keepalived.take()].into_iter().flatten() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }

    /// The role; `None` while the director does not answer.
    pub(super) fn role(&self) -> Option<Role> {
        Some(self.client()?.role().ok()?.role)
    }

    /// Connection sync; `None` while the director does not answer.
    pub(super) fn sync(&self) -> Option<SyncStatus> {
        self.client()?.sync().ok()
    }

    fn client(&self) -> Option<Blocking> {
        Blocking::new(&self.socket()).ok()
    }

    fn socket(&self) -> PathBuf {
        self.file("control.sock")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn end(child: Option<Child>, runner: &Runner<'_>) -> Result<(), Diagnostic> {
    let Some(mut child) = child else { return Ok(()) };
    let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM); // it may have ended
    wait_end(&mut child, runner)
}

fn wait_end(child: &mut Child, runner: &Runner<'_>) -> Result<(), Diagnostic> {
    let ended = runner.interrupt.wait(PATIENCE, || Ok(child.try_wait().ok().flatten()))?;
    if ended.is_some() {
        return Ok(());
    }
    let _ = child.kill(); // it may have ended by now
    let _ = child.wait();
    Err(Diagnostic::system(format!("process {} does not end", child.id())))
}

fn configuration(options: &DrillOptions, files: &str) -> String {
    let backend = options.backend.name();
    let services: String = ["tcp", "udp"].map(|protocol| service(options, protocol)).concat();
    format!(
        "[director]\ninterface = \"eth0\"\nbackend = \"{backend}\"\nconnections = 65536\n\
         [ha]\nrole = \"fifo\"\nfifo = \"{files}/vrrp.fifo\"\n\
         [sync]\ninterface = \"eth0\"\nsyncid = 51\n{services}"
    )
}

fn service(options: &DrillOptions, protocol: &str) -> String {
    let address = SocketAddr::new(vip(options), PORT);
    let server = |rip: IpAddr| format!("[[service.server]]\naddress = \"{rip}\"\n");
    let servers = rips(options).map(server).concat();
    format!("[[service]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n{servers}")
}
