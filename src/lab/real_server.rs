//! Process of the built-in web server on each real server.

use super::LabHost;
use super::host::PORT;
use super::process::BackgroundProcess;
use super::starter::ProcessStarter;
use super::step::Step;
use crate::model::Diagnostic;
use std::net::SocketAddr;
use std::time::Duration;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// Starts the web server of `server` on the VIP and its RIP. Returns once it listens.
///
/// # Errors
/// `System` with its log if it ends or is not ready in time; `Interrupted`.
pub(super) fn start(starter: &ProcessStarter<'_>, server: LabHost) -> Result<BackgroundProcess, Diagnostic> {
    let options = starter.options;
    let words = [options.exe.display().to_string(), "lab".into(), "serve-http".into(), server.to_string()];
    let addresses = options
        .family
        .vips()
        .iter()
        .flat_map(|vip| [Some(*vip), server.address_beside(*vip, options.layout)].into_iter().flatten());
    let listen = addresses.map(|address| SocketAddr::new(address, PORT).to_string());
    let step = Step::within(&options.namespace(server), words.into_iter().chain(listen));
    starter.start(server.name(), &step, READY_WITHIN)
}
