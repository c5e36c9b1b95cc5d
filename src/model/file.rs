//! Bounded reading of user-named files.

use super::{Diagnostic, DiagnosticKind};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Largest file or input in bytes: enough for the maximum of services and servers with all keys.
pub const FILE_MAX: usize = 16 << 20;

/// Reads the whole regular file at `path`. Never blocks, as opening a FIFO would, and reads at most [`FILE_MAX`].
///
/// # Errors
/// The file cannot be opened or read, is a FIFO, a device, a directory or a socket, or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Diagnostic> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file =
        File::options().read(true).custom_flags(flags).open(path).map_err(|cause| read_error(&cause))?;
    // Of what is open: the name may be another file's by now.
    let metadata = file.metadata().map_err(|cause| read_error(&cause))?;
    if !metadata.is_file() {
        return Err(unreadable("this is not a regular file", REGULAR));
    }
    read_input(file)
}

/// Reads `input` to its end.
///
/// # Errors
/// It cannot be read, or has more than [`FILE_MAX`].
pub fn read_input(input: impl Read) -> Result<Vec<u8>, Diagnostic> {
    let mut bytes = Vec::new();
    // A file may grow while it is read, so its size is not used.
    let read = input.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes);
    match read.map_err(|cause| read_error(&cause))? {
        size if size > FILE_MAX => {
            let what = format!("this has more than {} MiB, the most that is read", FILE_MAX >> 20);
            Err(unreadable(what, "name the right file, or leave out what is not needed"))
        }
        _ => Ok(bytes),
    }
}

const REGULAR: &str = "name a regular file";

fn unreadable(what: impl Into<String>, remedy: &str) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::UnreadableFile, what).remedy(remedy)
}

fn read_error(cause: &io::Error) -> Diagnostic {
    match cause.kind() {
        ErrorKind::NotFound => unreadable("there is no such file", "write one, or name another"),
        ErrorKind::PermissionDenied => {
            unreadable("this user may not read the file", "run as root, or chmod it")
        }
        _ => unreadable(format!("this cannot be read: {cause}"), REGULAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::net::UnixListener;
    use tempfile::tempdir;

    fn complaint(path: &Path) -> String {
        read_file(path).unwrap_err().to_string()
    }

    #[test]
    fn non_regular_file_is_refused_at_once() {
        let dir = tempdir().unwrap();
        let [fifo, socket, link] = ["fifo", "socket", "link"].map(|name| dir.path().join(name));
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for path in [&*fifo, &*link, Path::new("/dev/zero"), dir.path()] {
            assert_eq!(
                complaint(path),
                "this is not a regular file; name a regular file",
                "{}",
                path.display()
            );
        }
        assert_eq!(
            complaint(&socket),
            "this cannot be read: No such device or address (os error 6); name a regular file"
        );
    }

    #[test]
    fn links_to_files_are_followed() {
        let dir = tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| dir.path().join(name));
        std::fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_file(&link).as_deref(), Ok(&b"text"[..]));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(complaint(&link), "there is no such file; write one, or name another");
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("large");
        let file = File::create(&path).unwrap();
        let too_large = "this has more than 16 MiB, the most that is read; name the right file, or leave \
                         out what is not needed";
        file.set_len(FILE_MAX as u64).unwrap();
        assert_eq!(read_file(&path).map(|bytes| bytes.len()), Ok(FILE_MAX));
        file.set_len(FILE_MAX as u64 + 1).unwrap();
        assert_eq!(complaint(&path), too_large);
        // It has no end.
        assert_eq!(read_input(io::repeat(b'#')).unwrap_err().to_string(), too_large);
    }
}
