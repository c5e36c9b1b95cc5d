//! Connection sync on the network: the sockets for [`crate::sync`].

mod error;
mod sockets;

pub use error::{SyncSocketError, SyncSocketStep};
pub use sockets::{SyncListener, SyncSocketSettings, SyncTransmitter};
