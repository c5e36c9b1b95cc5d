//! The end of a lab: processes first, then namespaces, then the state directory.

use super::process;
use super::runner::execute;
use super::state::Directory;
use super::topology;
use super::{Console, LabError};
use std::time::Duration;

/// How long the director has to detach cleanly.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the lab down, also one that is half built. A step that fails does not keep the others
/// from being done; the state directory stays as long as something else does.
///
/// # Errors
/// [`LabError::Failed`] with everything that could not be ended or removed.
pub fn run(directory: &Directory, console: &Console) -> Result<(), LabError> {
    console.heading("down");
    let mut failures = Vec::new();
    // Without a readable state no process can be told from a stranger's.
    match directory.load() {
        Ok(state) => failures.extend(process::end(&state.processes, PATIENCE).err()),
        Err(LabError::Input(_)) => (),
        Err(error) => failures.push(error),
    }
    for step in topology::undo(directory.name()) {
        console.say(&step.to_string());
        failures.extend(execute(&step).err());
    }
    if failures.is_empty() {
        return directory.remove();
    }
    let words: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(LabError::Failed(words.join("\n")))
}
