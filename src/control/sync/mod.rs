//! Connection sync on the network: the sockets for [`crate::sync`].

mod daemons;
mod error;
mod sockets;
mod state;

pub use daemons::{SyncDaemon, SyncDaemons, SyncEnding, backup_len, default_len};
pub use error::{SyncSocketError, SyncSocketStep};
pub use sockets::{SyncListener, SyncSocketSettings, SyncTransmitter};
pub(in crate::control) use state::SyncState;
