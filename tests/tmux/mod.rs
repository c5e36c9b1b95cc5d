//! Terminal emulator: a separate tmux server, which ends with the test.
#![allow(dead_code)] // each test binary uses its part

use nix::unistd::Pid;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time limit of each wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal that runs a command, then a shell.
pub(crate) struct Terminal {
    /// Name of the tmux server, unique to the test.
    server: String,
}

impl Terminal {
    /// Runs a shell command in a terminal of `(width, height)`.
    pub(crate) fn running(command: &str, (width, height): (usize, usize)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let terminal = Self { server: format!("directrix-{}-{number}", std::process::id()) };
        let shell = format!("{command}; PS1= exec sh");
        let size = [width.to_string(), height.to_string()];
        let start =
            ["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "sh", "-c", &shell];
        terminal.tmux(&start);
        terminal
    }

    /// Presses keys by tmux's names.
    pub(crate) fn keys(&self, keys: &str) {
        let keys: Vec<_> = keys.split_whitespace().collect();
        self.tmux(&[&["send-keys"], &keys[..]].concat());
    }

    pub(crate) fn resize(&self, (width, height): (usize, usize)) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Returns the process of the command, the only child of the shell.
    pub(crate) fn child(&self) -> Pid {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        Pid::from_raw(children.trim().parse().expect("the shell has one child"))
    }

    pub(crate) fn cursor_is_shown(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{cursor_flag}"]).trim() == "1"
    }

    /// Waits until the screen shows `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen meets a condition; returns the screen.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "never seen: {what}\n{screen}");
            sleep(Duration::from_millis(20));
        }
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        assert!(status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.server]).args(arguments);
        command
            .env_remove("TMUX")
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).stderr(Stdio::null()).status();
    }
}
