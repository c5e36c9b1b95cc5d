//! Watchdog notifications to the service manager.

use crate::deployment::Deployment;
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::PATIENCE;
use crate::support::netns::wait_until;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

on_both_backends! {
    a_stalled_worker_suppresses_watchdog_notifications
}

/// Three periods of the control loop.
const PERIODS: Duration = Duration::from_secs(6);

fn a_stalled_worker_suppresses_watchdog_notifications(backend: &str) {
    let deployment = Deployment::reference();
    let text = Config::new(backend).with("workers = 1").text(&deployment);
    let director = Director::spawn(Home::new(), &deployment.director, &text, "env WATCHDOG_USEC=30000000");
    wait_for_watchdog(&director, 3);

    let stopped = StoppedThread::stop(thread(director.pid(), "worker-0"));
    wait_until("the log event", PATIENCE, || director.logged("worker stalled") == 1);
    while director.notification().is_some() {}
    sleep(PERIODS);
    assert_eq!(director.notification(), None);
    assert!(
        director.cli("ipvsadm -Ln").contains("TCP  192.168.195.150:80 wlc"),
        "the control thread responds"
    );

    drop(stopped);
    wait_for_watchdog(&director, 3);
    assert_eq!(director.logged("worker stalled"), 1, "logged once per stall");
}

/// Waits for `times` watchdog notifications.
fn wait_for_watchdog(director: &Director, times: usize) {
    let mut received = 0;
    wait_until("watchdog notifications", PATIENCE, || {
        received += usize::from(director.notification().is_some_and(|text| text.starts_with("WATCHDOG=1")));
        received == times
    });
}

/// The thread named `name` of a process.
fn thread(process: u32, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(Result::unwrap);
    let named = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap().trim() == name;
    let task = tasks.into_iter().find(named).unwrap_or_else(|| panic!("there is no thread {name}"));
    Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap())
}

/// A thread stopped by ptrace until this is dropped or the test's thread ends; the other threads run on.
struct StoppedThread(Pid);

impl StoppedThread {
    fn stop(thread: Pid) -> Self {
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
