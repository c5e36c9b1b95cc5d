//! Services of the real server.

use crate::harness::{PORT, address};
use crate::support::netns::Netns;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// HTTP, and answers to datagrams, on these addresses. Each answer has the address that was asked.
pub(crate) struct Services {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Services {
    pub(crate) fn start(host: &Netns, addresses: &[&str]) -> Self {
        let bind = |text: &&str| {
            let address = address(text);
            (address, TcpListener::bind((address, PORT)).unwrap(), UdpSocket::bind((address, PORT)).unwrap())
        };
        let sockets: Vec<_> = host.enter(|| addresses.iter().map(bind).collect());
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (address, tcp, udp) in sockets {
                    tokio::spawn(answer_http(tcp));
                    tokio::spawn(answer_datagrams(udp, address));
                }
                let _ = stopped.await; // an error: the sender was dropped
            });
        };
        Self { stop: Some(stop), thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn answer_http(listener: TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await? > 0 {}
            let body = stream.local_addr()?.ip().to_string();
            let padding = " ".repeat(length_of(&request));
            stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}{padding}\n").as_bytes()).await?;
            stream.shutdown().await
        });
    }
}

/// Spaces behind the body: as many bytes as the request asks for by its path, `/BYTES`.
fn length_of(request: &[u8]) -> usize {
    let request = String::from_utf8_lossy(request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    path.trim_start_matches('/').parse().unwrap_or(0)
}

async fn answer_datagrams(socket: UdpSocket, address: IpAddr) {
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    let mut buffer = vec![0; 65_536];
    while let Ok((_, client)) = socket.recv_from(&mut buffer).await {
        let _ = socket.send_to(address.to_string().as_bytes(), client).await; // may be lost, as any datagram
    }
}
