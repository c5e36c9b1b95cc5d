//! State file: the settings before setup, for undo.

use super::options::RealServerOptions;
use super::sysctl::SysctlKey;
use crate::model::Diagnostic;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Recorded settings and VIPs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetupState {
    pub(super) sysctls: Vec<SavedSysctl>,
    pub(super) vips: Vec<PlacedVip>,
}

/// A sysctl with its former value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedSysctl {
    pub(super) key: SysctlKey,
    pub(super) before: i32,
    pub(super) wanted: i32,
}

/// A VIP of the setup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlacedVip {
    pub(super) vip: IpAddr,
    pub(super) interface: String,
    /// False if it existed before.
    pub(super) added: bool,
    /// An IPv6 address that existed before and was not deprecated.
    #[serde(default)]
    pub(super) was_preferred: bool,
}

/// State file of this network namespace, locked against concurrent changes.
pub(super) struct StateFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateFile {
    /// Opens the file of the calling thread's network namespace and waits for its lock. Creates the directory if
    /// missing.
    pub(super) fn open(options: &RealServerOptions) -> Result<Self, Diagnostic> {
        let dir = &options.state_dir;
        let path = dir.join(format!("netns-{}.json", namespace()?));
        fs::create_dir_all(dir).map_err(|error| failed("making", dir, &error))?;
        let lock = lock(&dir.join("lock"))?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Loads the state; `None` without a file.
    pub(super) fn load(&self) -> Result<Option<SetupState>, Diagnostic> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| failed("reading", &self.path, &error))?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Diagnostic::system(format!("reading {}", self.path.display()))
                .cause(format!("it is no valid state file: {error}"))
                .remedy("restore the settings by hand, and remove the file")
        })
    }

    /// Replaces the state atomically.
    pub(super) fn save(&self, state: &SetupState) -> Result<(), Diagnostic> {
        let text = serde_json::to_vec_pretty(state).expect("numbers and texts are always JSON");
        let fresh = self.path.with_extension("new");
        write_through(&fresh, &text)
            .and_then(|()| fs::rename(&fresh, &self.path))
            .map_err(|error| failed("writing", &self.path, &error))
    }

    pub(super) fn remove(&self) -> Result<(), Diagnostic> {
        fs::remove_file(&self.path).map_err(|error| failed("removing", &self.path, &error))
    }
}

fn lock(path: &Path) -> Result<Flock<File>, Diagnostic> {
    let file = File::create(path).map_err(|error| failed("opening", path, &error))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed("locking", path, &errno.into()))
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Inode of the network namespace.
fn namespace() -> Result<u64, Diagnostic> {
    let path = Path::new("/proc/thread-self/ns/net");
    fs::metadata(path).map(|meta| meta.ino()).map_err(|error| failed("reading", path, &error))
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Diagnostic {
    let remedy = "run as root, or name a directory that you may write to with --state-dir";
    Diagnostic::system(format!("{doing} {}", path.display())).cause(error.to_string()).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::super::sysctl::SysctlName;
    use super::*;

    fn options(dir: &Path) -> RealServerOptions {
        RealServerOptions {
            vips: vec![],
            interface: "lo".into(),
            state_dir: dir.join("a/b"),
            root: "/".into(),
        }
    }

    #[test]
    fn saved_state_is_loaded_until_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::open(&options(dir.path())).unwrap();
        assert_eq!(file.load().unwrap(), None);
        let key = SysctlKey::new("all", SysctlName::ArpIgnore);
        let placed = PlacedVip {
            vip: IpAddr::from([10, 0, 0, 1]),
            interface: "lo".into(),
            added: true,
            was_preferred: false,
        };
        let state =
            SetupState { sysctls: vec![SavedSysctl { key, before: 2, wanted: 1 }], vips: vec![placed] };
        file.save(&state).unwrap();
        assert_eq!(file.load().unwrap(), Some(state));
        file.remove().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn invalid_file_is_reported_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::open(&options(dir.path())).unwrap();
        fs::write(file.path(), "{\"sysctls\": 5}").unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.contains("netns-") && error.contains("remove the file"), "{error}");
        assert!(file.path().exists());
    }
}
