//! Dropping of privileges once all sockets and programs are open.
//!
//! capset(2), the bounding set and no_new_privs concern one thread and are inherited by its threads. The director drops
//! its privileges while it has a single thread, before a worker is started.

use crate::model::{Config, Diagnostic, Diagnostics};
use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{User, geteuid, initgroups, setresgid, setresuid};
use std::ffi::CString;
use std::fs::{self, File};

/// The user to change to, and the files to read later.
#[derive(Clone, Debug)]
pub struct Privileges {
    /// `None` if the user stays the same.
    user: Option<User>,
    /// The configuration file and its included files, which a reload reads.
    files: Vec<String>,
}

impl Privileges {
    /// Looks up the configured user, and the files to read later.
    ///
    /// # Errors
    /// If there is no such user, or this process may not change its user; with the line in the file.
    pub fn of(config: &Config) -> Result<Self, Diagnostics> {
        let user = Self::look_up(config)?.map(reachable).transpose();
        let user = user.map_err(|refusal| refused(config, refusal))?.flatten();
        let places = &config.places;
        let files = [std::slice::from_ref(&places.file), &places.included[..]].concat();
        Ok(Self { user, files })
    }

    /// Looks up the configured user.
    ///
    /// # Errors
    /// If there is no such user, with the line in the file.
    pub(in crate::control) fn look_up(config: &Config) -> Result<Option<User>, Diagnostics> {
        let user = config.director.user.as_deref().map(known).transpose();
        user.map_err(|refusal| refused(config, refusal))
    }

    /// Returns the capabilities for a start that this process lacks; `None` if it has them all.
    pub(in crate::control) fn lacking() -> Option<String> {
        let mut lacking = CapsHashSet::from([
            Capability::CAP_NET_RAW,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_BPF,
            Capability::CAP_PERFMON,
        ]);
        lacking.retain(|one| !caps::has_cap(None, CapSet::Effective, *one).unwrap_or(false));
        (!lacking.is_empty()).then(|| names(&lacking))
    }

    /// Returns user and group for the control socket and its directory, so that the socket can be removed at the end;
    /// `None` if the owner stays the same.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.user.as_ref().map(|user| (user.uid.as_raw(), user.gid.as_raw()))
    }

    /// Changes to the configured user, drops all capabilities not needed from now on, and sets no_new_privs.
    ///
    /// `restores` is true if an interface's setting must be restored at the end.
    ///
    /// # Errors
    /// [`Diagnostic`] if there are other threads, which would keep their privileges, or a system call fails.
    pub fn reduce(&self, restores: bool) -> Result<(), Diagnostic> {
        let stays_root = self.user.is_none() && geteuid().is_root();
        let kept = self.drop_all_but(&needed(restores, stays_root)).map_err(|cause| failed(&cause))?;
        let user = self.user.as_ref().map(|user| user.name.as_str());
        tracing::info!(user, capabilities_kept = names(&kept), "privileges dropped");
        for file in &self.files {
            if let Err(cause) = File::open(file) {
                tracing::warn!(file, user, %cause, "the configuration file cannot be reloaded: let this user read it");
            }
        }
        Ok(())
    }

    /// Drops all privileges but `needed`. Returns the capabilities kept.
    fn drop_all_but(&self, needed: &CapsHashSet) -> Result<CapsHashSet, String> {
        is_alone()?;
        let kept: CapsHashSet =
            caps::read(None, CapSet::Permitted).map_err(text)?.intersection(needed).copied().collect();
        prctl::set_no_new_privs().map_err(text)?;
        shrink_bounding_set(&kept).map_err(text)?;
        if let Some(user) = &self.user {
            become_user(user).map_err(text)?;
        }
        caps::set(None, CapSet::Effective, &kept).map_err(text)?;
        caps::set(None, CapSet::Permitted, &kept).map_err(text)?; // also clears the ambient set
        caps::clear(None, CapSet::Inheritable).map_err(text)?;
        Ok(kept)
    }
}

/// Returns the capabilities needed once all sockets and programs are open.
///
/// Operations on open descriptors need none: receive, transmit and wake-up, socket filters, and detaching the programs,
/// for which closing the BPF link suffices.
fn needed(restores: bool, stays_root: bool) -> CapsHashSet {
    let cases = [
        // Generic XDP needs GRO off; restoring it changes the interface.
        (restores, Capability::CAP_NET_ADMIN),
        // Before Linux 5.19, unprivileged_bpf_disabled forbids changes of maps without it (bpf(2)).
        (!may_change_maps(), Capability::CAP_BPF),
        // Root without it cannot read files of other users, such as the configuration at a reload.
        (stays_root, Capability::CAP_DAC_OVERRIDE),
    ];
    cases.into_iter().filter_map(|(is_needed, capability)| is_needed.then_some(capability)).collect()
}

