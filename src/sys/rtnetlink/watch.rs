//! Notification of changes to interfaces and addresses, by rtnetlink multicast.
//!
//! The messages are not parsed, as the kernel may lose some in a burst. The receiver reads the current state
//! instead.

use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Multicast groups of linux/rtnetlink.h.
const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;
/// Least time between two notifications, for hosts that create interfaces by the hundred.
const PAUSE: Duration = Duration::from_millis(50);

/// A subscription to changes of interfaces and addresses of one network namespace.
pub struct NetworkWatch {
    socket: TokioSocket,
    /// Earliest time of the next notification.
    rested: Instant,
}

impl NetworkWatch {
    /// Subscribes in the calling thread's network namespace. Changes from now on count.
    ///
    /// # Errors
    /// Errors of socket(2), bind(2) or epoll(7).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn open() -> io::Result<Self> {
        let mut socket: TokioSocket = AsyncSocket::new(NETLINK_ROUTE)?;
        let all: &mut Socket = socket.socket_mut();
        all.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self { socket, rested: Instant::now() })
    }

    /// Waits for a change since the last completed call. Cancel-safe.
    pub async fn changed(&mut self) {
        tokio::time::sleep_until(self.rested).await;
        poll_fn(|context| self.poll_any(context)).await;
        self.rested = Instant::now() + PAUSE;
    }

    /// Drains the socket. An error counts as a change: messages were lost (ENOBUFS).
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
