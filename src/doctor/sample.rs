//! Facts of a sound host, for tests.

use super::conf::Ipv4Settings;
use super::facts::{DirectorFacts, KernelFacts, NetworkFacts, WantedSetup};
use super::fault::Judgement;
use super::finding::{FindingLevel, Remedy};
use super::ha_facts::HaFacts;
use super::host_facts::HostFacts;
use super::interface_facts::InterfaceFacts;
use super::nic_facts::NicFacts;
use super::process_facts::ProcessFacts;
use crate::io::Interface;
use crate::sys::netdev::XdpFeatures;
use crate::sys::rtnetlink::LinkInfo;
use crate::wire::MacAddr;

/// A director on a NIC with every ability, with one VIP and one real server.
pub(super) fn sound() -> DirectorFacts {
    DirectorFacts {
        wanted: WantedSetup {
            vips: vec![[10, 0, 0, 100].into()],
            servers: vec![[10, 0, 0, 2].into()],
            ..WantedSetup::default()
        },
        interfaces: vec![interface()],
        refusals: Vec::new(),
        served: Ok(None),
        running: None,
        replies: Some(Ok(Vec::new())),
        ha: HaFacts::default(),
        host: HostFacts::default(),
        network: network(),
        process: ProcessFacts { is_root: true, ..ProcessFacts::default() },
        kernel: KernelFacts {
            xdp_socket: Ok(()),
            packet_socket: Ok(()),
            program: Ok(()),
            tcx: Some(Ok(())),
            jit: Some(1),
            cores: 4,
        },
    }
}

fn interface() -> InterfaceFacts {
    let interface = Interface {
        name: "eth0".into(),
        index: 2,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        queues: 1,
        addresses: vec![([10, 0, 0, 1].into(), 24)],
        ipv6_addresses: Vec::new(),
    };
    let link = LinkInfo {
        index: 2,
        name: "eth0".into(),
        has_carrier: true,
        transmit_queues: 1,
        ..LinkInfo::default()
    };
    InterfaceFacts {
        interface,
        link,
        master: None,
        above: None,
        features: Ok(XdpFeatures(0x7f)),
        program: Ok(None),
        channels: None,
        peer: None,
        merging: Vec::new(),
        strips_tags: false,
        settings: Ipv4Settings::default(),
        nic: NicFacts::default(),
        leased: Vec::new(),
        waiting_ports: Vec::new(),
        managers: Vec::new(),
    }
}

fn network() -> NetworkFacts {
    NetworkFacts {
        addresses: Ok(Vec::new()),
        local_routes: Ok(Vec::new()),
        neighbors: Ok(Vec::new()),
        gateways: Vec::new(),
        chains: Ok(Vec::new()),
        arp_tables: Vec::new(),
        all: Ipv4Settings::default(),
        bridge_filters: Vec::new(),
    }
}

/// The most urgent level of a judgement; `None` if it found nothing.
pub(super) fn level(judgement: Judgement) -> Option<FindingLevel> {
    match judgement {
        Judgement::Moot => panic!("nothing was examined"),
        Judgement::Examined(faults) => faults.iter().map(|fault| fault.level).min(),
    }
}

/// The remedies of a judgement that are commands.
pub(super) fn commands(judgement: Judgement) -> Vec<String> {
    let Judgement::Examined(faults) = judgement else { panic!("nothing was examined") };
    let command = |remedy| match remedy {
        Some(Remedy::Command(line)) => Some(line),
        _ => None,
    };
    faults.into_iter().filter_map(|fault| command(fault.remedy)).collect()
}
