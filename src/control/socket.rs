//! The control socket as a file: created for root alone, never taken from a living director,
//! removed only by whom it belongs to.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind as bind_to, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::Gid;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest path that fits `sun_path` with its closing zero, in bytes (unix(7)).
pub const PATH_MAX: usize = 107;

/// Clients that may wait to be accepted; more are told to try again.
const BACKLOG: i32 = 1024;
/// How long two directors that start at once wait for each other.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Why the control socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A director listens there.
    #[error("another directrix listens on {}; stop it or use --socket", .0.display())]
    Live(PathBuf),
    /// Something else is there.
    #[error("{} is there and is no socket; move it away or use --socket", .0.display())]
    NotSocket(PathBuf),
    /// More than [`PATH_MAX`] bytes.
    #[error("the socket path {} has {} bytes, the system allows {PATH_MAX}; use a shorter one with --socket",
            .0.display(), .0.as_os_str().len())]
    TooLong(PathBuf),
    /// Empty, a directory, or with a zero byte in it.
    #[error("{:?} cannot name a socket; give a file's path with --socket", .0)]
    NoName(PathBuf),
    /// Another process holds the directory's lock.
    #[error("{} is locked by another process; wait for it or use --socket", .0.display())]
    Locked(PathBuf),
    /// The system refused.
    #[error("{what} {}: {cause}; make it possible or use --socket", .path.display())]
    System {
        /// What was tried: "creating the directory".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl BindError {
    /// True if the path itself is wrong.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::NotSocket(_) | Self::TooLong(_) | Self::NoName(_))
    }
}

/// A listening control socket. Dropping it removes the file, if it still is this socket's.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file; not reused while the socket is open.
    identity: (u64, u64),
    /// The directory, if it was made for this socket.
    made: Option<PathBuf>,
}

impl ControlSocket {
    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the members of a group connect, too.
    ///
    /// # Errors
    /// [`BindError::System`]; root alone may connect then.
    pub fn admit(&self, group: Gid) -> Result<(), BindError> {
        let refused = |cause| failed("giving to the group", &self.path, cause);
        std::os::unix::fs::chown(&self.path, None, Some(group.as_raw())).map_err(refused)?;
        fs::set_permissions(&self.path, Permissions::from_mode(0o660)).map_err(refused)
    }

    /// Gives the directory to a user and group who are to remove the socket in the end. One that was
    /// there before stays whose it is; the socket then stays too, until the next start replaces it.
    ///
    /// # Errors
    /// [`BindError::System`] if the system refuses.
    pub fn give_directory(&self, (user, group): (u32, u32)) -> Result<(), BindError> {
        let Some(directory) = &self.made else { return Ok(()) };
        let given = std::os::unix::fs::chown(directory, Some(user), Some(group));
        given.map_err(|cause| failed("changing the owner of", directory, cause))
    }

    /// A second handle on the listener, non-blocking. The file stays with `self`.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`, with mode 0600 from the first instant. A missing directory is created
/// (0755), a socket that nobody listens on is replaced.
///
/// # Errors
/// [`BindError`], with what to do about it; nothing has been changed then but the directory.
pub fn bind(path: &Path) -> Result<ControlSocket, BindError> {
    let address = address(path)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let made = create_directory(directory)?.then(|| directory.to_owned());
    let _lock = lock(directory)?;
    make_way(path)?;
    let listener = create(&address).map_err(|errno| failed("listening on", path, errno.into()))?;
    let identity = identity(path).map_err(|cause| failed("looking at", path, cause))?;
    Ok(ControlSocket { listener, path: path.to_owned(), identity, made })
}

fn address(path: &Path) -> Result<UnixAddr, BindError> {
    let bytes = path.as_os_str().as_bytes();
    if path.file_name().is_none() || bytes.ends_with(b"/") || bytes.contains(&0) {
        return Err(BindError::NoName(path.to_owned()));
    }
    UnixAddr::new(path)
        .ok()
        .filter(|_| bytes.len() <= PATH_MAX)
        .ok_or_else(|| BindError::TooLong(path.to_owned()))
}

/// True if it was not there.
fn create_directory(directory: &Path) -> Result<bool, BindError> {
    let is_new = !directory.exists();
    let builder = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    builder.map(|()| is_new).map_err(|cause| failed("creating the directory", directory, cause))
}

/// Keeps two directors from both finding the same stale socket, so that the slower one does not
/// remove what the faster one has just created.
fn lock(directory: &Path) -> Result<Flock<File>, BindError> {
    let deadline = Instant::now() + LOCK_WAIT;
    let mut file = File::open(directory).map_err(|cause| failed("opening", directory, cause))?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= deadline => {
                return Err(BindError::Locked(directory.to_owned()));
            }
            Err((same, Errno::EWOULDBLOCK | Errno::EINTR)) => file = same,
            Err((_, errno)) => return Err(failed("locking", directory, errno.into())),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes a stale socket.
fn make_way(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed("looking at", path, cause)),
        Ok(file) if !file.file_type().is_socket() => Err(BindError::NotSocket(path.to_owned())),
        Ok(_) if is_live(path)? => Err(BindError::Live(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(|cause| failed("removing the stale", path, cause)),
    }
}

/// A socket that nobody listens on refuses; one whose queue is full is busy, not dead.
fn is_live(path: &Path) -> Result<bool, BindError> {
    match connect_now(path) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED) => Ok(false),
        Err(errno) => Err(failed("connecting to", path, errno.into())),
    }
}

