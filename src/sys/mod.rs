//! Thin system calls: rtnetlink, ethtool, packet sockets, TUN devices, peer credentials, memory, poll, sleep, bpf(2), signals.
//!
//! Each file wraps one kernel interface in safe functions and decides nothing. Errors are plain
//! [`std::io::Error`]s; the callers add cause and remedy. All calls act in the calling thread's network namespace.

pub(crate) mod apart;
pub mod boot;
mod errno;
pub(crate) mod ethtool;
#[cfg(test)]
pub(crate) mod freed;
pub mod live_frames;
pub(crate) mod memory;
pub(crate) mod netdev;
pub(crate) mod nftables;
pub(crate) mod packet_socket;
pub mod passing;
pub mod peer;
pub(crate) mod poll;
pub mod process;
pub mod rtnetlink;
pub mod shared_words;
pub(crate) mod signals;
pub mod sleeper;
pub(crate) mod socket;
pub(crate) mod trial;
pub(crate) mod tun;
mod uapi;
pub(crate) mod xsk;

pub(crate) use errno::errno;
pub use peer::PeerCredentials;
pub use process::ProcessUsage;
pub use rtnetlink::watch::NetworkWatch;
pub use sleeper::{AsyncSleeper, Sleeper};
