//! The director under test: a process of the built binary.

use crate::deployment::Deployment;
use crate::peers::{ECHO, PATIENCE};
use crate::support::netns::{Netns, Process, wait_until};
use directrix::control::client::Blocking;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{Permissions, set_permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_directrix");
/// Timeout for a start: a VIP is claimed in about 1.2 s, a silent real server is given up within 3 s.
const START: Duration = Duration::from_secs(20);

/// The parts of a configuration in which tests differ.
#[derive(Clone)]
pub(crate) struct Config {
    /// Lines of `[director]`, without the interface.
    pub(crate) director: String,
    /// Sub-tables of `[director]`.
    pub(crate) tables: String,
    /// Of real1 and real2.
    pub(crate) weights: [u16; 2],
}

impl Config {
    pub(crate) fn new(backend: &str) -> Self {
        let director = format!("backend = \"{backend}\"\n");
        Self { director, tables: String::new(), weights: [1, 2] }
    }

    /// Adds a line to `[director]`.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.director += &format!("{line}\n");
        self
    }

    pub(crate) fn timeouts(mut self, tcp: u32, tcpfin: u32, udp: u32) -> Self {
        self.tables += &format!("[director.timeouts]\ntcp = {tcp}\ntcpfin = {tcpfin}\nudp = {udp}\n");
        self
    }

    pub(crate) fn text(&self, deployment: &Deployment) -> String {
        let mut text = format!("[director]\ninterface = \"eth0\"\n{}{}", self.director, self.tables);
        for vip in deployment.vips() {
            for (protocol, port) in [("tcp", 80), ("tcp", ECHO), ("udp", ECHO)] {
                text += &self.service(deployment, protocol, (*vip, port).into());
            }
        }
        text
    }

    /// A service with both real servers.
    pub(crate) fn service(&self, deployment: &Deployment, protocol: &str, address: SocketAddr) -> String {
        let servers = deployment
            .rips_of(address.ip())
            .into_iter()
            .zip(self.weights)
            .map(|(rip, weight)| format!("[[service.server]]\naddress = \"{rip}\"\nweight = {weight}\n"));
        let servers: String = servers.collect();
        format!("[[service]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n{servers}")
    }
}

/// A directory for the files of a director. It may outlive the director.
#[derive(Clone)]
pub(crate) struct Home(Arc<TempDir>);

impl Home {
    /// Creates a directory that every user may enter, as /run.
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

/// A started director, which may not be ready yet.
pub(crate) struct Director {
    home: Home,
    /// Names of the files of its log and its notifications: a process that takes over has others.
    generation: usize,
    process: Process,
    notifications: UnixDatagram,
}

impl Director {
    /// Starts a director, and waits until it is ready.
    pub(crate) fn start(deployment: &Deployment, config: &Config) -> Self {
        Self::start_in(Home::new(), &deployment.director, &config.text(deployment))
    }

    /// Likewise, in a given directory.
    pub(crate) fn start_in(home: Home, host: &Netns, config: &str) -> Self {
        let mut director = Self::spawn(home, host, config, "");
        director.wait_ready();
        director
    }

    /// Starts `directrix run` by `prefix`, a command such as setpriv.
    pub(crate) fn spawn(home: Home, host: &Netns, config: &str, prefix: &str) -> Self {
        std::fs::write(home.file("config.toml"), config).unwrap();
        Self::spawn_with(home, host, prefix, ("", 0))
    }

    /// Starts a process that takes over from this one.
    pub(crate) fn spawn_next(&self, host: &Netns) -> Self {
        Self::spawn_with(self.home(), host, "", ("--takeover", self.generation + 1))
    }

    /// Starts a process that takes over where none may run.
    pub(crate) fn spawn_takeover(home: Home, host: &Netns, config: &str) -> Self {
        std::fs::write(home.file("config.toml"), config).unwrap();
        Self::spawn_with(home, host, "", ("--takeover", 1))
    }

    /// True once it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.0.try_wait().unwrap().is_some()
    }

