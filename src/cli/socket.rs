//! Default path of the control socket.

use std::path::PathBuf;

/// Path of the control socket, unless the environment variable or `--socket` names another.
pub(super) const DEFAULT_SOCKET: &str = "/run/directrix/control.sock";

/// Environment variable with the path of the control socket.
const SOCKET_VARIABLE: &str = "DIRECTRIX_SOCKET";

/// Returns the control socket's path for a command line without `--socket`. An empty environment variable
/// counts as unset, unlike in clap.
pub(super) fn default_socket() -> PathBuf {
    let named = std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}
