//! A control socket whose file has been deleted is made again, so that a running director can be reached.

use crate::control::http::socket::ControlSocket;
use std::time::Duration;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// The socket in place of `socket`, once the file of that is gone and another one could be made. What lies at the path
/// by then and is in use, or is not a socket, stays as it is.
pub(in crate::control) async fn remade(socket: &ControlSocket) -> ControlSocket {
    let mut told = String::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        match socket.again() {
            None => told.clear(),
            Some(Ok(again)) => {
                tracing::warn!(path = %again.path().display(), "control socket made again: its file was deleted");
                return again;
            }
            Some(Err(error)) => {
                let cause = error.to_string();
                if cause != told {
                    tracing::warn!(
                        cause,
                        "the file of the control socket was deleted, and cannot be made again yet"
                    );
                    told = cause;
                }
            }
        }
    }
}
