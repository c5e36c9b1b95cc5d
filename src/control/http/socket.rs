//! The control socket's file: mode 0600 at first, then opened to the users with a right.
//!
//! A running director's socket is never replaced, and only the owner of a socket removes its file.

use crate::control::api::{self, SOCKET_PATH_MAX};
use crate::control::host::access::Access;
use crate::model::{ControlOthers, Diagnostic, DiagnosticKind};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind as bind_to, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Length of the accept queue; further clients get EAGAIN.
const BACKLOG: i32 = 1024;
/// Timeout of the directory lock, which serializes directors that start at once.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A listening control socket. Dropping it removes its file, unless another socket has replaced it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file; not reused while the socket is open.
    identity: (u64, u64),
    /// Directories created for this socket, the innermost first.
    created: Vec<PathBuf>,
    access: Access,
}

impl ControlSocket {
    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the access rights that its mode follows.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Opens the socket to the users with a right: by the file's mode, and by the mode of directories created for it.
    ///
    /// The mode of other directories stays; if it excludes `control_others`, a warning is logged.
    ///
    /// # Errors
    /// If the system refuses; only its owner and root can connect then.
    pub fn set_access(&mut self, access: &Access) -> Result<(), Diagnostic> {
        let mode = access.mode();
        if mode == 0o600 {
            return Ok(());
        }
        // mkdir(2) has applied the umask, which is often 0077 for services.
        self.created.iter().try_for_each(|directory| set_mode(directory, 0o755))?;
        if let (0o660, Some((id, name))) = (mode, &access.group) {
            self.give_to_group(*id, name)?; // mode 0666 admits members anyway
        }
        set_mode(&self.path, mode)?;
        self.access = access.clone();
        let closed = self.closed();
        if access.others == ControlOthers::Read && !closed.is_empty() {
            let names: Vec<_> = closed.iter().map(|directory| directory.display().to_string()).collect();
            let remedy = format!("chmod o+x {}, or use --socket", names.join(" "));
            tracing::warn!(
                remedy,
                "control_others = \"read\" has no effect: others cannot enter the socket's directory"
            );
        }
        Ok(())
    }

    fn give_to_group(&self, id: u32, name: &str) -> Result<(), Diagnostic> {
        // Only root and members may give a file to a group.
        lchown(&self.path, None, Some(id)).map_err(|cause| {
            Diagnostic::system(format!("{} cannot be given to control_group {name:?}", self.path.display()))
                .cause(cause.to_string())
                .remedy(format!(
                    "make the user that starts the director a member of it (systemd: SupplementaryGroups={name})"
                ))
        })
    }

    /// Returns the directories of the path that other users cannot enter, the outermost first.
    fn closed(&self) -> Vec<PathBuf> {
        let Ok(directory) = fs::canonicalize(parent(&self.path)) else { return Vec::new() };
        let is_closed =
            |directory: &&Path| fs::metadata(directory).is_ok_and(|found| found.mode() & 0o001 == 0);
        let mut closed: Vec<_> = directory.ancestors().filter(is_closed).map(Path::to_owned).collect();
        closed.reverse();
        closed
    }

