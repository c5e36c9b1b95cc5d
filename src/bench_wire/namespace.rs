//! Network namespace of a DUT or of the generator: a new one, or that of this process.

use crate::lab::runner::execute;
use crate::lab::step::Step;
use crate::lab::topology;
use crate::model::Diagnostic;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::path::Path;

/// A network namespace. Dropping one made by [`Namespace::new`] removes it with its interfaces.
pub(super) struct Namespace(Option<String>);

impl Namespace {
    /// Creates a namespace with IPv6 disabled, so that no neighbour discovery adds frames.
    pub(super) fn new(name: String) -> Result<Self, Diagnostic> {
        if topology::exists(&name) {
            return Err(Diagnostic::invalid_argument(format!("a network namespace '{name}' exists"))
                .cause("another bench is running, or was interrupted")
                .remedy(format!("delete it: ip netns del {name}, or choose another name")));
        }
        execute(&Step::new(&format!("ip netns add {name}")))?;
        let namespace = Self(Some(name));
        if Path::new("/proc/sys/net/ipv6").exists() {
            namespace.shell("echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6")?;
        }
        Ok(namespace)
    }

    /// Network namespace of this process.
    pub(super) fn here() -> Self {
        Self(None)
    }

    /// Name for messages.
    pub(super) fn name(&self) -> &str {
        self.0.as_deref().unwrap_or("this namespace")
    }

    /// Command `words`, executed in this namespace.
    pub(super) fn step(&self, words: impl IntoIterator<Item = impl Into<String>>) -> Step {
        match &self.0 {
            Some(name) => Step::within(name, words),
            None => Step::of(words),
        }
    }

    /// Executes the shell command `text` in this namespace and returns its output.
    pub(super) fn shell(&self, text: &str) -> Result<String, Diagnostic> {
        execute(&self.step(["sh", "-c", text]))
    }

    /// Calls `f` on a new thread in this namespace, pinned to `core` if given.
    pub(super) fn enter<T: Send>(
        &self,
        core: Option<usize>,
        f: impl FnOnce() -> Result<T, Diagnostic> + Send,
    ) -> Result<T, Diagnostic> {
        let thread = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if let Some(name) = &self.0 {
                    enter_namespace(name)?;
                }
                if let Some(core) = core {
                    super::cores::pin(core)?;
                }
                f()
            });
            thread.join()
        });
        thread.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Moves the calling thread into the namespace `name` (setns(2)).
fn enter_namespace(name: &str) -> Result<(), Diagnostic> {
    let failed = |error: &std::io::Error| Diagnostic::io(format!("entering the namespace {name}"), error);
    let file = File::open(format!("/run/netns/{name}")).map_err(|error| failed(&error))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| failed(&error.into()))
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let Some(name) = &self.0 else { return };
        if let Err(error) = execute(&Step::new(&format!("ip netns del {name}"))) {
            eprintln!("directrix lab bench: {error}");
        }
    }
}
