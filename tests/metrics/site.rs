//! A director with metrics, and a neighbor that is client and real servers in one.

use crate::exposition::Exposition;
use crate::support::site::Site;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

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

/// The peer is both real servers.
pub(crate) fn site() -> Site {
    let site = Site::new();
    site.peer.run("ip address add 10.0.0.3/24 dev eth0 && ip address add 10.0.0.9/24 dev eth0");
    // A real server is no client of its own service.
    site.peer.run("ip route change 10.0.0.0/24 dev eth0 src 10.0.0.9");
    site
}

/// A configuration that serves [`SERVICES`], with `keys` in its `[director]` table.
pub(crate) fn config(keys: &str) -> String {
    format!("connections = 4096\n{keys}\n{SERVICES}")
}

impl Site {
    /// The page, from the metrics listener on port 9310.
    pub(crate) fn page(&self) -> String {
        self.director.run("curl -sS --fail --max-time 20 http://127.0.0.1:9310/metrics")
    }

    pub(crate) fn metrics(&self) -> Exposition {
        Exposition::read(&self.page())
    }

    /// The page, from the control socket.
    pub(crate) fn page_of_socket(&self) -> String {
        let socket = self.socket().display().to_string();
        self.director.run(&format!("curl -sS --fail --unix-socket {socket} http://localhost/metrics"))
    }

    /// New connections: so many flows of a datagram, and one handshake without an answer.
    pub(crate) fn send(&self, flows: usize) {
        self.peer.enter(|| {
            // All at once: a port that is free again could come twice.
            let sockets: Vec<_> = (0..flows).map(|_| UdpSocket::bind(("10.0.0.9", 0)).unwrap()).collect();
            for socket in sockets {
                socket.send_to(b"anybody?", (VIP, 53)).unwrap();
            }
            let web = SocketAddr::from((VIP, 80));
            TcpStream::connect_timeout(&web, Duration::from_millis(50)).expect_err("no server has the VIP");
        });
    }
}
