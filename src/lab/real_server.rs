//! The built-in web server as a process on each real server.

use super::deployment::Site;
use super::host::{PORT, VIP};
use super::process::Process;
use super::topology::Step;
use super::{Host, LabError};
use std::time::Duration;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// Starts the web server of `server` on the VIP and on its RIP. Returns once it listens.
///
/// # Errors
/// [`LabError::Failed`] with its log if it ends or is not ready in time; [`LabError::Interrupted`].
pub(super) fn start(site: &Site<'_>, server: Host) -> Result<Process, LabError> {
    let options = site.options();
    let words = [options.exe.display().to_string(), "lab".into(), "serve-http".into(), server.to_string()];
    let addresses = [Some(VIP), server.address(options.layout)].into_iter().flatten();
    let listen = addresses.map(|address| format!("{address}:{PORT}"));
    let step = Step::within(&options.namespace(server), words.into_iter().chain(listen));
    site.start(server.name(), &step, READY_WITHIN)
}
