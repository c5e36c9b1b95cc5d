//! The director under test: the built binary, in a process of its own.

use crate::deployment::{Deployment, VIP};
use crate::peers::{ECHO, PATIENCE};
use crate::support::netns::{Netns, Process, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{Permissions, set_permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_directrix");
/// Claiming takes a second or two; a silent real server is given up after some more.
const START: Duration = Duration::from_secs(20);

/// A configuration, as the parts in which tests differ.
#[derive(Clone)]
pub(crate) struct Config {
    /// Lines of `[director]` besides the interface.
    pub(crate) director: String,
    /// Lines below `[director]`, such as those of its sub-tables.
    pub(crate) tables: String,
    /// Of real1 and real2.
    pub(crate) weights: [u16; 2],
}

impl Config {
    pub(crate) fn new(backend: &str) -> Self {
        let director = format!("backend = \"{backend}\"\n");
        Self { director, tables: String::new(), weights: [1, 2] }
    }

    /// With one more line in `[director]`.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.director += &format!("{line}\n");
        self
    }

    pub(crate) fn timeouts(mut self, tcp: u32, tcpfin: u32, udp: u32) -> Self {
        self.tables += &format!("[director.timeouts]\ntcp = {tcp}\ntcpfin = {tcpfin}\nudp = {udp}\n");
        self
    }

    pub(crate) fn text(&self, deployment: &Deployment) -> String {
        let services = [("tcp", 80), ("tcp", ECHO), ("udp", ECHO)];
        let services: String = services.iter().map(|service| self.service(deployment, *service)).collect();
        format!("[director]\ninterface = \"eth0\"\n{}{}{services}", self.director, self.tables)
    }

    fn service(&self, deployment: &Deployment, (protocol, port): (&str, u16)) -> String {
        let servers = deployment
            .rips
            .iter()
            .zip(self.weights)
            .map(|(rip, weight)| format!("[[service.server]]\naddress = \"{rip}\"\nweight = {weight}\n"));
        let servers: String = servers.collect();
        format!("[[service]]\nprotocol = \"{protocol}\"\naddress = \"{VIP}:{port}\"\n{servers}")
    }
}

/// A directory for everything that a director needs. It may outlive the director.
#[derive(Clone)]
pub(crate) struct Home(Arc<TempDir>);

impl Home {
    /// Open to every user, as /run is.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Self(Arc::new(directory))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.file("run/control.sock")
    }
}

/// A started director, ready or not.
pub(crate) struct Director {
    home: Home,
    process: Process,
    notifications: UnixDatagram,
}

impl Director {
    /// A director that is ready.
    pub(crate) fn start(deployment: &Deployment, config: &Config) -> Self {
        Self::start_in(Home::new(), &deployment.director, &config.text(deployment))
    }

    /// The same in a directory that another has been in.
    pub(crate) fn start_in(home: Home, host: &Netns, config: &str) -> Self {
        let mut director = Self::spawn(home, host, config, "");
        director.wait_ready();
        director
    }

    /// Runs `directrix run` behind `prefix`, a command that executes what follows.
    pub(crate) fn spawn(home: Home, host: &Netns, config: &str, prefix: &str) -> Self {
        let (path, log) = (home.file("config.toml"), std::fs::File::create(home.file("log")).unwrap());
        std::fs::write(&path, config).unwrap();
        let _ = std::fs::remove_file(home.file("notify"));
        let notifications = UnixDatagram::bind(home.file("notify")).unwrap();
        notifications.set_nonblocking(true).unwrap();
        set_permissions(home.file("notify"), Permissions::from_mode(0o666)).unwrap();
        let mut command = host.command(&format!("exec {prefix} {EXE} run --config {}", path.display()));
        command.env("NOTIFY_SOCKET", home.file("notify")).env("DIRECTRIX_SOCKET", home.socket());
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { process: Process(command.spawn().unwrap()), home, notifications }
    }

    /// Runs one that has to fail; its exit status, and what it has said.
    #[track_caller]
    pub(crate) fn refusal(host: &Netns, config: &str, prefix: &str) -> (Option<i32>, String) {
        Self::spawn(Home::new(), host, config, prefix).failure()
    }

    #[track_caller]
    pub(crate) fn failure(mut self) -> (Option<i32>, String) {
        let status = self.wait_end(START);
        (status.code(), self.log())
    }