    /// Opens a new socket at the same path with the same access, if the file was deleted or replaced; else `None`.
    ///
    /// Does not wait. A socket in use stays.
    pub(in crate::control) fn recreate(&self) -> Option<Result<Self, Diagnostic>> {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            return None;
        }
        Some(bind_within(&self.path, Duration::ZERO).and_then(|mut socket| {
            socket.set_access(&self.access)?;
            Ok(socket)
        }))
    }

    /// Changes the owner of the socket to `user`, and of a directory created for it to `user` and `group`.
    ///
    /// The user can remove the socket at the end only in such a directory; elsewhere it stays until the next start.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn set_owner(&self, user: u32, group: u32) -> Result<(), Diagnostic> {
        let refused = |path: &Path, cause| failed("changing the owner of", path, cause);
        lchown(&self.path, Some(user), None).map_err(|cause| refused(&self.path, cause))?;
        let Some(directory) = self.created.first() else { return Ok(()) };
        lchown(directory, Some(user), Some(group)).map_err(|cause| refused(directory, cause))
    }

    /// Returns a copy of the listener for the next process; `None` if the file was deleted or replaced.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub(in crate::control) fn passed(&self) -> io::Result<Option<OwnedFd>> {
        let is_own = identity(&self.path).is_ok_and(|now| now == self.identity);
        is_own.then(|| Ok(self.listener.try_clone()?.into())).transpose()
    }

    /// Takes over the listener of the process before. Its file and directory have the access that this one gave them.
    ///
    /// # Errors
    /// If there is no such file.
    pub(in crate::control) fn adopt(listener: OwnedFd, path: &Path) -> io::Result<Self> {
        // Again, so that clients see the credentials of this process (SO_PEERCRED, unix(7)).
        listen(&listener, Backlog::new(BACKLOG)?)?;
        let (listener, identity) = (UnixListener::from(listener), identity(path)?);
        Ok(Self { listener, path: path.to_owned(), identity, created: Vec::new(), access: Access::default() })
    }

    /// Ends without a change of the file, for another process that has taken the listener over.
    pub(in crate::control) fn leave(mut self) {
        self.identity = (0, 0); // of no file
    }

    /// Duplicates the non-blocking listener. The file stays with `self`.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub(in crate::control) fn listener(&self) -> io::Result<UnixListener> {
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

/// Listens on `path`, with mode 0600 from the start.
///
/// A missing directory is created with mode 0755; a stale socket is replaced.
///
/// # Errors
/// [`DiagnosticKind::InvalidSocketPath`], [`DiagnosticKind::SocketPathInUse`], or the system refuses; at most the
/// directory has been created then.
pub fn bind(path: &Path) -> Result<ControlSocket, Diagnostic> {
    bind_within(path, LOCK_WAIT)
}

/// Does [`bind`] with a timeout of the directory lock.
fn bind_within(path: &Path, lock_timeout: Duration) -> Result<ControlSocket, Diagnostic> {
    let address = address(path)?;
    let directory = parent(path);
    let created = create_directory(directory)?;
    let _lock = lock(directory, lock_timeout)?;
    remove_stale(path)?;
    let listener = create(&address).map_err(|errno| failed("listening on", path, errno.into()))?;
    let identity = identity(path).map_err(|cause| failed("looking at", path, cause))?;
    Ok(ControlSocket { listener, path: path.to_owned(), identity, created, access: Access::default() })
}

/// Returns the directory of a path.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn address(path: &Path) -> Result<UnixAddr, Diagnostic> {
    let bytes = path.as_os_str().as_bytes();
    if path.file_name().is_none() || bytes.ends_with(b"/") || bytes.contains(&0) {
        return Err(invalid_path(
            format!("{path:?} cannot name a socket"),
            "give a file's path with --socket",
        ));
    }
    match UnixAddr::new(path) {
        Ok(address) if bytes.len() <= SOCKET_PATH_MAX => Ok(address),
        _ => Err(api::path_too_long(path).remedy("use a shorter one with --socket")),
    }
}

/// Creates a directory with its parents; returns the created ones, the innermost first.
fn create_directory(directory: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let new = directory.ancestors().take_while(|one| !one.as_os_str().is_empty() && !one.exists());
    let new = new.map(Path::to_owned).collect();
    let builder = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    builder.map(|()| new).map_err(|cause| failed("creating the directory", directory, cause))
}

