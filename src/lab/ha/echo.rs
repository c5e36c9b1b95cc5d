//! Echo server of the drill: TCP and UDP.

use std::io;
use std::net::SocketAddr;
use tokio::io::copy;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// Longest datagram in bytes.
const DATAGRAM_MAX: usize = 2048;

/// Serves these addresses over TCP and UDP until the process ends. Notifies readiness by sd_notify(3).
///
/// # Errors
/// If an address cannot be bound.
pub fn run(addresses: &[SocketAddr]) -> io::Result<()> {
    super::holder::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut servers = JoinSet::new();
        for address in addresses {
            servers.spawn(streams(TcpListener::bind(address).await?));
            servers.spawn(datagrams(UdpSocket::bind(address).await?));
        }
        sd_notify::notify(&[sd_notify::NotifyState::Ready])?;
        servers.join_all().await;
        Ok(())
    })
}

async fn streams(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            let _ = copy(&mut read, &mut write).await; // an aborted connection is no error of the server
        });
    }
}

async fn datagrams(socket: UdpSocket) {
    let mut bytes = [0; DATAGRAM_MAX];
    loop {
        if let Ok((length, client)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(&bytes[..length], client).await; // a client that has ended
        }
    }
}
