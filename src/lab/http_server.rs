//! A web server that answers every request with its name and closes: no more than the lab needs.

use super::page::page;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections served at once; more wait in the kernel's queue. Below the usual 1024 descriptors.
const CONNECTIONS_MAX: usize = 500;
/// Longest request head, in bytes.
const HEAD_MAX: usize = 8 << 10;
/// A client that is silent for longer is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves as `name` on all of `addresses`, until the process ends. Says when it is ready.
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
            // Out of descriptors, most likely: some will be back soon.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            // A client that breaks off is its own affair.
            let _ = timeout(PATIENCE, serve(stream, &answer)).await;
            drop(permit);
        });
    }
}

async fn serve(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    if !has_request(&mut stream).await? {
        return Ok(());
    }
    stream.write_all(answer.as_bytes()).await?;
    // Closing first leaves TIME_WAIT here, so that the client never runs out of ports.
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Reads the whole request head; `false` if the client leaves first or it grows too long.
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
