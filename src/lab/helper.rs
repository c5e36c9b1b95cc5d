//! Helper process in a namespace that prints its result as a line of JSON.

use super::Interrupt;
use super::runner::command;
use super::step::Step;
use crate::model::Diagnostic;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

/// A helper process with a pending result. Dropping it kills the process.
pub(super) struct HelperProcess {
    child: Child,
    what: String,
}

impl HelperProcess {
    /// Starts `step`.
    pub(super) fn spawn(step: &Step) -> Result<Self, Diagnostic> {
        let mut command = command(step);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| Diagnostic::io(step.to_string(), &error))?;
        Ok(Self { child, what: step.to_string() })
    }

    /// Starts `step` and waits for the empty line that it prints at its start.
    pub(super) fn start(step: &Step, interrupt: &Interrupt) -> Result<Self, Diagnostic> {
        interrupt.check()?;
        let mut helper = Self::spawn(step)?;
        let mut byte = [0];
        let output = helper.child.stdout.as_mut().map(|output| output.read_exact(&mut byte));
        match output {
            Some(Ok(())) if byte == *b"\n" => Ok(helper),
            _ => Err(Diagnostic::system(format!("{step}: did not start"))),
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> Result<bool, Diagnostic> {
        let status = self.child.try_wait().map_err(|error| Diagnostic::io(self.what.clone(), &error))?;
        Ok(status.is_some())
    }

    /// Closes its standard input and parses its result.
    pub(super) fn finish<T: DeserializeOwned>(mut self) -> Result<T, Diagnostic> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        if let Some(output) = self.child.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(|error| Diagnostic::io(self.what.clone(), &error))?;
        }
        serde_json::from_str(&line).map_err(|error| Diagnostic::system(format!("{}: {error}", self.what)))
    }
}

impl Drop for HelperProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