/// Locks the directory: of two directors that find the same stale socket, the slower must not remove the new one.
fn lock(directory: &Path, timeout: Duration) -> Result<Flock<File>, Diagnostic> {
    let deadline = Instant::now() + timeout;
    let mut file = File::open(directory).map_err(|cause| failed("opening", directory, cause))?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= deadline => {
                return Err(Diagnostic::system(format!(
                    "{} is locked by another process",
                    directory.display()
                ))
                .remedy("wait for it or use --socket"));
            }
            Err((same, Errno::EWOULDBLOCK | Errno::EINTR)) => file = same,
            Err((_, errno)) => return Err(failed("locking", directory, errno.into())),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes a stale socket; fails if the path is in use.
fn remove_stale(path: &Path) -> Result<(), Diagnostic> {
    match fs::symlink_metadata(path) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed("looking at", path, cause)),
        Ok(file) if !file.file_type().is_socket() => {
            let what = format!("{} is there and is not a socket", path.display());
            Err(in_use(what, "move it away or use --socket"))
        }
        Ok(_) if is_live(path)? => {
            let what = format!("another directrix listens on {}", path.display());
            Err(in_use(what, "stop it or use --socket"))
        }
        Ok(_) => fs::remove_file(path).map_err(|cause| failed("removing the stale", path, cause)),
    }
}

/// Returns true if a process listens on the socket: connect(2) succeeds, or fails because the queue is full.
fn is_live(path: &Path) -> Result<bool, Diagnostic> {
    match connect_now(path) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED) => Ok(false),
        Err(errno) => Err(failed("connecting to", path, errno.into())),
    }
}

/// Connects without waiting.
fn connect_now(path: &Path) -> Result<UnixStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket.into())
}

/// Creates the listener with mode 0600 before bind(2), so that other users can never connect.
///
/// Linux gives the file the mode of the socket less the umask (`unix_bind_bsd` in net/unix/af_unix.c).
fn create(address: &UnixAddr) -> Result<UnixListener, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind_to(socket.as_raw_fd(), address)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Diagnostic> {
    let set = fs::set_permissions(path, Permissions::from_mode(mode));
    set.map_err(|cause| failed("changing the mode of", path, cause))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// The error of a system call for `path`. `what` names the step: "creating the directory".
pub(super) fn failed(what: &str, path: &Path, cause: io::Error) -> Diagnostic {
    Diagnostic::system(format!("{what} {}", path.display()))
        .cause(cause.to_string())
        .remedy("make it possible or use --socket")
}

fn invalid_path(what: String, remedy: &str) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::InvalidSocketPath, what).remedy(remedy)
}

