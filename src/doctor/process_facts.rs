//! Facts about this process: its user, capabilities and limits.

use caps::{CapSet, Capability};
use nix::unistd::geteuid;
use procfs::process::{LimitValue, Process};

/// Capabilities that a start needs, with their use.
const NEEDED: [(Capability, &str); 4] = [
    (Capability::CAP_NET_RAW, "packet sockets: ARP, neighbor discovery, AF_XDP"),
    (Capability::CAP_NET_ADMIN, "programs on the interface, GRO"),
    (Capability::CAP_BPF, "loading BPF programs"),
    (Capability::CAP_PERFMON, "BPF programs that the verifier takes"),
];

/// This process, as a director would have been started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessFacts {
    pub(super) is_root: bool,
    /// Missing capabilities, with their use: "cap_bpf (loading BPF programs)".
    pub(super) lacking: Vec<String>,
    /// The limit of locked memory in bytes, if it holds: neither CAP_IPC_LOCK nor the right to raise it. `None` without one.
    pub(super) locked_max: Option<u64>,
    /// Open files, at most.
    pub(super) files_max: Option<u64>,
}

impl ProcessFacts {
    pub(super) fn read() -> Self {
        let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
        let limits = Process::myself().and_then(|process| process.limits()).ok();
        let (locked, files) =
            limits.map(|limits| (limits.max_locked_memory, limits.max_open_files.soft_limit)).unzip();
        let exempt = has(Capability::CAP_IPC_LOCK) || has(Capability::CAP_SYS_RESOURCE);
        let lacking = NEEDED.iter().filter(|(capability, _)| !has(*capability));
        let described = |(capability, reason): &(Capability, &str)| {
            format!("{} ({reason})", capability.to_string().to_lowercase())
        };
        Self {
            is_root: geteuid().is_root(),
            lacking: lacking.map(described).collect(),
            // Without a right to raise it, the hard limit is the most that a director can set.
            locked_max: locked.filter(|_| !exempt).and_then(|limit| finite(&limit.hard_limit)),
            files_max: files.and_then(|limit| finite(&limit)),
        }
    }
}

fn finite(limit: &LimitValue) -> Option<u64> {
    match limit {
        LimitValue::Value(limit) => Some(*limit),
        LimitValue::Unlimited => None,
    }
}
