//! An attachment that keeps BPF_PROG_RUN from patching kernel code twice a call.
//!
//! XDP programs are called through a dispatcher of direct jumps. BPF_PROG_RUN with a repeat count adds the program
//! and removes it again. Each change rewrites kernel code and waits for an RCU grace period, about 10 ms
//! (`bpf_dispatcher_update` in kernel/bpf/dispatcher.c). A program that is attached to any interface is already in
//! the dispatcher.

use super::program::BenchProgram;
use crate::io::Interface;
use crate::io::bpf::Attached;
use crate::lab::LabError;
use crate::wire::MacAddr;
use nix::sched::{CloneFlags, unshare};
use std::fs::File;

/// Attachment of a program to the loopback interface of an empty network namespace.
pub(super) struct Anchor {
    _attached: Attached,
    _namespace: File,
}

impl Anchor {
    pub(super) fn new(program: &mut BenchProgram) -> Result<Self, LabError> {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)?;
            File::open("/proc/thread-self/ns/net")
        };
        let failed = |error: &std::io::Error| LabError::io("making an empty network namespace", error);
        let attach = || {
            let _namespace = inside().map_err(|error| failed(&error))?;
            Ok(Self { _attached: program.attach(&loopback())?, _namespace })
        };
        std::thread::scope(|scope| scope.spawn(attach).join()).expect("the thread returns its errors")
    }
}

/// Loopback interface of a new namespace.
fn loopback() -> Interface {
    let addresses = Vec::new();
    Interface { name: "lo".into(), index: 1, mac: MacAddr::ZERO, mtu: 65_536, queues: 1, addresses }
}
