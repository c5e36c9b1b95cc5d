//! The list of checks.

use super::checks::{
    addresses, bonding, bpf, cores, driver, filters, kernel, memory, mtu, nic, offloads, platform, process,
    programs, queues, roles, segment, servers, stacking, start, steering, time, traffic, xdp,
};
use super::facts::DirectorFacts;
use super::fault::{Fault, Judgement};
use super::finding::{Finding, FindingLevel};
use super::gather;
use super::report::DoctorReport;
use crate::model::Config;
use std::path::Path;

/// Id of every finding about a real server.
pub const REAL_SERVER: &str = "real-server";

/// A check for one trap.
struct Check {
    /// Stable name of the trap.
    id: &'static str,
    /// State of a host that is not in the trap.
    sound: &'static str,
    judge: fn(&DirectorFacts) -> Judgement,
}

const fn check(id: &'static str, sound: &'static str, judge: fn(&DirectorFacts) -> Judgement) -> Check {
    Check { id, sound, judge }
}

/// Every check of a director's host, by subject.
const CHECKS: [Check; 52] = [
    check("start", "the configuration fits this host", start::refused),
    check("capabilities", "the process has every capability that a start needs", process::capabilities),
    check("ping-group", "checks of the type ping may send", memory::ping_groups),
    check("locked-memory", "locked memory is not limited", process::locked_memory),
    check("open-files", "enough files may be open", process::open_files),
    check("role-fifo", "the director may read keepalived's FIFO", roles::fifo),
    check("vrrp-interval", "intervals of a part of a second are of VRRP version 3", roles::interval),
    check("sockets", "the kernel opens AF_XDP and packet sockets", bpf::sockets),
    check("bpf-load", "the kernel loads BPF programs", bpf::load),
    check("guard", "the kernel has TCX, so the guard program keeps it from the VIPs' frames", bpf::guard),
    check("bpf-jit", "BPF programs are compiled", bpf::jit),
    check("native-xdp", "the driver runs XDP programs", xdp::native),
    check("zero-copy", "the driver has AF_XDP without a copy", xdp::zero_copy),
    check("foreign-xdp", "no other XDP program is attached", xdp::foreign),
    check(
        "veth-queues",
        "the peer has no more transmit queues than there are receive queues",
        xdp::veth_queues,
    ),
    check("driver-limits", "nothing of the driver itself stands against AF_XDP", driver::limits),
    check("virtual-function", "the physical function leaves the interface its frames", driver::function),
    check("bond", "the interface is no bond", bonding::master),
    check("bond-mac", "the bond keeps its MAC address", bonding::mac),
    check("bridge-port", "the interface is no port of a bridge", stacking::bridge_port),
    check("macvlan", "the interface has a MAC address and a segment of its own", stacking::shared_mac),
    check("worker-queues", "there are queues for every worker", queues::workers),
    check("unserved-queues", "the running director receives from every queue", queues::unserved),
    check("single-queue", "the interface uses the queues that it has", queues::single),
    check("flow-steering", "the hash alone chooses receive queues", steering::flows),
    check("udp-hash", "ports count for the queue of a datagram", steering::datagrams),
    check("xdp-mtu", "every frame fits the buffers of AF_XDP", mtu::buffers),
    check("mtu", "the interfaces have one MTU", mtu::equal),
    check("merged-frames", "no feature merges received frames", offloads::merging),
    check("veth-checksums", "frames from the veth's peer have finished checksums", offloads::checksums),
    check("vlan-stripping", "VLAN tags stay in received frames", offloads::tags),
    check("receive-ring", "the receive ring is long enough, and has lost no frame", nic::ring),
    check("coalescing", "interrupts are not held back for long", nic::coalescing),
    check("pause-frames", "no pause frames stop the NIC or the switch", nic::pause),
    check("backlog", "the kernel has dropped no frame for a full backlog", nic::backlog),
    check("vip-local", "no VIP is an address of this host", addresses::vip_local),
    check("vip-local-route", "no route makes a VIP local", addresses::vip_routed),
    check("arp-flux", "no two interfaces are in one network", addresses::flux),
    check("send-redirects", "the kernel sends no redirects", kernel::redirects),
    check(
        "rp-filter",
        "no strict reverse path filter on a director with two interfaces",
        kernel::reverse_path,
    ),
    check("log-martians", "the kernel does not report impossible sources", segment::martians),
    check("conntrack", "connection tracking has room", memory::tracking),
    check("bridge-netfilter", "bridged frames do not pass the filters of IP", kernel::bridge_filters),
    check("frame-filters", "no filter of ARP, bridge or device sees the director's frames", filters::frames),
    check("spanning-tree", "no port of the bridge waits for a spanning tree", segment::spanning_tree),
    check("address-lease", "addresses are fixed", programs::leases),
    check("interface-manager", "no other program manages the interface", programs::managers),
    check("other-balancer", "no other balancer is here", programs::balancers),
    check("platform", "no cloud or hypervisor is known to filter frames", platform::platform),
    check("huge-pages", "there are huge pages for tables and packet memory", memory::huge_pages),
    check("power-saving", "cores are awake and fast", time::power),
    check("steal-time", "the machine has its cores for itself", time::stolen),
];

