//! Execution of commands, printed before.

use super::step::{Step, StepGroup};
use super::{Console, Interrupt};
use crate::model::Diagnostic;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// Prints and executes commands.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// Output for the user.
    pub console: &'a Console,
    /// Signals that end the sequence.
    pub interrupt: &'a Interrupt,
}

impl Runner<'_> {
    /// Executes the commands of `group` up to the first failure.
    ///
    /// # Errors
    /// `System` with the command and its output; `Interrupted`.
    pub fn group(&self, group: &StepGroup) -> Result<(), Diagnostic> {
        self.console.heading(&group.heading);
        for step in &group.steps {
            self.interrupt.check()?;
            self.console.print(&step.to_string());
            execute(step)?;
        }
        Ok(())
    }

    /// Executes `step` and returns its output.
    ///
    /// # Errors
    /// As [`Runner::group`].
    pub fn output(&self, step: &Step) -> Result<String, Diagnostic> {
        self.interrupt.check()?;
        self.console.print(&step.to_string());
        execute(step)
    }
}

/// Executes `step` without printing it and returns its output.
///
/// # Errors
/// `System` with the command and its output.
pub fn execute(step: &Step) -> Result<String, Diagnostic> {
    let output = command(step)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Diagnostic::io(step.to_string(), &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Diagnostic::system(format!("the command failed: {step}\n{}", error_text(&output))))
}

/// Command `step` in a process group of its own, out of reach of Ctrl-C: the lab ends it.
#[must_use]
pub fn command(step: &Step) -> Command {
    let mut command = Command::new(&step.words()[0]);
    command.args(&step.words()[1..]).process_group(0);
    command
}

fn error_text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    let text = if error.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { error };
    format!("{} ({})", text.trim(), output.status)
}

/// Checks that the caller is root.
///
/// # Errors
/// `InvalidArgument` otherwise.
pub fn check_root() -> Result<(), Diagnostic> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Diagnostic::invalid_argument("the lab creates network namespaces and needs root")
        .remedy("start it by sudo directrix lab …"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_command_is_reported_with_its_output() {
        let error = execute(&Step::within("no-such-namespace", ["true"])).unwrap_err().to_string();
        assert!(error.contains("ip netns exec no-such-namespace true"), "{error}");
        assert!(error.contains("No such file"), "{error}");
        assert!(execute(&Step::new("false")).unwrap_err().to_string().contains("exit status: 1"));
    }

    #[test]
    fn output_of_a_command_is_returned() {
        let console = Console::silent();
        let runner = Runner { console: &console, interrupt: &Interrupt::never() };
        assert_eq!(runner.output(&Step::new("echo a b")).unwrap(), "a b\n");
    }
}
