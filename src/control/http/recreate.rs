//! Recreation of a control socket whose file was deleted.

use crate::control::http::socket::ControlSocket;
use std::time::Duration;

/// Interval between two checks of the file.
const INTERVAL: Duration = Duration::from_secs(2);

/// Waits until the file of `socket` is deleted, and returns a new socket at the same path.
///
/// A file at that path that is in use, or is not a socket, stays as it is.
pub(in crate::control) async fn recreated(socket: &ControlSocket) -> ControlSocket {
    let mut logged = String::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        match socket.recreate() {
            None => logged.clear(),
            Some(Ok(new)) => {
                tracing::warn!(path = %new.path().display(), "control socket made again: its file was deleted");
                return new;
            }
            Some(Err(error)) => {
                let error = error.to_string();
                if error != logged {
                    tracing::warn!(
                        error,
                        "the file of the control socket was deleted, and cannot be made again yet"
                    );
                    logged = error;
                }
            }
        }
    }
}
