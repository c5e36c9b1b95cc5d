//! Readiness notification of a process, by the protocol of sd_notify(3).

use super::Interrupt;
use crate::model::Diagnostic;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// Notification socket for one process. Dropping it removes the socket.
#[derive(Debug)]
pub struct Readiness {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Readiness {
    /// Listens at `path`, the `NOTIFY_SOCKET` of the process.
    ///
    /// # Errors
    /// `System` if the socket cannot be created.
    pub fn listen(path: PathBuf) -> Result<Self, Diagnostic> {
        let failed = |error: std::io::Error| Diagnostic::io(path.display().to_string(), &error);
        let socket = UnixDatagram::bind(&path).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { socket, path })
    }

    /// Waits for `READY=1`. `Ok(false)` if the child ends first or `timeout` expires.
    ///
    /// # Errors
    /// `Interrupted`, or `System` on a socket error.
    pub fn wait(
        &self,
        child: &mut Child,
        interrupt: &Interrupt,
        timeout: Duration,
    ) -> Result<bool, Diagnostic> {
        let found = interrupt.wait(timeout, || {
            if self.is_ready()? {
                return Ok(Some(true));
            }
            let ended = child.try_wait().map_err(|error| Diagnostic::io("waiting for a process", &error))?;
            Ok(ended.map(|_| false))
        })?;
        Ok(found.unwrap_or(false))
    }

    fn is_ready(&self) -> Result<bool, Diagnostic> {
        let mut text = [0; 1024];
        match self.socket.recv(&mut text) {
            Ok(length) => Ok(text[..length].split(|b| *b == b'\n').any(|line| line == b"READY=1")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(Diagnostic::io(self.path.display().to_string(), &error)),
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn sleeping(seconds: &str) -> Child {
        Command::new("sleep").arg(seconds).spawn().unwrap()
    }

    #[test]
    fn ready_is_one_line_among_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let readiness = Readiness::listen(path.clone()).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"STATUS=READY=1 soon", &path).unwrap();
        sender.send_to(b"STATUS=serving\nREADY=1\n", &path).unwrap();
        let mut child = sleeping("60");
        let ready = readiness.wait(&mut child, &Interrupt::never(), Duration::from_secs(5));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ready, Ok(true));
        drop(readiness);
        assert!(!path.exists());
    }

    #[test]
    fn early_end_is_detected() {
        let directory = tempfile::tempdir().unwrap();
        let readiness = Readiness::listen(directory.path().join("ready")).unwrap();
        let ready = readiness.wait(&mut sleeping("0"), &Interrupt::never(), Duration::from_secs(60));
        assert_eq!(ready, Ok(false));
    }
}