    /// Notifications to the service manager, one message at a time.
    pub(crate) fn notification(&self) -> Option<String> {
        let mut state = [0; 64];
        let length = self.notifications.recv(&mut state).ok()?;
        Some(String::from_utf8_lossy(&state[..length]).into_owned())
    }

    pub(crate) fn wait_ready(&mut self) {
        wait_until("READY=1 from the director", START, || {
            let ended = self.process.0.try_wait().unwrap();
            assert!(ended.is_none(), "{}: {}", ended.unwrap(), self.log());
            let told = self.notification();
            let waits = told.as_ref().is_some_and(|told| told.starts_with("STATUS=waiting"));
            assert!(waits || told.as_ref().is_none_or(|told| told.starts_with("READY=1")), "{told:?}");
            told.is_some() && !waits
        });
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.file("log")).unwrap()
    }

    /// Lines of the log that contain `part`.
    pub(crate) fn logged(&self, part: &str) -> usize {
        self.log().lines().filter(|line| line.contains(part)).count()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.home.file("config.toml")
    }

    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// Sends a signal and waits for the end; the directory stays for the next.
    #[track_caller]
    pub(crate) fn end(mut self, signal: Signal) -> (ExitStatus, Home) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
        let status = self.wait_end(PATIENCE);
        let log = self.log();
        println!("{log}"); // shown if the test fails
        (status, self.home.clone())
    }

    #[track_caller]
    fn wait_end(&mut self, timeout: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("the end of the director", timeout, || {
            status = self.process.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// The output of `directrix WORDS` about this director.
    pub(crate) fn ask(&self, words: &str) -> String {
        ask(&self.home.socket(), words)
    }

    /// The same by `setpriv` with the arguments in `user`: exit status, stdout, stderr.
    pub(crate) fn ask_as(&self, user: &str, words: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new("setpriv");
        command.args(user.split_whitespace()).arg(EXE).arg("--socket").arg(self.home.socket());
        let output = command.args(words.split_whitespace()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs `directrix WORDS` with `text` as its input; its exit status, and what it complains of.
    pub(crate) fn fed(&self, words: &str, text: &str) -> (Option<i32>, String) {
        let mut command = Command::new(EXE);
        command.arg("--socket").arg(self.home.socket()).args(words.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Connections, packets in and out, bytes in and out: of a service, then of its servers.
    pub(crate) fn stats(&self, service: &str) -> Vec<[u64; 5]> {
        let text = self.ask(&format!("ipvsadm -Ln {service} --stats --exact"));
        let numbers = |line: &str| {
            let words: Vec<_> = line.split_whitespace().rev().take(5).collect();
            <[u64; 5]>::try_from(words.iter().rev().map(|word| word.parse().unwrap()).collect::<Vec<_>>())
                .unwrap()
        };
        let of_service = |line: &&str| line.contains(&VIP.to_string()) || line.starts_with("  -> ");
        text.lines().filter(|line| !line.contains("RemoteAddress")).filter(of_service).map(numbers).collect()
    }

    /// ActiveConn and InActConn of each server of a service.
    pub(crate) fn load(&self, service: &str) -> Vec<(usize, usize)> {
        let text = self.ask(&format!("ipvsadm -Ln {service}"));
        let numbers = |line: &str| {
            let mut words = line.split_whitespace().rev().map(|word| word.parse().unwrap());
            let (inactive, active) = (words.next().unwrap(), words.next().unwrap());
            (active, inactive)
        };
        text.lines().filter(|line| line.contains("Route")).map(numbers).collect()
    }

    /// Rows of `ipvsadm -Lnc` that contain `part`.
    pub(crate) fn connections(&self, part: &str) -> Vec<String> {
        let text = self.ask("ipvsadm -Lnc");
        text.lines().skip(2).filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    /// Frames that were dropped for this reason.
    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        let drops: Value = serde_json::from_str(&self.ask("drops --json")).unwrap();
        let row = drops.as_array().unwrap().iter().find(|row| row["reason"] == reason).unwrap();
        row["frames"].as_u64().unwrap()
    }

    /// A number of each worker.
    pub(crate) fn workers(&self, field: &str) -> Vec<u64> {
        let workers: Value = serde_json::from_str(&self.ask("workers --json")).unwrap();
        workers.as_array().unwrap().iter().map(|worker| worker[field].as_u64().unwrap()).collect()
    }
}

impl Drop for Director {
    /// State that a failing test shows.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}

fn ask(socket: &Path, words: &str) -> String {
    let mut command = Command::new(EXE);
    command.arg("--socket").arg(socket).args(words.split_whitespace()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{words}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}
