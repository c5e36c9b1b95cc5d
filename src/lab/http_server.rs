//! Minimal web server: answers every request with its name and closes.

use super::page::page;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Limit of concurrent connections, below the usual 1024 file descriptors. More wait in the backlog.
const CONNECTIONS_MAX: usize = 500;
/// Maximum length of a request head, in bytes.
const HEAD_MAX: usize = 8 << 10;
/// Time limit of one connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Serves as `name` on `addresses` until the process ends. Notifies readiness by sd_notify(3).
///
/// # Errors
/// If an address cannot be listened on.
pub fn run(name: &str, addresses: &[SocketAddr]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let answer: Arc<str> = answer(name).into();
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut listeners = tokio::task::JoinSet::new();
        for address in addresses {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })?;
            listeners.spawn(accept(listener, Arc::clone(&answer), Arc::clone(&permits)));
        }
        sd_notify::notify(&[sd_notify::NotifyState::Ready])?;
        listeners.join_all().await;
        Ok(())
    })
}

fn answer(name: &str) -> String {
    let body = page(name);
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

async fn accept(listener: TcpListener, answer: Arc<str>, permits: Arc<Semaphore>) {
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Probably out of file descriptors; retried after a pause.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            // An aborted connection is not an error of the server.
            let _ = timeout(TIMEOUT, serve(stream, &answer)).await;
            drop(permit);
        });
    }
}

async fn serve(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    if !has_request(&mut stream).await? {
        return Ok(());
    }
    stream.write_all(answer.as_bytes()).await?;
    // Closing first keeps TIME_WAIT on the server, so that the client does not run out of ports.
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Reads the request head; `false` if the client closes first or the head is too long.
async fn has_request(stream: &mut TcpStream) -> io::Result<bool> {
    let mut head = Vec::with_capacity(1024);
    while head.len() < HEAD_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(false);
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(true);
        }
    }
    Ok(false)
}
