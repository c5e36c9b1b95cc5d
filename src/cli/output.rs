//! Output to a file that the user names, or to standard output.

use crate::model::Diagnostic;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// Action for a path that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfExists {
    /// Fail and leave it unchanged.
    Refuse,
    /// Replace a regular file atomically; write to a device or a FIFO.
    Replace,
}

/// Writes `text` to `path` as [`write`] does.
///
/// # Errors
/// [`Diagnostic`] with the path.
pub(super) fn write_file(path: &Path, text: &str, if_exists: IfExists) -> Result<(), Diagnostic> {
    write(path, text, if_exists).map_err(|error| unwritable(&path.display().to_string(), &error))
}

/// Writes `text` to `path`. A symbolic link is followed; a replaced file keeps its permissions and owner.
///
/// # Errors
/// The path exists and must not be replaced, or writing failed. A failure leaves no new file behind.
fn write(path: &Path, text: &str, if_exists: IfExists) -> io::Result<()> {
    let old = path.canonicalize().and_then(|old| Ok((fs::metadata(&old)?, old)));
    match (old, if_exists) {
        (Ok((metadata, old)), IfExists::Replace) if metadata.is_file() => replace(&old, &metadata, text),
        (Ok(_), IfExists::Replace) => File::options().write(true).open(path)?.write_all(text.as_bytes()),
        // A link to a missing file creates it.
        (Err(_), IfExists::Replace) if path.is_symlink() => File::create(path)?.write_all(text.as_bytes()),
        _ => {
            let mut file = File::create_new(path)?;
            file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path)))
        }
    }
}

/// Writes a new file next to the old one and renames it over the old one.
fn replace(old: &Path, metadata: &Metadata, text: &str) -> io::Result<()> {
    let mut new = old.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    // Private until the old file's mode is set, which may be as strict.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    let replaced = file.write_all(text.as_bytes()).and_then(|()| {
        let _ = chown(&new, Some(metadata.uid()), Some(metadata.gid())); // fails without CAP_CHOWN
        fs::set_permissions(&new, Permissions::from_mode(metadata.mode() & 0o7777))?;
        file.sync_all()?; // a crash after the rename must not leave an empty file
        fs::rename(&new, old)
    });
    replaced.inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Prints `text` to standard output. A reader that closes the pipe (`| head -1`) is not an error.
///
/// # Errors
/// Writing failed for another reason.
pub(super) fn print_all(text: &str) -> Result<(), Diagnostic> {
    let mut out = BufWriter::new(io::stdout().lock());
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable("the output", &error)),
        _ => Ok(()),
    }
}

/// Error of an output that cannot be written.
pub(super) fn unwritable(output: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::io(format!("{output} cannot be written"), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::path::PathBuf;
    use tempfile::{TempDir, tempdir};

    fn temporary_path() -> (TempDir, PathBuf) {
        let dir = tempdir().unwrap();
        let path = dir.path().join("d.toml");
        (dir, path)
    }

    fn count(dir: &TempDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    #[test]
    fn replaced_file_keeps_mode_and_owner() {
        let (dir, path) = temporary_path();
        write(&path, "a long first text", IfExists::Replace).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let owned = chown(&path, Some(65534), Some(65534)).is_ok(); // root can
        write(&path, "second", IfExists::Replace).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        assert_eq!((metadata.uid(), metadata.gid()) == (65534, 65534), owned);
        assert_eq!(count(&dir), 1);
    }

    #[test]
    fn symlink_stays_and_its_target_is_written() {
        let (dir, path) = temporary_path();
        let link = dir.path().join("link");
        symlink("d.toml", &link).unwrap();
        for text in ["made", "replaced"] {
            write(&link, text, IfExists::Replace).unwrap();
            assert!(link.is_symlink() && !path.is_symlink());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(count(&dir), 2);
    }

    #[test]
    fn device_and_fifo_are_written_not_replaced() {
        let full = Path::new("/dev/full");
        let refused = write(full, "text", IfExists::Replace).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(fs::metadata(full).unwrap().file_type().is_char_device());
        let (dir, path) = temporary_path();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).unwrap()
        });
        write(&path, "text", IfExists::Replace).unwrap();
        assert_eq!(reader.join().unwrap(), "text");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
        assert_eq!(count(&dir), 1);
    }

    #[test]
    fn existing_file_is_refused_without_replace() {
        let (_dir, path) = temporary_path();
        write(&path, "first", IfExists::Refuse).unwrap();
        let refused = write(&path, "second", IfExists::Refuse).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    }
}
