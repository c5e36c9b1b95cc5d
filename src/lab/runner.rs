//! Commands are printed and then executed.

use super::topology::{Group, Step};
use super::{Console, Interrupt, LabError};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// Executes commands, showing each.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// Where they are shown.
    pub console: &'a Console,
    /// What ends the sequence.
    pub interrupt: &'a Interrupt,
}

impl Runner<'_> {
    /// Executes every command of `group`; the first failure ends it.
    ///
    /// # Errors
    /// [`LabError::Failed`] with the command and its words; [`LabError::Interrupted`].
    pub fn group(&self, group: &Group) -> Result<(), LabError> {
        self.console.heading(&group.heading);
        for step in &group.steps {
            self.interrupt.check()?;
            self.console.say(&step.to_string());
            execute(step)?;
        }
        Ok(())
    }

    /// Executes `step` and gives back what it printed.
    ///
    /// # Errors
    /// As [`Runner::group`].
    pub fn output(&self, step: &Step) -> Result<String, LabError> {
        self.interrupt.check()?;
        self.console.say(&step.to_string());
        execute(step)
    }
}

/// Executes `step` without showing it and gives back what it printed.
///
/// # Errors
/// [`LabError::Failed`] with the command and its words.
pub fn execute(step: &Step) -> Result<String, LabError> {
    let output = command(step)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| LabError::io(step.to_string(), &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Failed(format!("the command failed: {step}\n{}", words_of(&output))))
}

/// `step` in a process group of its own, which Ctrl-C does not reach: the lab ends it.
#[must_use]
pub fn command(step: &Step) -> Command {
    let mut command = Command::new(&step.words()[0]);
    command.args(&step.words()[1..]).process_group(0);
    command
}

fn words_of(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    let text = if error.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { error };
    format!("{} ({})", text.trim(), output.status)
}

/// Checks that the caller may make namespaces.
///
/// # Errors
/// [`LabError::Input`] for anybody but root.
pub fn check_root() -> Result<(), LabError> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(LabError::Input("the lab makes network namespaces, which takes root: sudo directrix lab …".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_words() {
        let error = execute(&Step::within("no-such-namespace", ["true"])).unwrap_err().to_string();
        assert!(error.contains("ip netns exec no-such-namespace true"), "{error}");
        assert!(error.contains("No such file"), "{error}");
        assert!(execute(&Step::new("false")).unwrap_err().to_string().contains("exit status: 1"));
    }

    #[test]
    fn what_a_command_prints_comes_back() {
        let console = Console::silent();
        let runner = Runner { console: &console, interrupt: &Interrupt::never() };
        assert_eq!(runner.output(&Step::new("echo a b")).unwrap(), "a b\n");
    }
}
