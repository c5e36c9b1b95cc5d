//! A network namespace for one end of a veth pair.

use crate::lab::LabError;
use crate::lab::runner::execute;
use crate::lab::topology::{self, Step};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::path::Path;

/// A namespace; dropping it removes it with all interfaces in it.
pub(super) struct Namespace(String);

impl Namespace {
    /// Makes it, with IPv6 and its chatter switched off.
    pub(super) fn new(name: String) -> Result<Self, LabError> {
        if topology::exists(&name) {
            return Err(LabError::Input(format!(
                "a network namespace '{name}' is there: another bench runs, or was cut off half-way; \
                 ip netns del {name}, or choose another name"
            )));
        }
        execute(&Step::new(&format!("ip netns add {name}")))?;
        let namespace = Self(name);
        if Path::new("/proc/sys/net/ipv6").exists() {
            namespace.shell("echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6")?;
        }
        Ok(namespace)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Executes the shell command `text` inside, and gives back what it printed.
    pub(super) fn shell(&self, text: &str) -> Result<String, LabError> {
        execute(&Step::within(&self.0, ["sh", "-c", text]))
    }

    /// Calls `f` inside, on a thread of its own that is seated on `core` if one is given.
    pub(super) fn enter<T: Send>(
        &self,
        core: Option<usize>,
        f: impl FnOnce() -> Result<T, LabError> + Send,
    ) -> Result<T, LabError> {
        let inside = || {
            let failed =
                |error: &std::io::Error| LabError::io(format!("entering the namespace {}", self.0), error);
            let file = File::open(format!("/run/netns/{}", self.0)).map_err(|error| failed(&error))?;
            setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| failed(&error.into()))?;
            core.map_or(Ok(()), super::cores::seat)?;
            f()
        };
        match std::thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = execute(&Step::new(&format!("ip netns del {}", self.0))) {
            eprintln!("directrix lab bench: {error}");
        }
    }
}
