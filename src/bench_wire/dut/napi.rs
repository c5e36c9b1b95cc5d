//! Threaded NAPI: receive processing of a veth on a chosen core.
//!
//! A veth receives on the core that sends. For a DUT in the kernel that is the generator's core, which
//! would do all work in turns and lose nothing. With threaded NAPI a kernel thread receives, and a thread can
//! be pinned.

use crate::bench_wire::cores::{move_to, raise_priority};
use crate::bench_wire::namespace::Namespace;
use crate::model::Diagnostic;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Switches `interface` in `namespace` to threaded NAPI and pins its thread to `core`.
pub(super) fn receive_on_core(namespace: &Namespace, interface: &str, core: usize) -> Result<(), Diagnostic> {
    // Threads are named after the interface alone: threads of two namespaces look the same.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = threads(interface);
    namespace.shell(&format!("echo 1 > /sys/class/net/{interface}/threaded"))?;
    let new: Vec<i32> = threads(interface).difference(&before).copied().collect();
    match new[..] {
        [thread] => {
            raise_priority(thread);
            move_to(core, thread)
        }
        _ => Err(Diagnostic::system(format!(
            "threaded NAPI on {interface} of {} made {} threads instead of one",
            namespace.name(),
            new.len()
        ))),
    }
}

/// Kernel threads that receive on interfaces called `interface`.
fn threads(interface: &str) -> BTreeSet<i32> {
    let prefix = format!("napi/{interface}-");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &i32| {
        std::fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.starts_with(&prefix))
    })
    .collect()
}
