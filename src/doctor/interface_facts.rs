//! Facts about one interface of the director.

use super::conf::Ipv4Settings;
use super::gathered::Gathered;
use super::nic_facts::NicFacts;
use crate::io::{Interface, VethPeer};
use crate::sys::ethtool::Channels;
use crate::sys::netdev::XdpFeatures;
use crate::sys::rtnetlink::LinkInfo;
use std::net::Ipv4Addr;

/// An interface.
#[derive(Clone, Debug)]
pub(super) struct InterfaceFacts {
    pub(super) interface: Interface,
    pub(super) link: LinkInfo,
    /// The bridge, bond or VRF that it belongs to.
    pub(super) master: Option<LinkInfo>,
    /// Name of a macvlan or ipvlan above it.
    pub(super) above: Option<String>,
    pub(super) features: Gathered<XdpFeatures>,
    /// The attached XDP program: id and name.
    pub(super) program: Gathered<Option<(u32, String)>>,
    /// `None` if the driver does not report queues.
    pub(super) channels: Option<Channels>,
    /// Present on a veth: its peer, if that is accessible.
    pub(super) peer: Option<Gathered<VethPeer>>,
    /// Features by ethtool's names that merge received frames, and are on.
    pub(super) merging: Vec<&'static str>,
    pub(super) strips_tags: bool,
    pub(super) settings: Ipv4Settings,
    pub(super) nic: NicFacts,
    /// IPv4 addresses with a limited lifetime.
    pub(super) leased: Vec<Ipv4Addr>,
    /// Ports of the bridge that it is or belongs to, which carry no frames yet by the spanning tree protocol, with their state.
    pub(super) waiting_ports: Vec<(String, &'static str)>,
    /// Programs that manage it: "NetworkManager", "systemd-networkd".
    pub(super) managers: Vec<&'static str>,
}

impl InterfaceFacts {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.interface.name
    }

    /// Kind of a virtual interface, "" for hardware.
    pub(super) fn kind(&self) -> &str {
        self.link.kind.as_deref().unwrap_or_default()
    }

    /// Whether frames that it carries arrive on other interfaces: a bond or team.
    pub(super) fn is_master(&self) -> bool {
        self.link.is_master || matches!(self.kind(), "bond" | "team")
    }

    /// Whether it is hardware, also of a virtual machine.
    pub(super) fn is_hardware(&self) -> bool {
        self.nic.device.is_some()
    }

    /// Whether frames pass a bridge here: it is one, or a port of one.
    pub(super) fn is_bridged(&self) -> bool {
        let is_bridge = |link: &LinkInfo| link.kind.as_deref() == Some("bridge");
        is_bridge(&self.link) || self.master.as_ref().is_some_and(is_bridge)
    }
}
