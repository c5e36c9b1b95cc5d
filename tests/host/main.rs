//! A director and its host: a network that is not yet configured, carrier, routing table, addresses. Needs root.

#[path = "../support/mod.rs"]
mod support;

mod boot;
mod check;
mod hints;
mod links;
mod onlink;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use support::netns::{Process, wait_until};
use support::site::{EXE, SOON, Site, end};

/// Service 10.0.0.100:80 with the peer as its real server.
const CONFIG: &str = "backend = \"packet\"\nconnections = 1024\n\
     [[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.100:80\"\n\
     [[service.server]]\naddress = \"10.0.0.2\"\n";

fn signal(process: &Process, signal: Signal) {
    kill(Pid::from_raw(process.0.id().cast_signed()), signal).expect("it is a child of this process");
}

impl Site {
    fn wait_for(&self, part: &str) {
        wait_until(part, SOON, || self.log().contains(part));
    }

    /// Starts a director that has to end by itself; returns its exit status and log.
    fn refused(&self, config: &str) -> (Option<i32>, String) {
        let mut director = self.start(config, "");
        (end(&mut director), self.log())
    }

    fn is_ready(&self) -> bool {
        self.log().contains("ready services=")
    }

    /// Exit status and output of `directrix WORDS` at this director's socket.
    fn run(&self, words: &str) -> (Option<i32>, String) {
        let mut command = Command::new(EXE);
        command.arg("--socket").arg(self.socket()).args(words.split_whitespace()).stdin(Stdio::null());
        let output = command.output().expect("it is built");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("it prints text"))
    }

    fn metrics(&self) -> String {
        let socket = self.socket().display().to_string();
        let response = Command::new("curl")
            .args(["-s", "--unix-socket", &socket, "http://localhost/metrics"])
            .output()
            .expect("curl is installed");
        String::from_utf8(response.stdout).expect("it is text")
    }
}

/// Receiver of notifications to the service manager (NOTIFY_SOCKET).
struct Manager(UnixDatagram);

impl Manager {
    fn wait_for(&self, part: &str) -> String {
        let (mut all, mut buffer) = (String::new(), [0; 512]);
        wait_until(part, SOON, || {
            while let Ok(length) = self.0.recv(&mut buffer) {
                all += &String::from_utf8_lossy(&buffer[..length]);
            }
            all.contains(part)
        });
        all
    }
}

/// A director that notifies a [`Manager`], started after `command`.
fn supervised(config: &str, command: &str) -> (Site, Manager, Process) {
    let site = Site::new();
    let manager = UnixDatagram::bind(site.file("notify")).unwrap();
    manager.set_nonblocking(true).unwrap();
    site.director.run(command);
    let file = site.file("director.toml").display().to_string();
    fs::write(&file, format!("[director]\ninterface = \"eth0\"\n{config}")).unwrap();
    let run = format!("exec {EXE} --socket {} run --config {file}", site.socket().display());
    let log = fs::File::create(site.file("log")).unwrap();
    let mut command = site.director.command(&run);
    command.env_remove("RUST_LOG").env("NOTIFY_SOCKET", site.file("notify")).stderr(log);
    (site, Manager(manager), Process(command.spawn().unwrap()))
}
