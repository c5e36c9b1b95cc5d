//! Facts about a director's host.

use super::conf::Ipv4Settings;
use super::finding::FindingLevel;
use super::gathered::{Gathered, Trial};
use super::ha_facts::HaFacts;
use super::host_facts::HostFacts;
use super::interface_facts::InterfaceFacts;
use super::process_facts::ProcessFacts;
use super::replies::Replies;
use super::running_facts::RunningFacts;
use crate::io::OwnAddress;
use crate::model::{BackendChoice, Diagnostic};
use crate::sys::nftables::BaseChain;
use crate::wire::MacAddr;
use std::net::IpAddr;

/// Everything that the checks judge.
#[derive(Clone, Debug)]
pub(super) struct DirectorFacts {
    pub(super) wanted: WantedSetup,
    /// The client side, then the server side. Empty if the configuration does not resolve.
    pub(super) interfaces: Vec<InterfaceFacts>,
    /// Reasons why the configuration does not resolve on this host.
    pub(super) refusals: Vec<Refusal>,
    /// Interface and number of each queue from which a running director receives by AF_XDP; `None` without such a director.
    pub(super) served: Gathered<Option<Vec<(String, u32)>>>,
    /// The running director; `None` without one that answers.
    pub(super) running: Option<RunningFacts>,
    /// Sampled replies of real servers; `None` without a sample.
    pub(super) replies: Option<Gathered<Vec<Replies>>>,
    pub(super) network: NetworkFacts,
    pub(super) ha: HaFacts,
    pub(super) host: HostFacts,
    pub(super) process: ProcessFacts,
    pub(super) kernel: KernelFacts,
}

/// The parts of the configuration that the checks need.
#[derive(Clone, Debug, Default)]
pub(super) struct WantedSetup {
    pub(super) backend: BackendChoice,
    /// `None`: one worker per queue.
    pub(super) workers: Option<u32>,
    pub(super) vips: Vec<IpAddr>,
    pub(super) servers: Vec<IpAddr>,
    /// Services within VLANs.
    pub(super) has_vlans: bool,
    /// Services of UDP.
    pub(super) has_datagrams: bool,
    /// Health checks that ping.
    pub(super) has_pings: bool,
    /// Workers never sleep.
    pub(super) is_busy: bool,
    /// Packet memory in huge pages.
    pub(super) huge_pages: bool,
    /// Seconds between announcements of a VIP.
    pub(super) announce_seconds: u32,
    /// Seconds between frames to each real server, at most.
    pub(super) refresh_seconds: u32,
    /// Groups that the director's process will have; empty if they are unknown.
    pub(super) groups: Vec<u32>,
}

/// A reason for refusing to start.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) diagnostic: Diagnostic,
    /// It is about a real server.
    pub(super) of_server: bool,
}

/// Addresses, routes, neighbors and filters of the network namespace.
#[derive(Clone, Debug)]
pub(super) struct NetworkFacts {
    pub(super) addresses: Gathered<Vec<OwnAddress>>,
    /// Networks whose addresses the kernel takes as its own, by routes that no own address explains.
    pub(super) local_routes: Gathered<Vec<LocalNetwork>>,
    /// Known MAC addresses of neighbors.
    pub(super) neighbors: Gathered<Vec<(IpAddr, MacAddr)>>,
    pub(super) gateways: Vec<IpAddr>,
    /// Base chains of nftables in the families arp, bridge and netdev.
    pub(super) chains: Gathered<Vec<BaseChain>>,
    /// Tables of the older arptables.
    pub(super) arp_tables: Vec<String>,
    /// IPv4 settings of conf/all.
    pub(super) all: Ipv4Settings,
    /// The bridge-nf-call settings that are on.
    pub(super) bridge_filters: Vec<&'static str>,
}

/// A local route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalNetwork {
    pub(super) network: IpAddr,
    pub(super) prefix: u8,
    pub(super) interface: String,
    pub(super) table: u32,
}

/// Abilities of kernel and machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelFacts {
    pub(super) xdp_socket: Trial,
    pub(super) packet_socket: Trial,
    /// Loading a BPF program of two instructions.
    pub(super) program: Trial,
    /// A query of TCX on the client side. `None` without an interface.
    pub(super) tcx: Option<Trial>,
    /// bpf_jit_enable; `None` if this network namespace does not show it.
    pub(super) jit: Option<i32>,
    /// Processor cores that this process may use.
    pub(super) cores: u32,
}

impl DirectorFacts {
    /// The client side.
    pub(super) fn client(&self) -> Option<&InterfaceFacts> {
        self.interfaces.first()
    }

    /// Whether AF_XDP is wanted, or tried first.
    pub(super) fn may_use_xdp(&self) -> bool {
        self.wanted.backend != BackendChoice::Packet
    }

    /// Whether nothing but AF_XDP is wanted.
    pub(super) fn needs_xdp(&self) -> bool {
        self.wanted.backend == BackendChoice::Xdp
    }

    /// Level of a trap in which AF_PACKET does not start: an error only where nothing else is wanted.
    pub(super) fn without_packet(&self) -> FindingLevel {
        if self.wanted.backend == BackendChoice::Packet { FindingLevel::Error } else { FindingLevel::Warn }
    }
}
