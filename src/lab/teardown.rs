//! Teardown of a lab: processes, namespaces, state directory, in this order.

use super::Console;
use super::process;
use super::runner::execute;
use super::state::StateDirectory;
use super::topology;
use crate::model::{Diagnostic, DiagnosticKind};
use std::time::Duration;

/// Time limit for an orderly end of the processes.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Takes a lab down, also an incomplete one. Continues after a failure. The state directory is removed last, only
/// without failures.
///
/// # Errors
/// `System` with all failures.
pub fn run(directory: &StateDirectory, console: &Console) -> Result<(), Diagnostic> {
    console.heading("down");
    let mut failures = Vec::new();
    // Without a readable state no process is ended: its pid is unknown.
    match directory.load() {
        Ok(state) => failures.extend(process::end(&state.processes, STOP_WITHIN).err()),
        Err(error) if error.kind == DiagnosticKind::InvalidArgument => (),
        Err(error) => failures.push(error),
    }
    for step in topology::undo(directory.name()) {
        console.print(&step.to_string());
        failures.extend(execute(&step).err());
    }
    if failures.is_empty() {
        return directory.remove();
    }
    let words: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(Diagnostic::system(words.join("\n")))
}
