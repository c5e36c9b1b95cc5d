//! Network namespaces that are removed at the end of the test, also if it fails. Needs root.
//!
//! Names contain the process id and a serial number, so tests share nothing.

// Each test binary uses a part of this module.
#![allow(dead_code, unreachable_pub)]

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// Network namespace with loopback up and IPv6 off.
pub struct Netns {
    name: String,
}

impl Netns {
    /// Creates a namespace. `label` has up to four letters, to recognize it on the host.
    pub fn new(label: &str) -> Self {
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("dx{}{label}{number}", std::process::id()) };
        host(&format!("ip netns add {}", namespace.name));
        namespace.run("ip link set dev lo up");
        namespace.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a shell command in the namespace and returns what it printed; panics if it fails.
    pub fn run(&self, command: &str) -> String {
        finish(&mut self.command(command), command)
    }

    /// A shell command in the namespace, which the caller starts. With `exec` the program has the process id of
    /// the command.
    pub fn command(&self, command: &str) -> Command {
        let mut built = Command::new("ip");
        built.args(["netns", "exec", &self.name, "sh", "-c", command]);
        built
    }

    /// Calls `f` on a thread of its own inside the namespace.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace exists");
            setns(file, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
            f()
        };
        match std::thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Joins two namespaces by a veth pair of `queues` queues each way, both ends up.
pub fn veth((a, a_name): (&Netns, &str), (b, b_name): (&Netns, &str), queues: u32) {
    let each = format!("numrxqueues {queues} numtxqueues {queues}");
    a.run(&format!("ip link add {a_name} {each} type veth peer name {b_name} netns {} {each}", b.name));
    for (namespace, name) in [(a, a_name), (b, b_name)] {
        namespace.run(&format!("ip link set dev {name} up"));
        // With offloads a veth passes on unfinished checksums and merged segments.
        namespace.run(&format!("ethtool -K {name} tx off gso off tso off gro off >/dev/null 2>&1 || true"));
    }
}

/// Runs a shell command on the host; panics if it fails.
pub fn host(command: &str) -> String {
    finish(Command::new("sh").args(["-c", command]), command)
}

fn finish(command: &mut Command, text: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{text}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}: {}: {complaint}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A child process that is killed, by its id, when the test ends.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `f` while `work` runs on another thread, until its flag is set.
pub fn beside<T>(work: impl FnOnce(&AtomicBool) + Send, f: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| work(&stop));
        let _stop = Stop(&stop); // also if `f` panics
        f()
    })
}

/// Polls `f` until it is true; panics with `what` after `timeout`.
pub fn wait_until(what: &str, timeout: Duration, mut f: impl FnMut() -> bool) {
    let start = Instant::now();
    while !f() {
        assert!(start.elapsed() < timeout, "not within {timeout:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
