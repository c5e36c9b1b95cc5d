//! An attachment that keeps BPF_PROG_RUN from patching kernel code twice a call.
//!
//! XDP programs are called through a dispatcher of direct jumps. BPF_PROG_RUN with a repeat count adds the program
//! and removes it again. Each change rewrites kernel code and waits for an RCU grace period, about 10 ms
//! (`bpf_dispatcher_update` in kernel/bpf/dispatcher.c). A program that is attached to any interface is already in
//! the dispatcher.

use super::program::BenchProgram;
use crate::io::Interface;
use crate::io::bpf::Attached;
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use nix::sched::{CloneFlags, unshare};
use std::fs::File;

/// Attachment of a program to the loopback interface of an empty network namespace.
pub(super) struct Anchor {
    _attached: Attached,
    _namespace: File,
}

impl Anchor {
    pub(super) fn new(program: &mut BenchProgram) -> Result<Self, Diagnostic> {
        let thread = std::thread::scope(|scope| scope.spawn(|| Self::attach(program)).join());
        thread.expect("the thread returns its errors")
    }

    /// Moves the calling thread into a new namespace, and attaches there.
    fn attach(program: &mut BenchProgram) -> Result<Self, Diagnostic> {
        let namespace = enter_namespace();
        let _namespace =
            namespace.map_err(|error| Diagnostic::io("making an empty network namespace", &error))?;
        Ok(Self { _attached: program.attach(&loopback())?, _namespace })
    }
}

/// Moves the calling thread into a new network namespace. Returns a file that keeps it.
fn enter_namespace() -> std::io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    File::open("/proc/thread-self/ns/net")
}

/// Loopback interface of a new namespace.
fn loopback() -> Interface {
    let addresses = Vec::new();
    Interface {
        name: "lo".into(),
        index: 1,
        mac: MacAddr::ZERO,
        mtu: 65_536,
        queues: 1,
        addresses,
        ipv6_addresses: Vec::new(),
    }
}