    /// Starts a process that takes over, and waits for the end of this one. Returns it, and the exit status of this one.
    #[track_caller]
    pub(crate) fn followed(mut self, host: &Netns) -> (Self, ExitStatus) {
        let mut next = self.spawn_next(host);
        next.wait_ready();
        let status = self.wait_end(PATIENCE);
        (next, status)
    }

    fn spawn_with(home: Home, host: &Netns, prefix: &str, (option, generation): (&str, usize)) -> Self {
        let path = home.file("config.toml");
        let log = std::fs::File::create(home.file(&format!("log{generation}"))).unwrap();
        let notify = home.file(&format!("notify{generation}"));
        let _ = std::fs::remove_file(&notify);
        let notifications = UnixDatagram::bind(&notify).unwrap();
        notifications.set_nonblocking(true).unwrap();
        set_permissions(&notify, Permissions::from_mode(0o666)).unwrap();
        let mut command =
            host.command(&format!("exec {prefix} {EXE} run {option} --config {}", path.display()));
        command.env("NOTIFY_SOCKET", notify).env("DIRECTRIX_SOCKET", home.socket());
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { process: Process(command.spawn().unwrap()), home, generation, notifications }
    }

    /// Starts a director that has to fail; returns its exit status and log.
    #[track_caller]
    pub(crate) fn refusal(host: &Netns, config: &str, prefix: &str) -> (Option<i32>, String) {
        Self::spawn(Home::new(), host, config, prefix).failure()
    }

    #[track_caller]
    pub(crate) fn failure(mut self) -> (Option<i32>, String) {
        let status = self.wait_end(START);
        (status.code(), self.log())
    }

    /// The next notification to the service manager.
    pub(crate) fn notification(&self) -> Option<String> {
        let mut state = [0; 64];
        let length = self.notifications.recv(&mut state).ok()?;
        Some(String::from_utf8_lossy(&state[..length]).into_owned())
    }

