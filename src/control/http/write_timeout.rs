//! A stream with a timeout for writes without progress.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose writes fail with `TimedOut` after a time without progress.
///
/// A slow reader may take as long as it needs for a long list; one that stopped reading loses its place.
#[derive(Debug)]
pub(in crate::control) struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// Timer of a pending write.
    pending: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    pub(in crate::control) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, pending: None }
    }

    fn check(&mut self, result: Poll<io::Result<usize>>, task: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.pending = None;
            return result;
        }
        let limit = self.limit;
        let timer = self.pending.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(task).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.check(result, task)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_millis(100);

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { timeout(Duration::from_secs(10), test).await.unwrap() });
    }

    #[test]
    fn a_reader_that_stopped_ends_the_write() {
        run(async {
            let (ours, _theirs) = duplex(64);
            let failure = WriteTimeout::new(ours, LIMIT).write_all(&[0; 65]).await.unwrap_err();
            assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_slow_reader_may_take_longer_in_all_than_the_limit() {
        run(async {
            let (ours, mut theirs) = duplex(16);
            let reader = async {
                let mut buffer = [0; 16];
                for _ in 0..8 {
                    sleep(LIMIT / 3).await;
                    theirs.read_exact(&mut buffer).await.unwrap();
                }
            };
            let mut writer = WriteTimeout::new(ours, LIMIT);
            let (written, ()) = tokio::join!(writer.write_all(&[0; 8 * 16]), reader);
            written.unwrap();
        });
    }
}
