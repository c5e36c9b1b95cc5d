//! The role that is kept over a restart of the director, in a file beside the control socket.

use crate::model::Role;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file. /run is empty after a reboot.
const NAME: &str = "role.kept";

/// The kept role.
#[derive(Debug)]
pub(in crate::control) struct KeptRole {
    path: PathBuf,
    /// True after a failure, which is logged once.
    failing: bool,
}

impl KeptRole {
    /// The file in the directory of the control socket.
    pub(in crate::control) fn beside(socket: &Path) -> Self {
        Self { path: socket.with_file_name(NAME), failing: false }
    }

    /// Reads it; `None` without a role in it.
    pub(in crate::control) fn load(&self) -> Option<Role> {
        Role::settable(fs::read_to_string(&self.path).ok()?.trim())
    }

    /// Replaces it. A failure is logged.
    pub(in crate::control) fn store(&mut self, role: Role) {
        let stored = self.replace(role);
        let failed_before = std::mem::replace(&mut self.failing, stored.is_err());
        if let (Err(error), false) = (stored, failed_before) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the role is not kept over a restart: let the director's user write there");
        }
    }

    /// Writes another file and renames it: a reader finds one of the two roles.
    fn replace(&self, role: Role) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{role}\n"))?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_role_is_loaded_and_another_word_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = KeptRole::beside(&directory.path().join("control.sock"));
        assert_eq!(kept.load(), None);
        for role in [Role::Master, Role::Backup, Role::Fault] {
            kept.store(role);
            assert_eq!(kept.load(), Some(role));
        }
        for text in ["", "mast", "standalone\n"] {
            fs::write(directory.path().join(NAME), text).unwrap();
            assert_eq!(kept.load(), None, "{text:?}");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no other file is left");
    }
}
