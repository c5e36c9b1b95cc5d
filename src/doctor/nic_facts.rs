//! Facts about the hardware of an interface, and about the way of its frames to the cores.

use super::files::Files;
use crate::io::Interface;
use crate::sys::ethtool::{self, FlowKind, PauseFrames, ReceiveRing};
use crate::sys::rtnetlink::{self, VirtualFunction};
use std::collections::BTreeSet;

/// A NIC, or a virtual interface. What is not reported is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NicFacts {
    pub(super) driver: String,
    /// Name of its device on a bus; `None` for a virtual interface.
    pub(super) device: Option<String>,
    /// Rules that choose a receive queue.
    pub(super) flow_rules: u32,
    /// The NIC moves flows to the queue of the core on which a program reads them.
    pub(super) is_steered_by_programs: bool,
    /// Receive queues whose frames the kernel hands to other cores (RPS).
    pub(super) spread_queues: BTreeSet<usize>,
    /// Families whose datagrams choose their queue without ports.
    pub(super) portless: Vec<&'static str>,
    pub(super) ring: Option<ReceiveRing>,
    /// Microseconds to an interrupt, at most.
    pub(super) delay: Option<u32>,
    pub(super) pause: Option<PauseFrames>,
    /// The host implements merging for a virtual NIC, and it cannot be switched off.
    pub(super) is_merged_by_host: bool,
    /// Frames that found no room in the receive ring.
    pub(super) missed: u64,
    pub(super) numa_node: Option<usize>,
    pub(super) interrupts: Vec<NicInterrupt>,
    /// Virtual functions that it has.
    pub(super) functions: u32,
    /// Present on a virtual function.
    pub(super) function: Option<Function>,
    /// The MAC address is a random one, which it has since it was made.
    pub(super) has_random_mac: bool,
}

/// An interrupt of a NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NicInterrupt {
    pub(super) number: u32,
    pub(super) cores: BTreeSet<usize>,
}

/// A virtual function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Name of the physical function's interface and the settings there; `None` if it is out of reach.
    pub(super) physical: Option<(String, VirtualFunction)>,
}

impl NicFacts {
    /// Reads the facts of an interface. /sys must be that of its network namespace, which its index and MAC address show.
    pub(super) fn read(files: &Files, interface: &Interface) -> Self {
        let name = interface.name.as_str();
        let portless = [("udp4", FlowKind::UdpV4), ("udp6", FlowKind::UdpV6)]
            .into_iter()
            .filter(|(_, kind)| ethtool::hashes_ports(name, *kind) == Some(false));
        let of_driver = Self {
            driver: ethtool::driver(name).unwrap_or_default(),
            flow_rules: ethtool::flow_rules(name).unwrap_or_default(),
            portless: portless.map(|(family, _)| family).collect(),
            ring: ethtool::receive_ring(name),
            delay: ethtool::receive_delay(name),
            pause: ethtool::pause_frames(name),
            is_merged_by_host: ethtool::is_forced(name, "rx-gro-hw") == Some(true),
            ..Self::default()
        };
        let is_seen = files.number(&format!("sys/class/net/{name}/ifindex")) == Some(interface.index)
            && files.text(&format!("sys/class/net/{name}/address")) == Some(interface.mac.to_string());
        let takes_rules = ethtool::feature(name, "rx-ntuple-filter") == Some(true);
        if is_seen { of_driver.with_files(files, name, takes_rules) } else { of_driver }
    }

    fn with_files(self, files: &Files, name: &str, takes_rules: bool) -> Self {
        let of = |file: &str| format!("sys/class/net/{name}/{file}");
        let device = files.target(&of("device"));
        let queues = queues(files, &of("queues"));
        let entries = files.number::<u32>("proc/sys/net/core/rps_sock_flow_entries").unwrap_or_default();
        let flows =
            |queue: &usize| files.number::<u32>(&of(&format!("queues/rx-{queue}/rps_flow_cnt"))).unwrap_or(0);
        let cores =
            |queue: &usize| files.text(&of(&format!("queues/rx-{queue}/rps_cpus"))).unwrap_or_default();
        Self {
            is_steered_by_programs: takes_rules && entries > 0 && queues.iter().any(|queue| flows(queue) > 0),
            spread_queues: queues
                .iter()
                .filter(|queue| cores(queue).chars().any(|c| !matches!(c, '0' | ',')))
                .copied()
                .collect(),
            missed: files.number(&of("statistics/rx_missed_errors")).unwrap_or_default(),
            numa_node: files.number(&of("device/numa_node")),
            interrupts: device.as_deref().map(|device| interrupts(files, name, device)).unwrap_or_default(),
            functions: files.number(&of("device/sriov_numvfs")).unwrap_or_default(),
            function: device.as_deref().and_then(|device| function(files, &of("device/physfn"), device)),
            has_random_mac: device.is_some() && files.number(&of("addr_assign_type")) == Some(1),
            device,
            ..self
        }
    }
}

fn queues(files: &Files, directory: &str) -> Vec<usize> {
    let names = files.names(directory).into_iter();
    names.filter_map(|name| name.strip_prefix("rx-")?.parse().ok()).collect()
}

