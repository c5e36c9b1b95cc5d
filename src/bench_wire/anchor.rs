//! Keeps BPF_PROG_RUN from patching the kernel's code twice a call.
//!
//! XDP programs are called through a dispatcher of direct jumps. A program that BPF_PROG_RUN runs
//! more than once is entered there and taken out again, each of which rewrites kernel code and
//! waits for a grace period of RCU (`bpf_dispatcher_update` in kernel/bpf/dispatcher.c): some
//! 10 ms. One that is attached anywhere is in there already.

use super::program::Program;
use crate::io::Interface;
use crate::io::bpf::Attached;
use crate::lab::LabError;
use crate::wire::MacAddr;
use nix::sched::{CloneFlags, unshare};
use std::fs::File;

/// A program's attachment to the loopback interface of a namespace in which nothing happens.
pub(super) struct Anchor {
    _attached: Attached,
    _namespace: File,
}

impl Anchor {
    pub(super) fn new(program: &mut Program) -> Result<Self, LabError> {
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

/// As it is in every new namespace.
fn loopback() -> Interface {
    let addresses = Vec::new();
    Interface { name: "lo".into(), index: 1, mac: MacAddr::ZERO, mtu: 65_536, queues: 1, addresses }
}
