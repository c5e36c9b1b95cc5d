//! Errors of the screen.

use crate::control::client::ClientError;
use std::io;

/// Error that prevents or ends the screen.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The director did not answer at the start.
    #[error(transparent)]
    Director(#[from] ClientError),
    /// Keys and screen need a terminal.
    #[error("keys and screen need a terminal; use --once for one frame of text")]
    NoTerminal,
    /// The terminal, stdout or a resource of the process is not available.
    #[error("the terminal or stdout cannot be used: {0}")]
    Terminal(#[from] io::Error),
}
