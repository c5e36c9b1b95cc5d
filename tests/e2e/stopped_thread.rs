//! One thread of a process, stopped while the others run on.

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;

/// A thread stopped by ptrace until this is dropped or the test's thread ends.
pub(crate) struct StoppedThread(Pid);

impl StoppedThread {
    /// Stops the thread named `name` of a process.
    pub(crate) fn stop(process: u32, name: &str) -> Self {
        let thread = thread(process, name);
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}

fn thread(process: u32, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(Result::unwrap);
    let named = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap().trim() == name;
    let task = tasks.into_iter().find(named).unwrap_or_else(|| panic!("there is no thread {name}"));
    Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap())
}