fn in_use(what: String, remedy: &str) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::SocketPathInUse, what).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn drop_removes_the_socket_of_mode_0600() {
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
    fn mode_and_group_follow_the_access_rights() {
        let own = nix::unistd::getegid().as_raw();
        let group = || Some((4711, "operators".to_owned()));
        for (group, others, wanted) in [
            (None, ControlOthers::Nothing, (0o600, own)),
            (group(), ControlOthers::Nothing, (0o660, 4711)),
            (None, ControlOthers::Read, (0o666, own)),
            (group(), ControlOthers::Read, (0o666, own)),
        ] {
            let place = tempfile::tempdir().unwrap();
            let mut socket = bind(&place.path().join("control.sock")).unwrap();
            let access = Access { group, others };
            socket.set_access(&access).unwrap();
            assert_eq!((mode(socket.path()), fs::metadata(socket.path()).unwrap().gid()), wanted);
            assert_eq!(socket.access(), &access);
        }
    }

    #[test]
    fn created_directories_are_opened_and_others_reported() {
        let place = tempfile::tempdir().unwrap();
        let found = place.path().join("found");
        fs::create_dir(&found).unwrap();
        let [outer, inner] = [found.join("run"), found.join("run/directrix")];
        let mut socket = bind(&inner.join("control.sock")).unwrap();
        let close = |directory: &Path| fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
        [place.path(), &found, &outer, &inner].into_iter().for_each(close); // as by the umask 0077
        assert!(socket.closed().ends_with(&[place.path(), &found, &outer, &inner].map(Path::to_owned)));
        socket.set_access(&Access::default()).unwrap();
        assert_eq!(
            [&found, &outer, &inner].map(|directory| mode(directory)),
            [0o700; 3],
            "other users have no right"
        );
        socket.set_access(&Access { group: None, others: ControlOthers::Read }).unwrap();
        assert_eq!([&found, &outer, &inner].map(|directory| mode(directory)), [0o700, 0o755, 0o755]);
        assert!(socket.closed().ends_with(&[place.path(), &found].map(Path::to_owned)));
    }

    #[test]
    fn owner_changes_for_socket_and_created_directory() {
        let place = tempfile::tempdir().unwrap();
        let [made, found] = ["made", "found"].map(|name| place.path().join(name));
        fs::create_dir(&found).unwrap();
        for (directory, owner) in [(&made, 4711), (&found, nix::unistd::geteuid().as_raw())] {
            let socket = bind(&directory.join("control.sock")).unwrap();
            socket.set_owner(4711, 4711).unwrap();
            assert_eq!(fs::metadata(directory).unwrap().uid(), owner, "{}", directory.display());
            assert_eq!(fs::metadata(socket.path()).unwrap().uid(), 4711);
        }
    }

    #[test]
    fn stale_socket_is_replaced_and_live_one_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener that died leaves its file");
        let socket = bind(&path).unwrap();
        let refused = bind(&path).unwrap_err();
        assert_eq!(refused.kind, DiagnosticKind::SocketPathInUse);
        let message = refused.to_string();
        assert!(message.contains("another directrix listens on") && message.contains("--socket"));
        assert!(UnixStream::connect(&path).is_ok(), "the live socket is left as it was");
        drop(socket);
    }

    #[test]
    fn drop_keeps_a_file_that_replaced_the_socket() {
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
    fn deleted_socket_is_recreated_with_the_same_access() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run/control.sock");
        let mut first = bind(&path).unwrap();
        first.set_access(&Access { group: None, others: ControlOthers::Read }).unwrap();
        assert!(first.recreate().is_none(), "it is there");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        let second = first.recreate().unwrap().unwrap();
        assert_eq!((mode(&path), second.access()), (0o666, first.access()));
        drop(first);
        assert!(UnixStream::connect(&path).is_ok() && second.recreate().is_none());
    }

    #[test]
    fn recreation_keeps_a_replacement() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let first = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = bind(&path).unwrap();
        let refused = first.recreate().unwrap().unwrap_err();
        assert!(refused.what.contains("another directrix listens on"), "{refused}");
        assert!(UnixStream::connect(&path).is_ok() && other.recreate().is_none());
        drop(other);
        fs::write(&path, "precious").unwrap();
        let refused = first.recreate().unwrap().unwrap_err();
        assert!(refused.what.contains("is not a socket"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        assert!(matches!(first.recreate(), Some(Ok(_))));
    }

    #[test]
    fn other_files_are_refused_and_kept() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = place.path().join("link");
        symlink(&file, &link).unwrap();
        for path in [&file, &link, &place.path().to_owned()] {
            let refused = bind(path).unwrap_err();
            assert!(refused.what.contains("is not a socket"), "{refused}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn a_path_may_have_107_bytes() {
        let place = tempfile::tempdir().unwrap();
        let room = SOCKET_PATH_MAX - place.path().as_os_str().len() - 1;
        let fits = place.path().join("s".repeat(room));
        drop(bind(&fits).unwrap());
        let long = place.path().join("s".repeat(room + 1));
        let refused = bind(&long).unwrap_err();
        assert_eq!(refused.kind, DiagnosticKind::InvalidSocketPath);
        assert!(refused.to_string().contains("has 108 bytes"), "{refused}");
    }

    #[test]
    fn invalid_names_are_refused() {
        for name in ["", "/", "..", "sockets/", "a\0b"] {
            let refused = bind(Path::new(name)).unwrap_err();
            assert_eq!(refused.kind, DiagnosticKind::InvalidSocketPath, "{refused}");
        }
    }

    #[test]
    fn one_of_many_concurrent_binds_wins() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let results: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| bind(&path))).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        let errors = results.iter().filter_map(|result| result.as_ref().err());
        assert_eq!(errors.filter(|error| error.what.contains("another directrix listens on")).count(), 7);
    }
}