/// Interrupts with the name of the interface or of its device that have happened.
fn interrupts(files: &Files, name: &str, device: &str) -> Vec<NicInterrupt> {
    let text = files.text("proc/interrupts").unwrap_or_default();
    let mut lines = text.lines();
    let cores = lines.next().unwrap_or_default().split_whitespace().count();
    let interrupt = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let number = number.trim().parse().ok()?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let (counts, names) = fields.split_at_checked(cores)?;
        let is_named = names.iter().any(|of| is_name_of(of, name) || is_name_of(of, device));
        if !is_named || counts.iter().all(|count| *count == "0") {
            return None;
        }
        let cores = interrupt_cores(files, number)?;
        Some(NicInterrupt { number, cores })
    };
    lines.filter_map(interrupt).collect()
}

/// The core that an interrupt goes to. An order to move it is carried out at its next occurrence (`irq_move_masked_irq` in
/// kernel/irq/migration.c), so the cores that it may have hold against the one that it had.
fn interrupt_cores(files: &Files, number: u32) -> Option<BTreeSet<usize>> {
    let set = |file: &str| files.set(&format!("proc/irq/{number}/{file}")).filter(|set| !set.is_empty());
    let (permitted, last) = (set("smp_affinity_list"), set("effective_affinity_list"));
    match (permitted, last) {
        (Some(permitted), Some(last)) if !last.is_subset(&permitted) => Some(permitted),
        (permitted, last) => last.or(permitted),
    }
}

/// "eth0", "eth0-TxRx-3", "virtio2-input.0", "mlx5_comp0@pci:0000:3b:00.0".
fn is_name_of(action: &str, name: &str) -> bool {
    let action = action.trim_end_matches(',');
    let rest = action.strip_prefix(name);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        || action.ends_with(&format!("@pci:{name}"))
}

/// The virtual function with this device, if `physical` exists: the device of its physical function.
fn function(files: &Files, physical: &str, device: &str) -> Option<Function> {
    files.link(physical)?;
    let number = files.names(physical).into_iter().find_map(|name| {
        let number = name.strip_prefix("virtfn")?.parse::<u32>().ok()?;
        (files.target(&format!("{physical}/{name}")).as_deref() == Some(device)).then_some(number)
    });
    let name = files.names(&format!("{physical}/net")).into_iter().next();
    let settings = name.as_deref().zip(number).and_then(|(name, number)| {
        let index = files.number(&format!("sys/class/net/{name}/ifindex"))?;
        rtnetlink::virtual_function(index, number).ok().flatten()
    });
    Some(Function { physical: name.zip(settings) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::files::tests::written;

    const INTERRUPTS: &str = "           CPU0       CPU1\n  24:   1   0  IO-APIC   5-edge   ACPI:Ged\n  \
        37:   0   0 PCI-MSIX-0000:00:03.0   0-edge   virtio2-config\n  \
        38:   0   20002 PCI-MSIX-0000:00:03.0   1-edge   virtio2-input.0\n  \
        39:   9   0 PCI-MSIX-0000:00:03.0   2-edge   eth0-TxRx-0\n  \
        40:   9   0 PCI-MSIX-0000:00:03.0   2-edge   eth01-TxRx-0\n NMI:   0   0   Non-maskable\n";

    #[test]
    fn interrupts_are_those_of_the_interface_or_device() {
        let (files, _place) = written(&[
            ("proc/interrupts", INTERRUPTS),
            ("proc/irq/38/effective_affinity_list", "1\n"),
            ("proc/irq/38/smp_affinity_list", "0-1\n"),
            ("proc/irq/39/effective_affinity_list", "\n"),
            ("proc/irq/39/smp_affinity_list", "0-1\n"),
        ]);
        let wanted = [(38, BTreeSet::from([1])), (39, BTreeSet::from([0, 1]))]
            .map(|(number, cores)| NicInterrupt { number, cores });
        assert_eq!(interrupts(&files, "eth0", "virtio2"), wanted);
        assert!(is_name_of("mlx5_comp0@pci:0000:3b:00.0", "0000:3b:00.0"));
    }

    #[test]
    fn an_interrupt_that_is_to_move_counts_at_its_new_core() {
        let (files, _place) = written(&[
            ("proc/irq/38/effective_affinity_list", "0\n"),
            ("proc/irq/38/smp_affinity_list", "1\n"),
        ]);
        assert_eq!(interrupt_cores(&files, 38), Some(BTreeSet::from([1])));
        assert_eq!(interrupt_cores(&files, 39), None);
    }

    #[test]
    fn queues_with_cores_to_spread_to_are_found() {
        let (files, _place) = written(&[
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000,00000000\n"),
            ("sys/class/net/eth0/queues/rx-1/rps_cpus", "00000000,0000000c\n"),
            ("sys/class/net/eth0/queues/rx-1/rps_flow_cnt", "4096"),
            ("sys/class/net/eth0/queues/tx-0/xps_cpus", "3"),
            ("sys/class/net/eth0/statistics/rx_missed_errors", "17"),
            ("proc/sys/net/core/rps_sock_flow_entries", "32768"),
        ]);
        let read = |takes_rules| NicFacts::default().with_files(&files, "eth0", takes_rules);
        let nic = read(true);
        assert_eq!((nic.spread_queues, nic.missed), (BTreeSet::from([1]), 17));
        assert!(nic.is_steered_by_programs && !read(false).is_steered_by_programs);
    }

    #[test]
    fn files_of_another_network_namespace_are_left_out() {
        let (files, _place) = written(&[
            ("sys/class/net/lo/ifindex", "7"),
            ("sys/class/net/lo/statistics/rx_missed_errors", "17"),
        ]);
        let interface = Interface {
            name: "lo".into(),
            index: 1,
            mac: crate::wire::MacAddr::ZERO,
            mtu: 65536,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        };
        assert_eq!(NicFacts::read(&files, &interface).missed, 0);
    }
}
