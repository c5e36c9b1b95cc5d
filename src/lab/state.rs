//! What a lab has started, kept in `/run/directrix-lab/NAME`, so that a later command finds it and
//! ends that and nothing else.

use super::LabError;
use super::options::{Options, check_name};
use super::process::Process;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const ROOT: &str = "/run/directrix-lab";

/// The state directory of one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    name: String,
    path: PathBuf,
}

/// The content of its `lab.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What was built.
    pub options: Options,
    /// What runs in the background, in the order of starting.
    pub processes: Vec<Process>,
}

impl Directory {
    /// Where the lab called `name` keeps its state, there or not.
    ///
    /// # Errors
    /// [`LabError::Input`] if no lab can be called that.
    pub fn of(name: &str) -> Result<Self, LabError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), path: Path::new(ROOT).join(name) })
    }

    /// Creates it, which marks the name as taken.
    ///
    /// # Errors
    /// [`LabError::Input`] if there is a lab of that name; [`LabError::Failed`].
    pub fn create(&self) -> Result<(), LabError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        // Another lab's end may remove the common parent between the two calls.
        for _ in 0..100 {
            let made = std::fs::create_dir_all(ROOT).and_then(|()| builder.create(&self.path));
            match made {
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(self.taken()),
                other => return other.map_err(|error| LabError::io(self.path.display().to_string(), &error)),
            }
        }
        Err(LabError::Failed(format!("{ROOT} keeps vanishing")))
    }

    fn taken(&self) -> LabError {
        LabError::Input(format!(
            "the lab '{0}' is up (or was cut off half-way): directrix lab down --name {0}, or choose another --name",
            self.name
        ))
    }

    /// The lab's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a lab of that name.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// The file or socket `name` in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The director's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// Reads the state.
    ///
    /// # Errors
    /// [`LabError::Input`] if no such lab is up; [`LabError::Failed`] if the file makes no sense.
    pub fn load(&self) -> Result<State, LabError> {
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

    /// Replaces the state in one step, so that a reader never finds half of it.
    ///
    /// # Errors
    /// [`LabError::Failed`].
    pub fn store(&self, state: &State) -> Result<(), LabError> {
        let (new, file) = (self.path("lab.json.new"), self.path("lab.json"));
        let text = serde_json::to_vec_pretty(state).map_err(|error| LabError::Failed(error.to_string()))?;
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &file));
        written.map_err(|error| LabError::io(file.display().to_string(), &error))
    }

    /// Removes it with everything in it, and the common parent after the last lab.
    ///
    /// # Errors
    /// [`LabError::Failed`] if something in it cannot be removed.
    pub fn remove(&self) -> Result<(), LabError> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LabError::io(self.path.display().to_string(), &error));
            }
            _ => (),
        }
        // Fails while another lab is there, as it should.
        let _ = std::fs::remove_dir(ROOT);
        Ok(())
    }
}
