//! A director process in a network namespace, and a peer.

use super::netns::{Netns, Process, veth, wait_until};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

pub const EXE: &str = env!("CARGO_BIN_EXE_directrix");
/// Timeout for expected events.
pub const SOON: Duration = Duration::from_secs(20);

/// Director and peer, each with an `eth0`: 10.0.0.1/24 and 10.0.0.2/24.
pub struct Site {
    pub director: Netns,
    pub peer: Netns,
    pub place: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        let site = Self {
            director: Netns::new("d"),
            peer: Netns::new("p"),
            place: tempfile::tempdir().expect("/tmp is there"),
        };
        veth((&site.director, "eth0"), (&site.peer, "eth0"), 1);
        site.director.run("ip address add 10.0.0.1/24 dev eth0");
        site.peer.run("ip address add 10.0.0.2/24 dev eth0");
        site
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.file("control.sock")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Starts a director with `interface = "eth0"` and `config`.
    pub fn start(&self, config: &str, options: &str) -> Process {
        let file = self.file("director.toml");
        fs::write(&file, format!("[director]\ninterface = \"eth0\"\n{config}"))
            .expect("the place is writable");
        let (socket, file) = (self.socket().display().to_string(), file.display().to_string());
        let run = format!("exec {EXE} --socket {socket} run --config {file} {options}");
        let log = File::create(self.file("log")).expect("the place is writable");
        let mut command = self.director.command(&run);
        let child = command.env_remove("RUST_LOG").stdout(Stdio::null()).stderr(log).spawn();
        Process(child.expect("ip is installed"))
    }

    pub fn start_and_wait(&self, config: &str, options: &str) -> Process {
        let process = self.start(config, options);
        wait_until("ready", SOON, || {
            let log = self.log();
            log.contains("ready services=") || log.contains("\"ready\"")
        });
        process
    }
}

/// Waits for the end of the director; returns its exit status.
pub fn end(process: &mut Process) -> Option<i32> {
    let mut status = None;
    wait_until("the end of the director", SOON, || {
        status = process.0.try_wait().expect("it is a child of this process");
        status.is_some()
    });
    status?.code()
}