/// Returns true if the descriptor of a BPF map suffices to change the map.
fn may_change_maps() -> bool {
    fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| is_since(&release, (5, 19)))
}

/// Returns true for a release of `first` or later: "6.1.0-18-amd64" for (6, 1).
fn is_since(release: &str, first: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= first)
}

/// Adds name and line of the configured user to a diagnostic.
fn refused(config: &Config, fault: Diagnostic) -> Diagnostics {
    let name = config.director.user.as_deref().unwrap_or_default();
    let place = config.places.director_key("user");
    let what = format!("user {name:?}: {}", fault.what);
    Diagnostic { what, ..fault }.at(place).into()
}

fn known(name: &str) -> Result<User, Diagnostic> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => {
            let remedy = format!("create it: useradd --system {name}; or remove this line");
            Err(Diagnostic::system("there is no such user on this host").remedy(remedy))
        }
        Err(errno) => {
            let remedy = format!("see whether `getent passwd {name}` finds it");
            Err(Diagnostic::system(format!("looking it up: {errno}")).remedy(remedy))
        }
    }
}

/// Checks that this process may change to `user`; `None` if it has that user already.
fn reachable(user: User) -> Result<Option<User>, Diagnostic> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if user.uid == geteuid() {
        Ok(None)
    } else if has(Capability::CAP_SETUID) && has(Capability::CAP_SETGID) {
        Ok(Some(user))
    } else {
        let what = format!("this process has user id {} and may not become another user", geteuid());
        let remedy = "start it as root, or as that user with its capabilities, or remove this line";
        Err(Diagnostic::system(what).remedy(remedy))
    }
}

fn is_alone() -> Result<(), String> {
    let threads = fs::read_dir("/proc/self/task").map_err(text)?.count();
    if threads == 1 { Ok(()) } else { Err(format!("{threads} threads run already, which would keep theirs")) }
}

/// Drops all other capabilities from the bounding set, which requires CAP_SETPCAP.
///
/// Without it the set stays as it is: with no_new_privs, execve(2) grants nothing.
fn shrink_bounding_set(kept: &CapsHashSet) -> Result<(), CapsError> {
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        return Ok(());
    }
    let bound = caps::read(None, CapSet::Bounding)?;
    bound.difference(kept).try_for_each(|capability| caps::drop(None, CapSet::Bounding, *capability))
}

/// Changes to `user`, and keeps the permitted capabilities.
fn become_user(user: &User) -> Result<(), Errno> {
    let name = CString::new(user.name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    prctl::set_keepcaps(true)?;
    initgroups(&name, user.gid)?;
    setresgid(user.gid, user.gid, user.gid)?;
    setresuid(user.uid, user.uid, user.uid)?;
    prctl::set_keepcaps(false)
}

fn names(capabilities: &CapsHashSet) -> String {
    let mut names: Vec<_> =
        capabilities.iter().map(|capability| capability.to_string().to_lowercase()).collect();
    names.sort_unstable();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn failed(cause: &str) -> Diagnostic {
    Diagnostic::system("giving up privileges").cause(cause).remedy(
        "allow it to this process (systemd: SystemCallFilter=@setuid capset prctl), or start it as an \
                 ordinary user with its capabilities",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(user: &str) -> Config {
        let text = format!(
            "[director]\ninterface = \"eth0\"\nuser = \"{user}\"\n[[service]]\nprotocol = \"tcp\"\n\
             address = \"10.0.0.1:80\"\n"
        );
        crate::model::parse(Path::new("d.toml"), &text).unwrap()
    }

    #[test]
    fn unknown_user_is_refused_with_its_line() {
        let refused = Privileges::of(&config("nosuchuser")).unwrap_err().to_string();
        let wanted = "d.toml:3: user \"nosuchuser\": there is no such user on this host; \
                      create it: useradd --system nosuchuser; or remove this line";
        assert_eq!(refused, wanted);
    }

    #[test]
    fn present_user_needs_no_change() {
        let me = User::from_uid(geteuid()).unwrap().expect("tests run as a user that exists");
        assert_eq!(Privileges::of(&config(&me.name)).unwrap().owner(), None);
    }

    #[test]
    fn kernel_releases_are_compared() {
        for (release, since) in [
            ("5.18.19", false),
            ("5.19.0", true),
            ("5.4.0-1", false),
            ("6.1.0-18-amd64", true),
            ("10.0", true),
        ] {
            assert_eq!(is_since(release, (5, 19)), since, "{release}");
        }
        for odd in ["", "linux", "6", "6.x"] {
            assert!(!is_since(odd, (5, 19)), "{odd}");
        }
    }

    #[test]
    fn privileges_stay_with_several_threads() {
        // The test's own thread is the second at least.
        let refused = Privileges { user: None, files: Vec::new() }.reduce(false).unwrap_err().to_string();
        assert!(refused.contains("threads run already"), "{refused}");
        assert!(!prctl::get_no_new_privs().unwrap());
    }
}
