//! Facts about the director that runs on this host.

use super::files::Files;
use crate::control::api::Handshakes;
use crate::control::api::audit;
use crate::control::client::Blocking;
use crate::model::Diagnostic;
use std::collections::BTreeSet;

/// A running director, as it answers at its control socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RunningFacts {
    /// Cores that its workers are pinned to.
    pub(super) cores: BTreeSet<usize>,
    /// Every virtual service with the handshakes of its servers that had some.
    pub(super) handshakes: Vec<(String, Vec<Handshakes>)>,
    /// Findings of the address auditor.
    pub(super) audit: Vec<audit::Finding>,
    /// Frames that it dropped for their VLAN tags.
    pub(super) tagged: u64,
    /// Groups of the process; empty if they cannot be read.
    pub(super) groups: Vec<u32>,
    /// Limit of its time on the cores, if there is one.
    pub(super) quota: Option<CpuQuota>,
}

/// Limit of a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuQuota {
    /// Time on all cores together, in percent of one.
    pub(super) percent: u64,
    /// Periods in which the group was stopped for it.
    pub(super) throttled: u64,
}

impl RunningFacts {
    /// Asks the director.
    pub(super) fn ask(director: &Blocking, files: &Files) -> Result<Self, Diagnostic> {
        let process = director.status()?.pid;
        let services = director.services()?.services.into_iter().map(|service| {
            let servers = service.servers.iter().map(|server| server.handshakes);
            (service.identity.to_string(), servers.filter(|of| of.opened > 0).collect())
        });
        let is_of_tags = |reason: &str| matches!(reason, "tags" | "vlan");
        Ok(Self {
            handshakes: services.collect(),
            cores: director.workers()?.into_iter().filter_map(|worker| worker.core).collect(),
            audit: director.audit()?.findings,
            tagged: director
                .drops()?
                .iter()
                .filter(|drop| is_of_tags(&drop.reason))
                .map(|drop| drop.frames)
                .sum(),
            groups: groups(files, process),
            quota: quota(files, process),
        })
    }
}

/// Effective and supplementary groups of a process.
fn groups(files: &Files, process: u32) -> Vec<u32> {
    let text = files.text(&format!("proc/{process}/status")).unwrap_or_default();
    let numbers = |name: &str, skip: usize| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().skip(skip).filter_map(|number| number.parse().ok()).collect::<Vec<_>>()
    };
    // Real, effective, saved, of the file system.
    numbers("Gid:", 1).into_iter().take(1).chain(numbers("Groups:", 0)).collect()
}

/// The smallest limit of the control groups that a process is in, of version 2 or of the older controller "cpu".
fn quota(files: &Files, process: u32) -> Option<CpuQuota> {
    let text = files.text(&format!("proc/{process}/cgroup"))?;
    let quotas = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        match controllers {
            "" => Some(above(path).filter_map(|path| of_version_2(files, path)).collect::<Vec<_>>()),
            of if of.split(',').any(|one| one == "cpu") => {
                Some(above(path).filter_map(|path| of_version_1(files, path)).collect())
            }
            _ => None,
        }
    });
    quotas.flatten().min_by_key(|quota| quota.percent)
}

/// A control group and the ones above it, without the root, which has no limit: "a/b", "a".
fn above(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_start_matches('/');
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above))
        .filter(|path| !path.is_empty())
}

fn of_version_2(files: &Files, path: &str) -> Option<CpuQuota> {
    let directory = format!("sys/fs/cgroup/{path}");
    let limit = files.text(&format!("{directory}/cpu.max"))?;
    let (quota, period) = limit.split_once(' ')?;
    CpuQuota::new((quota.parse().ok()?, period.parse().ok()?), files.text(&format!("{directory}/cpu.stat")))
}

fn of_version_1(files: &Files, path: &str) -> Option<CpuQuota> {
    let directory = format!("sys/fs/cgroup/cpu/{path}");
    let number = |name: &str| files.number(&format!("{directory}/cpu.cfs_{name}_us"));
    CpuQuota::new((number("quota")?, number("period")?), files.text(&format!("{directory}/cpu.stat")))
}

impl CpuQuota {
    fn new((quota, period): (u64, u64), statistics: Option<String>) -> Option<Self> {
        let statistics = statistics.unwrap_or_default();
        let throttled = statistics.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        let throttled = throttled.and_then(|count| count.trim().parse().ok()).unwrap_or_default();
        (period > 0).then(|| Self { percent: quota.saturating_mul(100) / period, throttled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::files::tests::written;

    #[test]
    fn the_smallest_limit_of_the_control_groups_holds() {
        let (files, _place) = written(&[
            ("proc/7/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/cpu.stat", "usage_usec 9\nnr_throttled 3\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("proc/8/cgroup", "4:memory:/a\n1:cpu,cpuacct:/c\n"),
            ("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n"),
            ("proc/9/cgroup", "1:cpu:/d\n"),
            ("sys/fs/cgroup/cpu/d/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/d/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(quota(&files, 7), Some(CpuQuota { percent: 150, throttled: 3 }));
        assert_eq!(quota(&files, 8), Some(CpuQuota { percent: 50, throttled: 0 }));
        assert_eq!((quota(&files, 9), quota(&files, 10)), (None, None));
    }

    #[test]
    fn groups_of_a_process_are_the_effective_one_and_its_others() {
        let (files, _place) = written(&[("proc/7/status", "Name:\tx\nGid:\t1\t2\t3\t4\nGroups:\t5 6 \n")]);
        assert_eq!(groups(&files, 7), [2, 5, 6]);
        assert_eq!(groups(&files, 8), Vec::<u32>::new());
    }
}
