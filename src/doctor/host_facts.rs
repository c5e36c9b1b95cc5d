//! Facts about the machine and the other programs on it.

use super::core_facts::CoreFacts;
use super::files::Files;
use std::collections::BTreeSet;

/// The machine. What cannot be read is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HostFacts {
    /// Version of Linux.
    pub(super) version: (u32, u32),
    pub(super) platform: Platform,
    pub(super) cores: CoreFacts,
    /// Setting of transparent huge pages: "always", "madvise" or "never".
    pub(super) huge_pages: Option<String>,
    /// Reserved huge pages that are free.
    pub(super) free_huge_pages: Option<u64>,
    /// Frames that the kernel dropped for a full backlog, since its start.
    pub(super) backlog_drops: Option<u64>,
    /// Frames of a backlog, at most; `None` in network namespaces other than the first.
    pub(super) backlog: Option<u32>,
    /// Entries of connection tracking, and their limit.
    pub(super) tracked: Option<(u64, u64)>,
    /// Groups that may open ping sockets, first and last.
    pub(super) ping_groups: Option<(u32, u32)>,
    /// Destinations of IPVS in this network namespace, as /proc/net/ip_vs writes them: "0A000064:0050".
    pub(super) ipvs: Vec<String>,
    /// Names of known programs that run in this network namespace.
    pub(super) programs: BTreeSet<String>,
    /// Names of known programs whose network namespace may not be read.
    pub(super) hidden_programs: BTreeSet<String>,
    /// irqbalance runs, in any network namespace.
    pub(super) has_balancer: bool,
}

/// The machine's maker, as its firmware says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Platform {
    pub(super) vendor: String,
    pub(super) product: String,
    /// "7783-7084-3265-9085-8269-3286-77" on Azure.
    pub(super) chassis: String,
}

/// Names of programs in /proc/PID/comm, which has 15 bytes at most.
const PROGRAMS: [&str; 4] = ["NetworkManager", "systemd-network", "keepalived", "kube-proxy"];

impl HostFacts {
    pub(super) fn read(files: &Files) -> Self {
        let (programs, hidden_programs) = programs(files);
        Self {
            version: version(&files.text("proc/sys/kernel/osrelease").unwrap_or_default()),
            platform: Platform::read(files),
            cores: CoreFacts::read(files),
            huge_pages: files.text("sys/kernel/mm/transparent_hugepage/enabled").as_deref().and_then(chosen),
            free_huge_pages: free_huge_pages(files),
            backlog_drops: backlog_drops(files),
            backlog: files.number("proc/sys/net/core/netdev_max_backlog"),
            tracked: tracked(files),
            ping_groups: ping_groups(files),
            ipvs: ipvs(files),
            programs,
            has_balancer: has_process(files, "irqbalance"),
            hidden_programs,
        }
    }
}

impl Platform {
    fn read(files: &Files) -> Self {
        let field = |name: &str| files.text(&format!("sys/class/dmi/id/{name}")).unwrap_or_default();
        Self {
            vendor: field("sys_vendor"),
            product: field("product_name"),
            chassis: field("chassis_asset_tag"),
        }
    }
}

/// "6.1.0-18-amd64" is (6, 1).
fn version(release: &str) -> (u32, u32) {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

/// The word in brackets: "always [madvise] never".
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn free_huge_pages(files: &Files) -> Option<u64> {
    let text = files.text("proc/meminfo")?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(value("HugePages_Free:")?.saturating_sub(value("HugePages_Rsvd:").unwrap_or_default()))
}

/// The second column of /proc/net/softnet_stat, which has a line for each core and hexadecimal numbers.
fn backlog_drops(files: &Files) -> Option<u64> {
    let text = files.text("proc/net/softnet_stat")?;
    let drops = text.lines().filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok());
    Some(drops.sum())
}

fn tracked(files: &Files) -> Option<(u64, u64)> {
    let number = |name: &str| files.number(&format!("proc/sys/net/netfilter/nf_conntrack_{name}"));
    Some((number("count")?, number("max")?))
}

