//! Gathering of the facts: reads and trials, without a change to the host.

use super::conf::{self, Ipv4Settings};
use super::facts::{DirectorFacts, KernelFacts, LocalNetwork, NetworkFacts, Refusal};
use super::files::Files;
use super::gathered::{Gathered, Trial};
use super::ha_facts::HaFacts;
use super::host_facts::HostFacts;
use super::interface_facts::InterfaceFacts;
use super::nic_facts::NicFacts;
use super::process_facts::ProcessFacts;
use super::replies::{self, Replies};
use super::running_facts::RunningFacts;
use super::wanted::wanted;
use crate::control::client::Blocking;
use crate::control::host::resolve::ResolvedHost;
use crate::io::claim::is_any_served;
use crate::io::{Interface, OwnAddress, VethPeer, bpf};
use crate::model::{Config, Diagnostic, DirectorConfig};
use crate::sys::rtnetlink::{self, LinkInfo, LocalRoute};
use crate::sys::{errno, ethtool, netdev, nftables, trial};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::num::NonZero;
use std::path::Path;
use std::thread;

/// Features by ethtool's names that merge received frames.
const MERGING: [&str; 3] = ["rx-lro", "rx-gro-list", "rx-udp-gro-forwarding"];
/// Settings of /proc/sys/net/bridge that pass bridged frames to the filters of IP.
const BRIDGE_FILTERS: [&str; 3] =
    ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"];

/// Gathers the facts about this host as a director with `config`, and about a director at `socket`.
pub(super) fn facts(config: &Config, socket: Option<&Path>) -> DirectorFacts {
    let (files, links) = (Files::host(), rtnetlink::links().unwrap_or_default());
    let host = HostFacts::read(&files);
    let interfaces: Vec<_> =
        named(&config.director).filter_map(|name| Interface::lookup(name).ok()).collect();
    let tcx = interfaces.first().map(|client| tried(trial::tcx_programs(client.index).map(drop)));
    let (wanted, network) = (wanted(config), network(&links));
    let interfaces = interfaces.into_iter().filter_map(|one| {
        let facts = interface(one, &links, &files)?;
        Some(InterfaceFacts { managers: managers(&host, &files, facts.interface.index), ..facts })
    });
    let interfaces: Vec<_> = interfaces.collect();
    DirectorFacts {
        refusals: refusals(config),
        served: socket.map_or(Ok(None), served),
        running: socket.and_then(|socket| running(socket, &files)),
        replies: socket.and_then(|_| replies(interfaces.first()?, &wanted.vips, &network)),
        ha: HaFacts::read(config, &wanted.groups, &files),
        wanted,
        interfaces,
        network,
        host,
        process: ProcessFacts::read(),
        kernel: kernel(tcx),
    }
}

fn named(director: &DirectorConfig) -> impl Iterator<Item = &String> {
    [Some(&director.interface), director.server_interface.as_ref()].into_iter().flatten()
}

/// The errors of a start on this host, which needs no permission to find them.
fn refusals(config: &Config) -> Vec<Refusal> {
    let errors = ResolvedHost::resolve(config).err().map(|error| error.errors.0).unwrap_or_default();
    let of_server = |error: &Diagnostic| {
        let place = error.place.as_deref();
        place.is_some_and(|place| config.places.servers.contains(place))
    };
    errors.into_iter().map(|error| Refusal { of_server: of_server(&error), diagnostic: error }).collect()
}

/// Queues of a running director's AF_XDP sockets. An unused path with no director on this host is no error.
fn served(socket: &Path) -> Gathered<Option<Vec<(String, u32)>>> {
    match Blocking::new(socket).and_then(|director| director.workers()) {
        Err(_) if !is_any_served() => Ok(None),
        Err(error) => Err(error.to_string()),
        Ok(workers) => {
            let ports =
                workers.into_iter().filter(|worker| worker.backend == "xdp").flat_map(|worker| worker.ports);
            let queues: Vec<_> = ports.map(|port| (port.interface, port.queue)).collect();
            Ok(Some(queues).filter(|queues| !queues.is_empty()))
        }
    }
}

fn running(socket: &Path, files: &Files) -> Option<RunningFacts> {
    RunningFacts::ask(&Blocking::new(socket).ok()?, files).ok()
}

/// A sample of the client side, if it can receive.
fn replies(
    client: &InterfaceFacts,
    vips: &[IpAddr],
    network: &NetworkFacts,
) -> Option<Gathered<Vec<Replies>>> {
    let own: Vec<_> = network.addresses.iter().flatten().map(|own| own.address).collect();
    let is_live = client.link.is_up && client.link.has_carrier && !vips.is_empty();
    is_live.then(|| replies::sample(&client.interface, vips, &own))
}

/// Programs with an interface in their files under /run, which run in this network namespace: indices are of one.
fn managers(host: &HostFacts, files: &Files, index: u32) -> Vec<&'static str> {
    let has_line =
        |file: String, is_it: fn(&str) -> bool| files.text(&file).is_some_and(|text| text.lines().any(is_it));
    let is_managed = |line: &str| matches!(line, "managed=true" | "managed=full");
    let is_configured =
        |line: &str| line.strip_prefix("ADMIN_STATE=").is_some_and(|state| state != "unmanaged");
    let of_network_manager = host.programs.contains("NetworkManager")
        && has_line(format!("run/NetworkManager/devices/{index}"), is_managed);
    let of_networkd = host.programs.contains("systemd-network")
        && has_line(format!("run/systemd/netif/links/{index}"), is_configured);
    [of_network_manager.then_some("NetworkManager"), of_networkd.then_some("systemd-networkd")]
        .into_iter()
        .flatten()
        .collect()
}