/// Connects without waiting for a place in the queue.
fn connect_now(path: &Path) -> Result<UnixStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket.into())
}

/// Linux gives the file the mode of the socket itself, less the umask (`unix_bind_bsd` in
/// net/unix/af_unix.c): set before bind(2), there is no moment in which others may connect.
fn create(address: &UnixAddr) -> Result<UnixListener, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind_to(socket.as_raw_fd(), address)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

fn failed(what: &'static str, path: &Path, cause: io::Error) -> BindError {
    BindError::System { what, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_socket_is_roots_alone_and_goes_with_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run/directrix/control.sock");
        let socket = bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
        assert_eq!(socket.path(), path);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_group_that_is_admitted_may_connect() {
        let place = tempfile::tempdir().unwrap();
        let socket = bind(&place.path().join("control.sock")).unwrap();
        socket.admit(Gid::from_raw(4711)).unwrap();
        assert_eq!((mode(socket.path()), fs::metadata(socket.path()).unwrap().gid()), (0o660, 4711));
    }

    #[test]
    fn only_a_directory_that_was_made_for_the_socket_is_given_away() {
        let place = tempfile::tempdir().unwrap();
        let [made, found] = ["made", "found"].map(|name| place.path().join(name));
        fs::create_dir(&found).unwrap();
        for (directory, owner) in [(&made, 4711), (&found, nix::unistd::geteuid().as_raw())] {
            bind(&directory.join("control.sock")).unwrap().give_directory((4711, 4711)).unwrap();
            assert_eq!(fs::metadata(directory).unwrap().uid(), owner, "{}", directory.display());
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener that died leaves its file");
        let socket = bind(&path).unwrap();
        let refused = bind(&path).unwrap_err();
        assert!(matches!(refused, BindError::Live(_)));
        let message = refused.to_string();
        assert!(message.contains("another directrix listens on") && message.contains("--socket"));
        assert!(UnixStream::connect(&path).is_ok(), "the live socket is left as it was");
        drop(socket);
    }

    #[test]
    fn a_file_that_replaced_the_socket_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let first = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_refused_and_kept() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = place.path().join("link");
        symlink(&file, &link).unwrap();
        for path in [&file, &link, &place.path().to_owned()] {
            assert!(matches!(bind(path), Err(BindError::NotSocket(_))), "{}", path.display());
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn a_path_may_have_107_bytes() {
        let place = tempfile::tempdir().unwrap();
        let room = PATH_MAX - place.path().as_os_str().len() - 1;
        let fits = place.path().join("s".repeat(room));
        drop(bind(&fits).unwrap());
        let long = place.path().join("s".repeat(room + 1));
        let refused = bind(&long).unwrap_err();
        assert!(matches!(refused, BindError::TooLong(_)));
        assert!(refused.to_string().contains("has 108 bytes"), "{refused}");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "/", "..", "sockets/", "a\0b"] {
            assert!(matches!(bind(Path::new(name)), Err(BindError::NoName(_))), "{name:?}");
        }
    }

    #[test]
    fn of_many_that_start_at_once_on_a_stale_socket_one_wins() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let results: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| bind(&path))).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        let live = |result: &&Result<_, _>| matches!(result, Err(BindError::Live(_)));
        assert_eq!(results.iter().filter(live).count(), 7);
    }
}
