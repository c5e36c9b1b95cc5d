//! Security of the operator's programs: hooks and scripts of health checks.

use nix::unistd::geteuid;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most symbolic links on the way to a program, as in the kernel (`MAXSYMLINKS` in include/linux/namei.h).
const LINKS_MAX: u32 = 40;

/// Returns the path without links of a program that no other users than root and the director's may exchange or change;
/// `None` if they may: they would act with the rights of the director's user.
///
/// The returned path is what to execute: nothing on it can be exchanged after the check. Blocks.
///
/// # Errors
/// If there is no such program, or the director's user may not look at it.
pub(in crate::control) fn secure(program: &Path) -> io::Result<Option<PathBuf>> {
    let real = program.canonicalize()?;
    Ok((is_secure(program, LINKS_MAX)? && is_secure(&real, LINKS_MAX)?).then_some(real))
}

/// True if no other user may change the file, a directory above it, or a link on the way to it.
fn is_secure(path: &Path, links: u32) -> io::Result<bool> {
    let own = geteuid().as_raw();
    for place in path.ancestors() {
        let found = place.symlink_metadata()?;
        if ![0, own].contains(&found.uid()) {
            return Ok(false);
        }
        if found.is_symlink() {
            let target = place.parent().unwrap_or(place).join(place.read_link()?);
            if links == 0 || !is_secure(&target, links - 1)? {
                return Ok(false);
            }
            continue; // the mode of a link has no meaning
        }
        // In a directory with the sticky bit, only an owner may exchange an entry.
        let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        if found.mode() & 0o022 != 0 && !is_sticky {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{Uid, chown};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use tempfile::TempDir;

    /// A directory with the directories `closed` and `open`, into which others may write, and a program in each.
    fn place() -> TempDir {
        let place = tempfile::tempdir().unwrap();
        for (name, mode) in [("closed", 0o755), ("open", 0o777)] {
            let directory = place.path().join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("program"), "#!/bin/sh\n").unwrap();
            set_mode(&directory.join("program"), 0o755);
            set_mode(&directory, mode);
        }
        place
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn is_refused(path: &Path) -> bool {
        secure(path).unwrap().is_none()
    }

    #[test]
    fn a_program_that_others_may_change_is_refused() {
        let place = place();
        let program = place.path().join("closed/program");
        assert_eq!(secure(&program).unwrap(), Some(program.canonicalize().unwrap()));
        assert!(is_refused(&place.path().join("open/program")));
        set_mode(&program, 0o775);
        assert!(is_refused(&program));
        set_mode(&program, 0o755);
        chown(&program, Some(Uid::from_raw(65_534)), None).unwrap();
        assert!(is_refused(&program), "its owner may change it");
        assert!(secure(&place.path().join("closed/none")).is_err());
    }

    #[test]
    fn a_link_that_others_may_exchange_is_refused() {
        let place = place();
        let at = |name: &str| place.path().join(name);
        let program = at("closed/program");
        symlink(&program, at("open/link")).unwrap();
        assert!(is_refused(&at("open/link")), "in a directory that others may write");
        symlink("../open/link", at("closed/chain")).unwrap();
        assert!(is_refused(&at("closed/chain")), "on the way to the program");
        symlink(at("closed"), at("open/directory")).unwrap();
        assert!(is_refused(&at("open/directory/program")));
        assert!(is_refused(&at("closed/../open/../closed/../open/link")));

        symlink("program", at("closed/link")).unwrap();
        let real = program.canonicalize().unwrap();
        assert_eq!(secure(&at("closed/link")).unwrap(), Some(real), "it is the program that is executed");
        lchown(at("closed/link"), Some(65_534), None).unwrap();
        assert!(is_refused(&at("closed/link")), "in a sticky directory its owner may exchange it");
    }
}
