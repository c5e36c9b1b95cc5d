//! Writing a file that a user names: whole or not at all, and as what it was before.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// What is done where something is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfThere {
    /// Nothing: it stays.
    Refuse,
    /// A file is replaced as a whole, and stays as it is if that fails; to a device or a FIFO it is written.
    Replace,
}

/// Writes `text` to `path`. A link is followed; a file that is replaced keeps its permissions and owner.
///
/// # Errors
/// It cannot be written, or must not. No new file is left behind then.
pub(super) fn write(path: &Path, text: &str, if_there: IfThere) -> io::Result<()> {
    let old = path.canonicalize().and_then(|old| Ok((fs::metadata(&old)?, old)));
    match (old, if_there) {
        (Ok((metadata, old)), IfThere::Replace) if metadata.is_file() => replace(&old, &metadata, text),
        (Ok(_), IfThere::Replace) => File::options().write(true).open(path)?.write_all(text.as_bytes()),
        // A link to what is not there yet.
        (Err(_), IfThere::Replace) if path.is_symlink() => File::create(path)?.write_all(text.as_bytes()),
        _ => {
            let mut file = File::create_new(path)?;
            file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path)))
        }
    }
}

/// Puts a new file in the place of an old one.
fn replace(old: &Path, metadata: &Metadata, text: &str) -> io::Result<()> {
    let mut new = old.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    // Nobody else's to read before it is known to be: the old one may not have been.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    let replaced = file.write_all(text.as_bytes()).and_then(|()| {
        let _ = chown(&new, Some(metadata.uid()), Some(metadata.gid())); // who is not root cannot
        fs::set_permissions(&new, Permissions::from_mode(metadata.mode() & 0o7777))?;
        file.sync_all()?; // else a crash may leave the new name without the text
        fs::rename(&new, old)
    });
    replaced.inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::path::PathBuf;
    use tempfile::{TempDir, tempdir};

    fn place() -> (TempDir, PathBuf) {
        let dir = tempdir().unwrap();
        let path = dir.path().join("d.toml");
        (dir, path)
    }

    fn count(dir: &TempDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_owner() {
        let (dir, path) = place();
        write(&path, "a long first text", IfThere::Replace).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let owned = chown(&path, Some(65534), Some(65534)).is_ok(); // root can
        write(&path, "second", IfThere::Replace).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        assert_eq!((metadata.uid(), metadata.gid()) == (65534, 65534), owned);
        assert_eq!(count(&dir), 1);
    }

    #[test]
    fn a_link_stays_and_its_file_is_written() {
        let (dir, path) = place();
        let link = dir.path().join("link");
        symlink("d.toml", &link).unwrap();
        for text in ["made", "replaced"] {
            write(&link, text, IfThere::Replace).unwrap();
            assert!(link.is_symlink() && !path.is_symlink());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(count(&dir), 2);
    }

    #[test]
    fn a_device_and_a_fifo_are_written_to_and_stay() {
        let full = Path::new("/dev/full");
        let refused = write(full, "text", IfThere::Replace).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(fs::metadata(full).unwrap().file_type().is_char_device());
        let (dir, path) = place();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).unwrap()
        });
        write(&path, "text", IfThere::Replace).unwrap();
        assert_eq!(reader.join().unwrap(), "text");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
        assert_eq!(count(&dir), 1);
    }

    #[test]
    fn what_is_there_stays_unless_it_may_be_replaced() {
        let (_dir, path) = place();
        write(&path, "first", IfThere::Refuse).unwrap();
        let refused = write(&path, "second", IfThere::Refuse).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    }
}
