//! The kernel's receiving on a core of our choice.

use super::cores::{move_to, prefer};
use super::dut::Site;
use crate::lab::LabError;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// A veth receives on the core that sends, which for a forwarder in the kernel would be the
/// generator's: all would be done on one core, in turns, and nothing ever lost. With threaded
/// NAPI a thread of the kernel receives, and that can be pinned.
pub(super) struct Threaded;

impl Threaded {
    /// Makes the interface of `site` receive on the forwarder's core.
    pub(super) fn start(site: &Site<'_>) -> Result<(), LabError> {
        // Threads are named after the interface alone: two interfaces at a time could not be told apart.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let name = &site.interface.name;
        let before = threads(name);
        site.namespace.shell(&format!("echo 1 > /sys/class/net/{name}/threaded"))?;
        let new: Vec<i32> = threads(name).difference(&before).copied().collect();
        match new[..] {
            [thread] => {
                prefer(thread);
                move_to(site.plan.cores.forwarder, thread)
            }
            _ => Err(LabError::Failed(format!(
                "threaded NAPI on {name} of {} made {} threads instead of one",
                site.namespace.name(),
                new.len()
            ))),
        }
    }
}

/// The kernel's threads that receive on interfaces called `name`.
fn threads(name: &str) -> BTreeSet<i32> {
    let prefix = format!("napi/{name}-");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &i32| {
        std::fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.starts_with(&prefix))
    })
    .collect()
}
