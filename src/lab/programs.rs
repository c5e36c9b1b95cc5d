//! The programs that the lab calls: whether they are there, and the Debian packages that hold them.

use super::LabError;
use super::topology::{Group, Step};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

/// Programs whose package has another name.
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

/// Checks that every program that `groups` call can be found.
///
/// # Errors
/// [`LabError::Input`] that names the Debian packages to install.
pub fn check_groups(groups: &[Group]) -> Result<(), LabError> {
    let steps = groups.iter().flat_map(|group| &group.steps);
    check(steps.map(Step::program).chain(["ip"]))
}

/// Checks that every program can be found.
///
/// # Errors
/// [`LabError::Input`] that names the Debian packages to install.
pub fn check<'p>(programs: impl IntoIterator<Item = &'p str>) -> Result<(), LabError> {
    match complaint(programs, &search_path()) {
        None => Ok(()),
        Some(complaint) => Err(LabError::Input(complaint)),
    }
}

/// The programs that are not on `path`, and how to install them; `None` if all are there.
#[must_use]
pub fn complaint<'p>(programs: impl IntoIterator<Item = &'p str>, path: &OsString) -> Option<String> {
    let programs: BTreeSet<&str> = programs.into_iter().collect();
    let missing: Vec<&str> = programs.into_iter().filter(|program| !is_on(path, program)).collect();
    let packages: BTreeSet<&str> = missing.iter().copied().map(package).collect();
    let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
    (!missing.is_empty())
        .then(|| format!("not found: {}; install with: apt-get install {packages}", missing.join(", ")))
}

/// This process's `PATH`.
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
    fn missing_programs_name_their_packages_once() {
        let nowhere = OsString::from("/nonexistent");
        let told = complaint(["nft", "tc", "ip", "arptables"], &nowhere).unwrap();
        assert_eq!(
            told,
            "not found: arptables, ip, nft, tc; install with: apt-get install arptables iproute2 nftables"
        );
        assert_eq!(complaint(["/bin/anything"], &nowhere), None, "a path is not searched for");
        assert_eq!(complaint([], &nowhere), None);
    }

    #[test]
    fn a_program_is_a_file_that_can_be_executed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().as_os_str().to_owned();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::fs::write(dir.path().join("text"), "").unwrap();
        std::fs::write(dir.path().join("tool"), "").unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("tool"), mode).unwrap();
        let is_there = ["folder", "text", "tool"].map(|program| complaint([program], &path).is_none());
        assert_eq!(is_there, [false, false, true]);
    }

    #[test]
    fn the_steps_of_a_group_are_looked_for() {
        let mut group = Group::new("");
        group.step("no-such-program -x").step("ip link");
        let error = check_groups(&[group]).unwrap_err().to_string();
        assert_eq!(error, "not found: no-such-program; install with: apt-get install no-such-program");
    }
}