fn ping_groups(files: &Files) -> Option<(u32, u32)> {
    let text = files.text("proc/sys/net/ipv4/ping_group_range")?;
    let (first, last) = text.split_once(char::is_whitespace)?;
    Some((first.parse().ok()?, last.trim().parse().ok()?))
}

fn ipvs(files: &Files) -> Vec<String> {
    let text = files.text("proc/net/ip_vs").unwrap_or_default();
    let service = |line: &str| {
        let (protocol, rest) = line.split_once(char::is_whitespace)?;
        matches!(protocol, "TCP" | "UDP" | "SCTP")
            .then(|| rest.split_whitespace().next().map(str::to_owned))?
    };
    text.lines().filter_map(service).collect()
}

/// Known programs: of this network namespace, and of unknown ones.
fn programs(files: &Files) -> (BTreeSet<String>, BTreeSet<String>) {
    let own = files.link("proc/self/ns/net");
    let (mut here, mut hidden) = (BTreeSet::new(), BTreeSet::new());
    for (id, name) in processes(files).filter(|(_, name)| PROGRAMS.contains(&name.as_str())) {
        match files.link(&format!("proc/{id}/ns/net")) {
            None => hidden.insert(name),
            netns if netns == own => here.insert(name),
            Some(_) => continue,
        };
    }
    (here, hidden)
}

fn has_process(files: &Files, name: &str) -> bool {
    processes(files).any(|(_, of)| of == name)
}

/// Every process by its id, with its name.
fn processes(files: &Files) -> impl Iterator<Item = (String, String)> + '_ {
    let ids = files.names("proc").into_iter().filter(|name| name.parse::<u32>().is_ok());
    ids.filter_map(|id| files.text(&format!("proc/{id}/comm")).map(|name| (id, name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::files::tests::written;

    #[test]
    fn the_host_is_read_as_the_kernel_describes_it() {
        let (files, place) = written(&[
            ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"),
            ("proc/meminfo", "MemFree: 9 kB\nHugePages_Free:      7\nHugePages_Rsvd:      2\n"),
            ("proc/net/softnet_stat", "0000000a 00000010 00000021\n0000000b 00000001 00000000\n"),
            ("proc/sys/net/netfilter/nf_conntrack_count", "9\n"),
            ("proc/sys/net/netfilter/nf_conntrack_max", "10\n"),
            ("proc/sys/net/ipv4/ping_group_range", "1\t0\n"),
            (
                "proc/net/ip_vs",
                "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                 -> RemoteAddress:Port Forward\nTCP  0A000064:0050 wlc \n  -> 0A000002:0050      Route   1\n",
            ),
            ("proc/7/comm", "keepalived\n"),
            ("proc/8/comm", "irqbalance\n"),
            ("proc/9/comm", "NetworkManager\n"),
            ("proc/10/comm", "kube-proxy\n"),
        ]);
        for (id, netns) in [("self", "net:[1]"), ("7", "net:[1]"), ("9", "net:[2]")] {
            let directory = place.path().join(format!("proc/{id}/ns"));
            std::fs::create_dir_all(&directory).unwrap();
            std::os::unix::fs::symlink(netns, directory.join("net")).unwrap();
        }
        let host = HostFacts::read(&files);
        assert_eq!((host.version, host.platform.vendor.as_str()), ((6, 1), "Amazon EC2"));
        assert_eq!((host.huge_pages.as_deref(), host.free_huge_pages), (Some("never"), Some(5)));
        assert_eq!((host.backlog_drops, host.tracked), (Some(17), Some((9, 10))));
        assert_eq!((host.ping_groups, host.ipvs), (Some((1, 0)), vec!["0A000064:0050".to_owned()]));
        assert_eq!((host.programs, host.has_balancer), (BTreeSet::from(["keepalived".to_owned()]), true));
        assert_eq!(host.hidden_programs, BTreeSet::from(["kube-proxy".to_owned()]));
    }

    #[test]
    fn a_host_that_hides_everything_has_no_facts() {
        assert_eq!(HostFacts::read(&written(&[]).0), HostFacts::default());
    }
}
