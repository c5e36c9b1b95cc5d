//! Services of the real servers, and their clients.

use crate::deployment::{Deployment, VIP};
use crate::support::netns::{Netns, Process, wait_until};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Timeout for what should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const ECHO: u16 = 7;
/// Of equal length: ab counts responses of different lengths as failures.
pub(crate) const NAMES: [&str; 2] = ["real1", "real2"];

/// The processes on the real servers.
pub(crate) struct Peers {
    pub(crate) nginx: [Nginx; 2],
    _echo: [Echo; 2],
}

impl Peers {
    pub(crate) fn start(deployment: &Deployment) -> Self {
        let host = |index: usize| (&deployment.real[index], NAMES[index]);
        Self {
            nginx: [0, 1].map(|i| Nginx::start(host(i))),
            _echo: [0, 1].map(|i| Echo::start(host(i), deployment.vips())),
        }
    }
}

/// A web server that responds with its name to any path, and stores what is PUT under /files/.
/// /slow/ has the same files at 100 KiB/s.
pub(crate) struct Nginx {
    process: Process,
    directory: TempDir,
}

impl Nginx {
    fn start((host, name): (&Netns, &str)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display().to_string();
        std::fs::create_dir_all(directory.path().join("www/files")).unwrap();
        std::fs::write(directory.path().join("nginx.conf"), configuration(&place, name)).unwrap();
        let process = Self::launch(host, &directory);
        Self { process, directory }
    }

    fn launch(host: &Netns, directory: &TempDir) -> Process {
        let place = directory.path().display();
        let command = format!("exec nginx -p {place} -c {place}/nginx.conf -e {place}/errors");
        let process = Process(host.command(&command).stdin(Stdio::null()).spawn().unwrap());
        wait_until("nginx listens", PATIENCE, || {
            host.enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, 80))).is_ok()
        });
        process
    }

    /// Ends the server: its port is closed from then on.
    pub(crate) fn stop(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Starts a server that was stopped.
    pub(crate) fn restart(&mut self, host: &Netns) {
        self.process = Self::launch(host, &self.directory);
    }

    /// The directory of /files/.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("www/files")
    }
}

/// Configuration of nginx with one process, which ends as a whole, and with all its files in `place`.
fn configuration(place: &str, name: &str) -> String {
    let uses = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = uses.iter().map(|of| format!("{of}_temp_path {place}/{of};\n")).collect();
    format!(
        "daemon off; master_process off; pid {place}/pid;
         events {{ worker_connections 2048; }}
         http {{
             access_log off; client_max_body_size 0; keepalive_requests 1000000;
             {temporary}
             server {{
                 listen 80 backlog=4096; listen [::]:80 backlog=4096; root {place}/www;
                 location / {{ return 200 \"{name}\\n\"; }}
                 location /files/ {{ dav_methods PUT; }}
                 location /slow/ {{ alias {place}/www/files/; limit_rate 100k; }}
             }}
         }}"
    )
}

/// Echo service for TCP and UDP on port 7 of each VIP. Its name is the first line of a TCP connection, and precedes the
/// payload of each UDP reply.
struct Echo {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start((host, name): (&Netns, &'static str), vips: &'static [IpAddr]) -> Self {
        let bind =
            |vip: &IpAddr| (TcpListener::bind((*vip, ECHO)).unwrap(), UdpSocket::bind((*vip, ECHO)).unwrap());
        let sockets: Vec<_> = host.enter(|| vips.iter().map(bind).collect());
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (tcp, udp) in sockets {
                    tokio::spawn(echo_streams(tcp, name));
                    tokio::spawn(echo_datagrams(udp, name));
                }
                let _ = stopped.await; // an error: the sender was dropped
            });
        };
        Self { stop: Some(stop), thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn echo_streams(listener: TcpListener, name: &'static str) {
    use tokio::io::AsyncWriteExt;
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            stream.write_all(format!("{name}\n").as_bytes()).await?;
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await
        });
    }
}

async fn echo_datagrams(socket: UdpSocket, name: &'static str) {
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    let mut buffer = vec![0; 65_536];
    while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
        let reply = [name.as_bytes(), &buffer[..len]].concat();
        let _ = socket.send_to(&reply, client).await; // may be lost, as any datagram
    }
}

/// A TCP connection to the echo service.
pub(crate) struct EchoConnection {
    stream: BufReader<TcpStream>,
    pub(crate) server: String,
}

impl EchoConnection {
    pub(crate) fn open(client: &Netns) -> Self {
        Self::open_to(client, VIP.into())
    }

    pub(crate) fn open_to(client: &Netns, vip: IpAddr) -> Self {
        Self::over(client.enter(|| TcpStream::connect_timeout(&(vip, ECHO).into(), PATIENCE)).unwrap())
    }

    /// Opens it from one of the client's addresses.
    pub(crate) fn open_from(client: &Netns, address: Ipv4Addr) -> Self {
        let dial = || {
            let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, 0)))?;
            nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(VIP, ECHO)))?;
            nix::Result::Ok(socket)
        };
        Self::over(client.enter(dial).unwrap().into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Self { stream: BufReader::new(stream), server: String::new() };
        connection.server = connection.receive();
        connection
    }

    /// Sends a line; panics unless the echo returns.
    pub(crate) fn exchange(&mut self, text: &str) {
        self.send(text);
        assert_eq!(self.receive(), text, "from {}", self.server);
    }

    pub(crate) fn send(&mut self, text: &str) {
        writeln!(self.stream.get_mut(), "{text}").unwrap();
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub(crate) fn receive(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

/// A flow of datagrams to the echo service.
pub(crate) struct Flow(UdpSocket);

impl Flow {
    pub(crate) fn new(client: &Netns) -> Self {
        Self::to(client, VIP.into())
    }

    pub(crate) fn to(client: &Netns, vip: IpAddr) -> Self {
        let any: IpAddr =
            if vip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = client.enter(|| UdpSocket::bind((any, 0))).unwrap();
        socket.connect((vip, ECHO)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub(crate) fn send(&self, text: &str) {
        self.0.send(text.as_bytes()).unwrap();
    }

    /// Sends a datagram; returns the name of the server that echoes it.
    pub(crate) fn exchange(&self, text: &str) -> String {
        self.send(text);
        let mut buffer = vec![0; 65_536];
        let len = self.0.recv(&mut buffer).unwrap();
        let reply = str::from_utf8(&buffer[..len]).unwrap();
        reply.strip_suffix(text).expect("the same text").to_owned()
    }
}

pub(crate) fn vip(port: u16) -> SocketAddr {
    (VIP, port).into()
}

/// Makes `times` HTTP connections, one after the other; returns the number of each real server.
pub(crate) fn connect(client: &Netns, times: usize) -> [usize; 2] {
    let text = client
        .run(&format!("curl -sS --fail --max-time 20 -H 'Connection: close' 'http://{VIP}/[1-{times}]'"));
    let answers = NAMES.map(|name| text.lines().filter(|line| *line == name).count());
    assert_eq!(answers[0] + answers[1], times, "{text}");
    answers
}