/// Checks of a running director, after those of the host.
const RUNNING_CHECKS: [Check; 5] = [
    check("cpu-quota", "the director's time is not limited", time::quota),
    check("worker-interrupts", "interrupts of the NIC run beside the workers", cores::interrupts),
    check("worker-isolation", "busy workers have cores of their own", cores::isolation),
    check("numa", "workers are at the NIC's node", cores::numa),
    check("dropped-tags", "no frame was dropped for its VLAN tags", traffic::tags),
];

/// Checks of the neighbors, after those of the host itself.
const NEIGHBOR_CHECKS: [Check; 6] = [
    check("announce-interval", "switches hear the director often enough", segment::silence),
    check("server-off-link", "every real server is in a network of this host", servers::off_link),
    check("server-mac", "every real server has a MAC address of its own", servers::mac),
    check("replies", "no real server sends its replies to the director", traffic::replies),
    check("handshakes", "clients complete their handshakes", traffic::handshakes),
    check("address-audit", "the running director's auditor has found nothing", traffic::audit),
];

/// Examines this host as a director with `config`, and the director that runs at `socket`. Changes nothing.
#[must_use]
pub fn director(config: &Config, socket: Option<&Path>) -> DoctorReport {
    judged(&gather::facts(config, socket))
}

/// Checks whose errors end a start, with a message of its own.
const OF_START: [&str; 2] = ["start", "server-off-link"];

/// Examines this host before a start with `config`, and returns the errors that the start itself does not report.
#[must_use]
pub fn errors_before_start(config: &Config) -> Vec<Finding> {
    let all = director(config, None).findings.into_iter();
    all.filter(|found| found.level == FindingLevel::Error && !OF_START.contains(&found.id)).collect()
}

/// The id of every trap with the state of a host without it, in the order of docs/doctor.md.
pub fn documented() -> impl Iterator<Item = (&'static str, &'static str)> {
    let real_server = [(REAL_SERVER, "the host is ready as a real server")];
    checks().map(|check| (check.id, check.sound)).chain(real_server)
}

fn checks() -> impl Iterator<Item = &'static Check> {
    CHECKS.iter().chain(&RUNNING_CHECKS).chain(&NEIGHBOR_CHECKS)
}

/// Judges gathered facts.
pub(super) fn judged(facts: &DirectorFacts) -> DoctorReport {
    DoctorReport::new(checks().flat_map(|check| check.findings(facts)).collect())
}

impl Check {
    fn findings(&self, facts: &DirectorFacts) -> Vec<Finding> {
        match (self.judge)(facts) {
            Judgement::Moot => Vec::new(),
            Judgement::Examined(faults) if faults.is_empty() => {
                vec![self.finding(Fault::new(FindingLevel::Ok, self.sound, ""))]
            }
            Judgement::Examined(faults) => faults.into_iter().map(|fault| self.finding(fault)).collect(),
        }
    }

    fn finding(&self, fault: Fault) -> Finding {
        let Fault { level, what, effect, remedy } = fault;
        Finding { id: self.id, level, what, effect, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_can_be_anchors() {
        let ids: Vec<_> = documented().map(|(id, _)| id).collect();
        let is_plain = |id: &&str| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(ids.iter().all(is_plain), "{ids:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn a_sound_host_has_neither_error_nor_warning() {
        let report = judged(&sample::sound());
        let bad = report.findings.iter().filter(|finding| finding.level < FindingLevel::Hint);
        assert_eq!(bad.collect::<Vec<_>>(), Vec::<&Finding>::new());
        assert!(report.findings.len() > 20, "{report}");
    }
}
