//! Rights and limits of the process.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// Locked memory in bytes that packet memory of one queue takes with the largest frames (rings of 2048 buffers, a page each).
const QUEUE_MEMORY: u64 = 2048 * 2 * 4096;
/// Open files beside the sockets of real servers' checks: sockets and rings of workers, control socket, log.
const FILES_OWN: u64 = 256;

/// Capabilities of this process. A director is started with other ones by its unit, so only root's are judged.
pub(in crate::doctor) fn capabilities(facts: &DirectorFacts) -> Judgement {
    let lacking = &facts.process.lacking;
    if lacking.is_empty() {
        return Vec::new().into();
    }
    let what = format!("this process lacks {}", lacking.join(", "));
    if !facts.process.is_root {
        let reason = "a director with these rights does not start, and some checks here see less";
        return Fault::unknown(what, reason).advice("run the doctor as root").into();
    }
    let effect = "a director started like this process does not start: root here does not have all rights";
    let remedy = "give the container or unit these capabilities (CapabilityBoundingSet= of systemd, --cap-add of docker)";
    Fault::new(FindingLevel::Error, what, effect).advice(remedy).into()
}

/// RLIMIT_MEMLOCK, against which the kernel counts packet memory of AF_XDP (`xdp_umem_account_pages` in
/// net/xdp/xdp_umem.c).
pub(in crate::doctor) fn locked_memory(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client().filter(|_| facts.may_use_xdp()) else { return Judgement::Moot };
    let needed = QUEUE_MEMORY * u64::from(client.interface.queues);
    let short = facts.process.locked_max.filter(|max| *max < needed);
    short
        .map(|max| {
            let what = format!(
                "this process may lock {max} bytes of memory, and AF_XDP on {} takes up to {needed}",
                client.name()
            );
            let effect = "the kernel refuses packet memory (ENOBUFS)";
            let level = if facts.needs_xdp() { FindingLevel::Error } else { FindingLevel::Warn };
            Fault::new(level, what, effect).advice(
                "start the director by its unit or as root; in a unit of your own: LimitMEMLOCK=infinity",
            )
        })
        .into()
}

/// RLIMIT_NOFILE.
pub(in crate::doctor) fn open_files(facts: &DirectorFacts) -> Judgement {
    let needed = FILES_OWN + 2 * facts.wanted.servers.len() as u64;
    let short = facts.process.files_max.filter(|max| *max < needed);
    short
        .map(|max| {
            let what = format!("this process may have {max} files open, and {needed} may be needed");
            let effect =
                "sockets cannot be opened: the start fails, or checks of real servers end without a result";
            Fault::new(FindingLevel::Warn, what, effect).advice(format!(
                "ulimit -n {needed} before the start; in a unit of your own: LimitNOFILE={needed}"
            ))
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;

    #[test]
    fn an_ordinary_user_s_capabilities_are_unknown_not_wrong() {
        let mut facts = sample::sound();
        facts.process.lacking = vec!["cap_bpf (loading BPF programs)".into()];
        assert_eq!(sample::level(capabilities(&facts)), Some(FindingLevel::Error));
        facts.process.is_root = false;
        assert_eq!(sample::level(capabilities(&facts)), Some(FindingLevel::Unknown));
    }

    #[test]
    fn limits_count_by_queues_and_servers() {
        let mut facts = sample::sound();
        facts.process.locked_max = Some(QUEUE_MEMORY);
        facts.process.files_max = Some(FILES_OWN + 4);
        assert_eq!([locked_memory(&facts), open_files(&facts)].map(sample::level), [None, None]);
        facts.process.locked_max = Some(QUEUE_MEMORY - 1);
        facts.wanted.servers.extend([4, 5, 6].map(|last| std::net::IpAddr::from([10, 0, 0, last])));
        assert_eq!(
            [locked_memory(&facts), open_files(&facts)].map(sample::level),
            [Some(FindingLevel::Warn); 2]
        );
    }
}
