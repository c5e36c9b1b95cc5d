//! A director in a namespace, with a neighbor that is client and real servers in one.

use crate::exposition::Exposition;
use crate::support::netns::{Netns, Process, veth, wait_until};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

const EXE: &str = env!("CARGO_BIN_EXE_directrix");
const SOON: Duration = Duration::from_secs(20);

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub(crate) const SERVICES: &str = r#"
[[service]]
protocol = "tcp"
address = "10.0.0.100:80"
[[service.server]]
address = "10.0.0.2"
[[service]]
protocol = "udp"
address = "10.0.0.100:53"
[[service.server]]
address = "10.0.0.2"
[[service.server]]
address = "10.0.0.3"
weight = 2
"#;

pub(crate) struct Site {
    pub(crate) director: Netns,
    pub(crate) peer: Netns,
    pub(crate) place: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            director: Netns::new("d"),
            peer: Netns::new("p"),
            place: tempfile::tempdir().expect("/tmp is there"),
        };
        veth((&site.director, "eth0"), (&site.peer, "eth0"), 1);
        site.director.run("ip address add 10.0.0.1/24 dev eth0");
        site.peer.run("ip address add 10.0.0.2/24 dev eth0 && ip address add 10.0.0.3/24 dev eth0");
        site
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Starts a director that serves [`SERVICES`], with `keys` in its `[director]` table.
    pub(crate) fn start(&self, keys: &str, options: &str) -> Process {
        let config = self.file("director.toml");
        let text = format!("[director]\ninterface = \"eth0\"\nconnections = 4096\n{keys}\n{SERVICES}");
        fs::write(&config, text).expect("the place is writable");
        let (socket, config) = (self.file("control.sock"), config.display().to_string());
        let run = format!("exec {EXE} --socket {} run --config {config} {options}", socket.display());
        let log = File::create(self.file("log")).expect("the place is writable");
        let child =
            self.director.command(&run).env_remove("RUST_LOG").stdout(Stdio::null()).stderr(log).spawn();
        Process(child.expect("ip is installed"))
    }

    pub(crate) fn start_and_wait(&self, keys: &str, options: &str) -> Process {
        let process = self.start(keys, options);
        wait_until("ready", SOON, || self.log().contains("ready"));
        process
    }

    /// The page, from the metrics listener on port 9310.
    pub(crate) fn page(&self) -> String {
        self.director.run("curl -sS --fail --max-time 20 http://127.0.0.1:9310/metrics")
    }

    pub(crate) fn metrics(&self) -> Exposition {
        Exposition::read(&self.page())
    }

    /// The page, from the control socket.
    pub(crate) fn page_of_socket(&self) -> String {
        let socket = self.file("control.sock").display().to_string();
        self.director.run(&format!("curl -sS --fail --unix-socket {socket} http://localhost/metrics"))
    }

    /// New connections: so many flows of a datagram, and one handshake that nobody answers.
    pub(crate) fn send(&self, flows: usize) {
        self.peer.enter(|| {
            for _ in 0..flows {
                let socket = UdpSocket::bind(("10.0.0.2", 0)).unwrap();
                socket.send_to(b"anybody?", (VIP, 53)).unwrap();
            }
            let web = SocketAddr::from((VIP, 80));
            TcpStream::connect_timeout(&web, Duration::from_millis(50)).expect_err("no server has the VIP");
        });
    }
}

/// The exit status, once there is one.
pub(crate) fn end(process: &mut Process) -> Option<i32> {
    let mut status = None;
    wait_until("the end of the director", SOON, || {
        status = process.0.try_wait().expect("it is our child");
        status.is_some()
    });
    status?.code()
}
