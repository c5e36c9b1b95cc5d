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
    the_watchdog_is_told_nothing_while_a_worker_stands_still
}

/// The control loop looks every 2 s, so this is three looks.
const LOOKS: Duration = Duration::from_secs(6);

fn the_watchdog_is_told_nothing_while_a_worker_stands_still(backend: &str) {
    let deployment = Deployment::reference();
    let text = Config::new(backend).with("workers = 1").text(&deployment);
    let director = Director::spawn(Home::new(), &deployment.director, &text, "env WATCHDOG_USEC=30000000");
    wait_until_told(&director, 3);

    let held = Held::hold(thread(director.pid(), "worker-0"));
    wait_until("it is noticed", PATIENCE, || director.logged("worker stalled") == 1);
    while director.notification().is_some() {}
    sleep(LOOKS);
    assert_eq!(director.notification(), None);
    assert!(director.ask("ipvsadm -Ln").contains("TCP  192.168.195.150:80 wlc"), "control goes on");

    drop(held);
    wait_until_told(&director, 3);
    assert_eq!(director.logged("worker stalled"), 1, "once for each time that it stands");
}

/// Waits until so many signs of life have come.
fn wait_until_told(director: &Director, times: usize) {
    let mut told = 0;
    wait_until("signs of life", PATIENCE, || {
        told += usize::from(director.notification().is_some_and(|text| text.starts_with("WATCHDOG=1")));
        told == times
    });
}

/// The thread of that name.
fn thread(process: u32, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(Result::unwrap);
    let named = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap().trim() == name;
    let task = tasks.into_iter().find(named).unwrap_or_else(|| panic!("there is no thread {name}"));
    Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap())
}

/// A thread that stands still, alone of its process, until this is dropped or the test's thread ends.
struct Held(Pid);

impl Held {
    fn hold(thread: Pid) -> Self {
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}
