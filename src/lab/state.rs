//! State of a lab in `/run/directrix-lab/NAME`: a later command ends exactly the recorded processes.

use super::options::{LabOptions, check_name};
use super::process::BackgroundProcess;
use crate::model::Diagnostic;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const ROOT: &str = "/run/directrix-lab";

/// State directory of one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDirectory {
    name: String,
    path: PathBuf,
}

/// State of a lab, stored in `lab.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabState {
    /// Options of the lab.
    pub options: LabOptions,
    /// Background processes, in the order of their start.
    pub processes: Vec<BackgroundProcess>,
}

impl StateDirectory {
    /// State directory of the lab called `name`; it may not exist.
    ///
    /// # Errors
    /// `InvalidArgument` if the name is invalid.
    pub fn of(name: &str) -> Result<Self, Diagnostic> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), path: Path::new(ROOT).join(name) })
    }

    /// Creates the directory, which reserves the name.
    ///
    /// # Errors
    /// `InvalidArgument` if the lab exists; `System`.
    pub fn create(&self) -> Result<(), Diagnostic> {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        // The end of another lab may remove the common parent between the two calls.
        for _ in 0..100 {
            let made = std::fs::create_dir_all(ROOT).and_then(|()| builder.create(&self.path));
            match made {
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(self.taken()),
                other => {
                    return other.map_err(|error| Diagnostic::io(self.path.display().to_string(), &error));
                }
            }
        }
        Err(Diagnostic::system(format!("{ROOT} is removed again and again")))
    }

    fn taken(&self) -> Diagnostic {
        let name = &self.name;
        Diagnostic::invalid_argument(format!("the lab '{name}' is up (or was interrupted)"))
            .remedy(format!("take it down: directrix lab down --name {name}, or choose another --name"))
    }

    /// Name of the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the lab exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Path of the file or socket `name`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of the director's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// Reads the state.
    ///
    /// # Errors
    /// `InvalidArgument` if the lab does not exist; `System` if the file is invalid.
    pub fn load(&self) -> Result<LabState, Diagnostic> {
        let file = self.path("lab.json");
        let text = match std::fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.absent()),
            other => other.map_err(|error| Diagnostic::io(file.display().to_string(), &error))?,
        };
        serde_json::from_slice(&text)
            .map_err(|error| Diagnostic::system(file.display().to_string()).cause(error.to_string()))
    }

    fn absent(&self) -> Diagnostic {
        let name = &self.name;
        Diagnostic::invalid_argument(format!("the lab '{name}' is not up"))
            .remedy(format!("build it: directrix lab up --name {name}"))
    }

    /// Replaces the state atomically.
    ///
    /// # Errors
    /// `System`.
    pub fn store(&self, state: &LabState) -> Result<(), Diagnostic> {
        let (new, file) = (self.path("lab.json.new"), self.path("lab.json"));
        let text = serde_json::to_vec_pretty(state).map_err(|error| Diagnostic::system(error.to_string()))?;
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &file));
        written.map_err(|error| Diagnostic::io(file.display().to_string(), &error))
    }

    /// Removes the directory with its content, and the common parent after the last lab.
    ///
    /// # Errors
    /// `System` if a file cannot be removed.
    pub fn remove(&self) -> Result<(), Diagnostic> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Diagnostic::io(self.path.display().to_string(), &error));
            }
            _ => (),
        }
        // Fails while another lab exists.
        let _ = std::fs::remove_dir(ROOT);
        Ok(())
    }
}
