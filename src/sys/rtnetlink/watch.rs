//! Tells that interfaces or IPv4 addresses have changed, as rtnetlink does.
//!
//! What has changed is not read from the messages, which the kernel may lose when many come at once: whoever
//! is told looks at what there is now.

use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Multicast groups of linux/rtnetlink.h.
const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR) as u32;
/// A host that makes interfaces by the hundred is looked at so often at most.
const PAUSE: Duration = Duration::from_millis(50);

/// A subscription to changes of interfaces and addresses of one network namespace.
pub struct NetworkWatch {
    socket: TokioSocket,
    /// The next change is told of no earlier.
    rested: Instant,
}

impl NetworkWatch {
    /// Subscribes in the calling thread's network namespace. Changes from now on count.
    ///
    /// # Errors
    /// What socket(2), bind(2) or epoll(7) report.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn open() -> io::Result<Self> {
        let mut socket: TokioSocket = AsyncSocket::new(NETLINK_ROUTE)?;
        let all: &mut Socket = socket.socket_mut();
        all.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self { socket, rested: Instant::now() })
    }

    /// Waits until something has changed since the last call that ended. May be dropped and called again.
    pub async fn changed(&mut self) {
        tokio::time::sleep_until(self.rested).await;
        poll_fn(|context| self.poll_any(context)).await;
        self.rested = Instant::now() + PAUSE;
    }

    /// Reads all that is there. An error is a change as well: messages were lost (ENOBUFS).
    fn poll_any(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut any = Poll::Pending;
        while let Poll::Ready(received) = self.socket.poll_recv(context, &mut &mut [0_u8; 16][..]) {
            any = Poll::Ready(());
            if received.is_err() {
                break;
            }
        }
        any
    }
}

impl fmt::Debug for NetworkWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkWatch").finish_non_exhaustive()
    }
}
