//! TCP handshakes of a real server in listings.

use serde::{Deserialize, Serialize};

/// TCP handshakes that clients opened within ten seconds, three seconds ago at the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Opened.
    pub opened: u32,
    /// Of these, the ones not completed.
    pub failed: u32,
    /// Of the failed ones, those whose SYN was repeated, at most.
    pub repeated: u32,
}