/// Ports of a bridge that do not forward, with their state (BR_STATE_* of linux/if_bridge.h).
fn waiting_ports(files: &Files, bridge: &str) -> Vec<(String, &'static str)> {
    let directory = format!("sys/class/net/{bridge}/brif");
    let state = |port: String| {
        let state = match files.number(&format!("{directory}/{port}/state"))? {
            1 => "listening",
            2 => "learning",
            4 => "blocking",
            _ => return None,
        };
        Some((port, state))
    };
    files.names(&directory).into_iter().filter_map(state).collect()
}

fn interface(interface: Interface, links: &[LinkInfo], files: &Files) -> Option<InterfaceFacts> {
    let link = links.iter().find(|link| link.index == interface.index)?.clone();
    let name = interface.name.as_str();
    let above = |upper: &&LinkInfo| {
        let is_virtual = matches!(upper.kind.as_deref(), Some("macvlan" | "ipvlan" | "macvtap" | "ipvtap"));
        is_virtual && upper.link == Some(link.index) && upper.link_netns.is_none()
    };
    let is_veth = link.kind.as_deref() == Some("veth");
    let master = links.iter().find(|other| Some(other.index) == link.master).cloned();
    let bridge = [Some(&link), master.as_ref()]
        .into_iter()
        .flatten()
        .find(|link| link.kind.as_deref() == Some("bridge"));
    Some(InterfaceFacts {
        waiting_ports: bridge.map(|bridge| waiting_ports(files, &bridge.name)).unwrap_or_default(),
        leased: rtnetlink::leased_addresses(interface.index).unwrap_or_default(),
        managers: Vec::new(),
        nic: NicFacts::read(files, &interface),
        master,
        above: links.iter().find(above).map(|upper| upper.name.clone()),
        features: netdev::xdp_features(interface.index).map_err(|error| features_unknown(&error)),
        program: bpf::attached_program(&interface).map_err(|error| errno(&error)),
        channels: ethtool::channels(name),
        peer: is_veth.then(|| VethPeer::of(&interface).ok_or_else(|| hidden_peer(name))),
        merging: MERGING
            .into_iter()
            .filter(|feature| ethtool::feature(name, feature) == Some(true))
            .collect(),
        strips_tags: ethtool::strips_tags(name),
        settings: Ipv4Settings::read(name),
        link,
        interface,
    })
}

fn features_unknown(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "the kernel does not report it before Linux 6.3".into(),
        _ => errno(error),
    }
}

fn hidden_peer(name: &str) -> String {
    format!("the other end of {name} is in a network namespace that this process cannot enter or find")
}

fn network(links: &[LinkInfo]) -> NetworkFacts {
    let addresses = Interface::own_addresses().map_err(|error| errno(&error));
    let local_routes = rtnetlink::local_routes().map_err(|error| errno(&error));
    let own = addresses.as_deref().unwrap_or_default();
    let unexplained = |routes: Vec<LocalRoute>| {
        routes
            .into_iter()
            .filter(|route| !is_own(route, own))
            .map(|route| local_network(&route, links))
            .collect()
    };
    let neighbors = rtnetlink::neighbors().map_err(|error| errno(&error));
    NetworkFacts {
        local_routes: local_routes.map(unexplained),
        neighbors: neighbors.map(|all| all.iter().map(|entry| (entry.address, entry.mac)).collect()),
        gateways: rtnetlink::default_gateways().unwrap_or_default(),
        chains: nftables::base_chains().map_err(|error| errno(&error)),
        arp_tables: arp_tables(),
        all: Ipv4Settings::read("all"),
        bridge_filters: bridge_filters(),
        addresses,
    }
}

/// Whether the kernel has made the route for an own address, or for the loopback network.
fn is_own(route: &LocalRoute, own: &[OwnAddress]) -> bool {
    let single = if route.network.is_ipv4() { 32 } else { 128 };
    let is_loopback = route.network == IpAddr::from([127, 0, 0, 0]);
    is_loopback || (route.prefix == single && own.iter().any(|address| address.address == route.network))
}

fn local_network(route: &LocalRoute, links: &[LinkInfo]) -> LocalNetwork {
    let link = links.iter().find(|link| link.index == route.index);
    let interface = link.map_or_else(|| "lo".to_owned(), |link| link.name.clone());
    LocalNetwork { network: route.network, prefix: route.prefix, interface, table: route.table }
}

/// Names of the tables of arptables; none if the file cannot be read, which takes root.
fn arp_tables() -> Vec<String> {
    let names = fs::read_to_string("/proc/net/arp_tables_names").unwrap_or_default();
    names.lines().map(str::to_owned).collect()
}

fn bridge_filters() -> Vec<&'static str> {
    let is_on = |name: &&str| conf::number(&format!("/proc/sys/net/bridge/{name}")) == Some(1);
    BRIDGE_FILTERS.into_iter().filter(is_on).collect()
}

fn kernel(tcx: Option<Trial>) -> KernelFacts {
    KernelFacts {
        xdp_socket: tried(trial::xdp_socket()),
        packet_socket: tried(trial::packet_socket()),
        program: tried(trial::load_program()),
        tcx,
        jit: conf::number("/proc/sys/net/core/bpf_jit_enable"),
        cores: thread::available_parallelism().map_or(1, NonZero::get) as u32, // a few hundred
    }
}

fn tried(outcome: io::Result<()>) -> Trial {
    outcome.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}