    pub(crate) fn wait_ready(&mut self) {
        wait_until("READY=1 from the director", START, || {
            let ended = self.process.0.try_wait().unwrap();
            assert!(ended.is_none(), "{}: {}", ended.unwrap(), self.log());
            let state = self.notification();
            let waits = state.as_ref().is_some_and(|state| state.starts_with("STATUS=waiting"));
            assert!(waits || state.as_ref().is_none_or(|state| state.starts_with("READY=1")), "{state:?}");
            state.is_some() && !waits
        });
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.file(&format!("log{}", self.generation))).unwrap()
    }

    /// Number of log lines that contain `part`.
    pub(crate) fn logged(&self, part: &str) -> usize {
        self.log().lines().filter(|line| line.contains(part)).count()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    pub(crate) fn home(&self) -> Home {
        self.home.clone()
    }

    /// Sends a signal, and does not wait.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// A client of its control socket.
    pub(crate) fn client(&self) -> Blocking {
        Blocking::new(&self.socket()).unwrap()
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.home.file("config.toml")
    }

    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// Sends a signal, and waits for the end. The directory stays.
    #[track_caller]
    pub(crate) fn end(mut self, signal: Signal) -> (ExitStatus, Home) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
        let status = self.wait_end(PATIENCE);
        let log = self.log();
        println!("{log}"); // printed if the test fails
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

    /// The output of `directrix WORDS` at this director's socket.
    pub(crate) fn cli(&self, words: &str) -> String {
        cli(&self.home.socket(), words)
    }

    /// Exit status and output of `directrix WORDS` at this director's socket.
    pub(crate) fn cli_status(&self, words: &str) -> (Option<i32>, String) {
        let mut command = Command::new(EXE);
        command.arg("--socket").arg(self.home.socket()).args(words.split_whitespace());
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    /// Likewise, for a command that changes the rules. Returns when every worker has adopted the change: a worker does
    /// so between two rounds, after the command's end.
    #[track_caller]
    pub(crate) fn change(&self, words: &str) -> String {
        let output = self.cli(words);
        self.wait_for_adoption();
        output
    }

    #[track_caller]
    fn wait_for_adoption(&self) {
        let rounds = || self.workers("sleeps").into_iter().zip(self.workers("batches")).map(|(a, b)| a + b);
        let before: Vec<_> = rounds().collect();
        wait_until("adoption", PATIENCE, || rounds().zip(&before).all(|(now, before)| now >= before + 2));
    }

    /// Posts changes to the control socket, and waits for their adoption; returns status and body of the answer.
    #[track_caller]
    pub(crate) fn post_changes(&self, json: &str) -> (u16, Value) {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "--json", json, "--unix-socket"]);
        command.arg(self.socket()).arg("http://localhost/v1/changes");
        let answer = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let (body, status) = answer.rsplit_once('\n').unwrap();
        self.wait_for_adoption();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Runs a command by `setpriv` with the options `user`; returns exit status, stdout and stderr.
    pub(crate) fn cli_as(&self, user: &str, words: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new("setpriv");
        command.args(user.split_whitespace()).arg(EXE).arg("--socket").arg(self.home.socket());
        let output = command.args(words.split_whitespace()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs `directrix WORDS` with `text` as stdin; returns exit status and stderr.
    pub(crate) fn cli_with_input(&self, words: &str, text: &str) -> (Option<i32>, String) {
        let mut command = Command::new(EXE);
        command.arg("--socket").arg(self.home.socket()).args(words.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Connections, packets in, packets out, bytes in and bytes out: of a service, then of its servers.
    pub(crate) fn stats(&self, service: &str) -> Vec<[u64; 5]> {
        let text = self.cli(&format!("ipvsadm -Ln {service} --stats --exact"));
        let numbers = |line: &str| {
            let words: Vec<_> = line.split_whitespace().rev().take(5).collect();
            <[u64; 5]>::try_from(words.iter().rev().map(|word| word.parse().unwrap()).collect::<Vec<_>>())
                .unwrap()
        };
        let is_row = |line: &&str| {
            let begins =
                ["TCP ", "UDP ", "SCTP ", "FWM ", "  -> "].iter().any(|start| line.starts_with(start));
            begins && !line.contains("RemoteAddress")
        };
        text.lines().filter(is_row).map(numbers).collect()
    }

    /// ActiveConn and InActConn of each server of a service.
    pub(crate) fn load(&self, service: &str) -> Vec<(usize, usize)> {
        let text = self.cli(&format!("ipvsadm -Ln {service}"));
        let numbers = |line: &str| {
            let mut words = line.split_whitespace().rev().map(|word| word.parse().unwrap());
            let (inactive, active) = (words.next().unwrap(), words.next().unwrap());
            (active, inactive)
        };
        text.lines().filter(|line| line.contains("Route")).map(numbers).collect()
    }

    /// Rows of `ipvsadm -Lnc` that contain `part`.
    pub(crate) fn connections(&self, part: &str) -> Vec<String> {
        let text = self.cli("ipvsadm -Lnc");
        text.lines().skip(2).filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    /// Number of frames dropped for `reason`.
    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        let drops: Value = serde_json::from_str(&self.cli("drops --json")).unwrap();
        let row = drops.as_array().unwrap().iter().find(|row| row["reason"] == reason).unwrap();
        row["frames"].as_u64().unwrap()
    }

    /// A sample of the metrics, by its name and labels as on the page.
    pub(crate) fn metric(&self, sample: &str) -> u64 {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "--max-time", "20", "http://localhost/metrics", "--unix-socket"]);
        let page = String::from_utf8(command.arg(self.socket()).output().unwrap().stdout).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{sample} is not in {page}")).parse().unwrap()
    }

    /// A field of each worker.
    pub(crate) fn workers(&self, field: &str) -> Vec<u64> {
        let workers: Value = serde_json::from_str(&self.cli("workers --json")).unwrap();
        workers.as_array().unwrap().iter().map(|worker| worker[field].as_u64().unwrap()).collect()
    }
}

impl Drop for Director {
    /// Prints the log if the test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}

fn cli(socket: &Path, words: &str) -> String {
    let mut command = Command::new(EXE);
    command.arg("--socket").arg(socket).args(words.split_whitespace()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{words}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
