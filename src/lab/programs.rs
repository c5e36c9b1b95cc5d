//! Availability of external programs, and their Debian packages.

use super::step::{Step, StepGroup};
use crate::model::Diagnostic;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

/// Programs and packages with different names.
const PACKAGES: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("ss", "iproute2"),
    ("tc", "iproute2"),
    ("nstat", "iproute2"),
    ("sh", "dash"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("ab", "apache2-utils"),
    ("nc", "netcat-openbsd"),
    ("setsid", "util-linux"),
    ("cat", "coreutils"),
    ("tee", "coreutils"),
];

/// Checks that every program of `groups` is available.
///
/// # Errors
/// `InvalidArgument` with the Debian packages to install.
pub fn check_groups(groups: &[StepGroup]) -> Result<(), Diagnostic> {
    let steps = groups.iter().flat_map(|group| &group.steps);
    check(steps.map(Step::program).chain(["ip"]))
}

/// Checks that every program is available.
///
/// # Errors
/// `InvalidArgument` with the Debian packages to install.
pub fn check<'p>(programs: impl IntoIterator<Item = &'p str>) -> Result<(), Diagnostic> {
    match missing_message(programs, &search_path()) {
        None => Ok(()),
        Some(message) => Err(Diagnostic::invalid_argument(message)),
    }
}

/// Message about programs that are not on `path`, with their packages; `None` if all are available.
#[must_use]
pub fn missing_message<'p>(programs: impl IntoIterator<Item = &'p str>, path: &OsString) -> Option<String> {
    let programs: BTreeSet<&str> = programs.into_iter().collect();
    let missing: Vec<&str> = programs.into_iter().filter(|program| !is_on(path, program)).collect();
    let packages: BTreeSet<&str> = missing.iter().copied().map(package).collect();
    let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
    (!missing.is_empty())
        .then(|| format!("not found: {}; install with: apt-get install {packages}", missing.join(", ")))
}

/// `PATH` of this process.
#[must_use]
pub fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn package(program: &str) -> &str {
    PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package)
}

fn is_on(path: &OsString, program: &str) -> bool {
    program.contains('/') || std::env::split_paths(path).any(|directory| is_program(&directory.join(program)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_name_packages_once() {
        let nowhere = OsString::from("/nonexistent");
        let message = missing_message(["nft", "tc", "ip", "arptables"], &nowhere).unwrap();
        assert_eq!(
            message,
            "not found: arptables, ip, nft, tc; install with: apt-get install arptables iproute2 nftables"
        );
        assert_eq!(missing_message(["/bin/anything"], &nowhere), None, "a path is not searched for");
        assert_eq!(missing_message([], &nowhere), None);
    }

    #[test]
    fn program_is_an_executable_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().as_os_str().to_owned();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::fs::write(dir.path().join("text"), "").unwrap();
        std::fs::write(dir.path().join("tool"), "").unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("tool"), mode).unwrap();
        let is_there = ["folder", "text", "tool"].map(|program| missing_message([program], &path).is_none());
        assert_eq!(is_there, [false, false, true]);
    }

    #[test]
    fn steps_of_a_group_are_checked() {
        let mut group = StepGroup::new("");
        group.step("no-such-program -x").step("ip link");
        let error = check_groups(&[group]).unwrap_err().to_string();
        assert_eq!(error, "not found: no-such-program; install with: apt-get install no-such-program");
    }
}
