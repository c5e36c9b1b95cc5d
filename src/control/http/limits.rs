//! Limits of the control socket: clients, sizes, times.

use std::time::Duration;

/// Clients served at the same time; more wait to be accepted.
pub const CLIENTS_MAX: usize = 64;
/// Clients without the right to change that are served at the same time.
///
/// The other places are reserved for clients with that right: read-only clients cannot shut them out.
pub const READERS_MAX: usize = CLIENTS_MAX / 2;
/// Time for a client to send its request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time without progress while a client reads its response.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for the control loop to reply.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
