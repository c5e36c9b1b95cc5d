//! What the director gives up once everything is open, and what it keeps.
//!
//! capset(2), the bounding set and no_new_privs concern one thread, and threads inherit them. So it
//! happens on the only thread there is, before a worker is started.

use crate::model::{Config, Diagnostic, Diagnostics, Place};
use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{User, geteuid, initgroups, setresgid, setresuid};
use std::ffi::CString;
use std::fs::{self, File};

/// Whom the director becomes.
#[derive(Clone, Debug)]
pub struct Privileges {
    /// `None`: it stays who it is.
    user: Option<User>,
    /// The configuration file and those that it includes, which are read again later.
    files: Vec<String>,
}

impl Privileges {
    /// Looks the configured user up.
    ///
    /// # Errors
    /// If there is no such user, or this process may not become another one; with the line in the
    /// file.
    pub fn of(config: &Config) -> Result<Self, Diagnostics> {
        let user = Self::look_up(config)?.map(reachable).transpose();
        let user = user.map_err(|refusal| refused(config, refusal))?.flatten();
        let places = &config.places;
        let files = [std::slice::from_ref(&places.file), &places.included[..]].concat();
        Ok(Self { user, files })
    }

    /// The configured user.
    ///
    /// # Errors
    /// If there is no such user, with the line in the file.
    pub(in crate::control) fn look_up(config: &Config) -> Result<Option<User>, Diagnostics> {
        let user = config.director.user.as_deref().map(known).transpose();
        user.map_err(|refusal| refused(config, refusal))
    }

    /// The capabilities that a start needs and this process lacks; `None` if it has them all.
    pub(in crate::control) fn lacking() -> Option<String> {
        let needed = [
            Capability::CAP_NET_RAW,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_BPF,
            Capability::CAP_PERFMON,
        ];
        let lacks = |one: &Capability| !caps::has_cap(None, CapSet::Effective, *one).unwrap_or(false);
        let lacking: CapsHashSet = needed.into_iter().filter(lacks).collect();
        (!lacking.is_empty()).then(|| names(&lacking))
    }

    /// Who owns the control socket and its directory, so that it can be removed at the end: user and group.
    /// `None`: whoever created them.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.user.as_ref().map(|user| (user.uid.as_raw(), user.gid.as_raw()))
    }

    /// Becomes the configured user, keeps only capabilities that are needed from now on, and rules
    /// out that any program gets more. `restores`: whether an interface's setting has to be put
    /// back at the end.
    ///
    /// # Errors
    /// [`Diagnostic`] if there are other threads, which would keep everything, or the system refuses.
    pub fn reduce(&self, restores: bool) -> Result<(), Diagnostic> {
        let stays_root = self.user.is_none() && geteuid().is_root();
        let kept = self.give_up(&needed(restores, stays_root)).map_err(|cause| failed(&cause))?;
        let user = self.user.as_ref().map(|user| user.name.as_str());
        tracing::info!(user, capabilities_kept = names(&kept), "privileges dropped");
        for file in &self.files {
            if let Err(cause) = File::open(file) {
                tracing::warn!(file, user, %cause, "the configuration file cannot be reloaded: let this user read it");
            }
        }
        Ok(())
    }

    /// What is left of `needed`.
    fn give_up(&self, needed: &CapsHashSet) -> Result<CapsHashSet, String> {
        is_alone()?;
        let kept: CapsHashSet =
            caps::read(None, CapSet::Permitted).map_err(text)?.intersection(needed).copied().collect();
        prctl::set_no_new_privs().map_err(text)?;
        shrink_bounding_set(&kept).map_err(text)?;
        if let Some(user) = &self.user {
            become_user(user).map_err(text)?;
        }
        caps::set(None, CapSet::Effective, &kept).map_err(text)?;
        caps::set(None, CapSet::Permitted, &kept).map_err(text)?; // takes the ambient set along
        caps::clear(None, CapSet::Inheritable).map_err(text)?;
        Ok(kept)
    }
}

/// What is still needed once everything is open. Not among it, as they concern descriptors that
/// are open: receiving, sending and waking up, filters of packet sockets, and, since closing a
/// link is enough, taking the programs off the interface.
fn needed(restores: bool, stays_root: bool) -> CapsHashSet {
    let cases = [
        // Generic XDP runs with GRO off; switching it on again is a change of the interface.
        (restores, Capability::CAP_NET_ADMIN),
        // Before Linux 5.19, unprivileged_bpf_disabled forbids changes of maps without it (bpf(2)).
        (!may_change_maps(), Capability::CAP_BPF),
        // Root that has lost it could not read a file of another user's: the configuration again.
        (stays_root, Capability::CAP_DAC_OVERRIDE),
    ];
    cases.into_iter().filter_map(|(is_needed, capability)| is_needed.then_some(capability)).collect()
}

/// Whether whoever holds a BPF map's descriptor may change the map.
fn may_change_maps() -> bool {
    fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| is_since(&release, (5, 19)))
}

/// "6.1.0-18-amd64" is since (6, 1).
fn is_since(release: &str, first: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= first)
}

/// Completes a fault of the configured user with its name and line.
fn refused(config: &Config, fault: Diagnostic) -> Diagnostics {
    let name = config.director.user.as_deref().unwrap_or_default();
    let place = Place { file: config.places.file.as_str().into(), line: config.places.user };
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

/// `None` if this process is that user already.
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

/// Without CAP_SETPCAP it stays as it is. It only bounds what execve(2) may bring, which is nothing
/// with no_new_privs.
fn shrink_bounding_set(kept: &CapsHashSet) -> Result<(), CapsError> {
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        return Ok(());
    }
    let bound = caps::read(None, CapSet::Bounding)?;
    bound.difference(kept).try_for_each(|capability| caps::drop(None, CapSet::Bounding, *capability))
}

/// With the capabilities that are permitted, which would else be lost.
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
    fn a_user_that_does_not_exist_is_refused_with_its_line() {
        let refused = Privileges::of(&config("nosuchuser")).unwrap_err().to_string();
        let wanted = "d.toml:3: user \"nosuchuser\": there is no such user on this host; \
                      create it: useradd --system nosuchuser; or remove this line";
        assert_eq!(refused, wanted);
    }

    #[test]
    fn nobody_becomes_who_he_is_already() {
        let me = User::from_uid(geteuid()).unwrap().expect("tests run as a user that exists");
        assert_eq!(Privileges::of(&config(&me.name)).unwrap().owner(), None);
    }

    #[test]
    fn releases_are_told_apart() {
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
    fn beside_other_threads_nothing_is_given_up() {
        // The test's own thread is the second at least.
        let refused = Privileges { user: None, files: Vec::new() }.reduce(false).unwrap_err().to_string();
        assert!(refused.contains("threads run already"), "{refused}");
        assert!(!prctl::get_no_new_privs().unwrap());
    }
}
