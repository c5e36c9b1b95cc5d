//! State of a lab in `/run/directrix-lab/NAME`: a later command ends exactly the recorded processes.

use super::LabError;
use super::options::{LabOptions, check_name};
use super::process::BackgroundProcess;
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
    /// [`LabError::Input`] if the name is invalid.
    pub fn of(name: &str) -> Result<Self, LabError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), path: Path::new(ROOT).join(name) })
    }

    /// Creates the directory, which reserves the name.
    ///
    /// # Errors
    /// [`LabError::Input`] if the lab exists; [`LabError::Failed`].
    pub fn create(&self) -> Result<(), LabError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        // The end of another lab may remove the common parent between the two calls.
        for _ in 0..100 {
            let made = std::fs::create_dir_all(ROOT).and_then(|()| builder.create(&self.path));
            match made {
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(self.taken()),
                other => return other.map_err(|error| LabError::io(self.path.display().to_string(), &error)),
            }
        }
        Err(LabError::Failed(format!("{ROOT} is removed again and again")))
    }

    fn taken(&self) -> LabError {
        LabError::Input(format!(
            "the lab '{0}' is up (or was interrupted): directrix lab down --name {0}, or choose another --name",
            self.name
        ))
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
    /// [`LabError::Input`] if the lab does not exist; [`LabError::Failed`] if the file is invalid.
    pub fn load(&self) -> Result<LabState, LabError> {
        let file = self.path("lab.json");
        let text = match std::fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.absent()),
            other => other.map_err(|error| LabError::io(file.display().to_string(), &error))?,
        };
        serde_json::from_slice(&text)
            .map_err(|error| LabError::Failed(format!("{}: {error}", file.display())))
    }

    fn absent(&self) -> LabError {
        LabError::Input(format!("the lab '{0}' is not up: directrix lab up --name {0}", self.name))
    }

    /// Replaces the state atomically.
    ///
    /// # Errors
    /// [`LabError::Failed`].
    pub fn store(&self, state: &LabState) -> Result<(), LabError> {
        let (new, file) = (self.path("lab.json.new"), self.path("lab.json"));
        let text = serde_json::to_vec_pretty(state).map_err(|error| LabError::Failed(error.to_string()))?;
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &file));
        written.map_err(|error| LabError::io(file.display().to_string(), &error))
    }

    /// Removes the directory with its content, and the common parent after the last lab.
    ///
    /// # Errors
    /// [`LabError::Failed`] if a file cannot be removed.
    pub fn remove(&self) -> Result<(), LabError> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LabError::io(self.path.display().to_string(), &error));
            }
            _ => (),
        }
        // Fails while another lab exists.
        let _ = std::fs::remove_dir(ROOT);
        Ok(())
    }
}
