//! Hosts of the segment: which MAC address is that of which real server.

use super::finding::AuditedHost;
use super::macs::VirtualRouter;
use crate::model::{InterfaceIndex, PeerAddress};
use crate::neighbor::NeighborTarget;
use crate::wire::MacAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

/// Most stations whose addresses are remembered. Further ones replace the oldest.
const HEARD_MAX: usize = 4096;
/// Most directors that are recognized by their probes, and most stations that do proxy ARP.
const SPECIAL_MAX: usize = 64;

/// The stations, by their messages and by the neighbor machine's reports.
#[derive(Debug, Default)]
pub(super) struct HostTable {
    peers: Vec<PeerAddress>,
    /// Real servers, and their addresses.
    servers: BTreeMap<(InterfaceIndex, IpAddr), ServerStation>,
    rips: BTreeSet<IpAddr>,
    /// RIPs by MAC address, those of earlier MAC addresses included.
    by_mac: BTreeMap<MacAddr, BTreeSet<IpAddr>>,
    /// Last address that a station used, and the stations in the order of their first message.
    heard: BTreeMap<MacAddr, IpAddr>,
    order: VecDeque<MacAddr>,
    /// Stations that answer for any address: an answer for a real server's is no sign that they are one.
    proxies: BTreeSet<MacAddr>,
    /// Stations that probe as a director on standby does.
    directors: BTreeSet<MacAddr>,
}

/// A real server.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerStation {
    /// The director's own address there, if it has one.
    pub(super) own: Option<IpAddr>,
    /// MAC address, once resolved.
    pub(super) mac: Option<MacAddr>,
    /// Given by the configuration: not asked for.
    pub(super) is_fixed: bool,
}

impl HostTable {
    pub(super) fn new(peers: Vec<PeerAddress>) -> Self {
        Self { peers, ..Self::default() }
    }

    pub(super) fn add_server(&mut self, target: &NeighborTarget) {
        let NeighborTarget { interface, rip, own, mac } = *target;
        let known = self.servers.get(&(interface, rip)).and_then(|server| server.mac);
        let own = Some(own).filter(|own| !own.is_unspecified());
        let station = ServerStation { own, mac: mac.or(known), is_fixed: mac.is_some() };
        self.servers.insert((interface, rip), station);
        self.rips.insert(rip);
        if let Some(mac) = mac {
            self.by_mac.entry(mac).or_default().insert(rip);
        }
    }

    pub(super) fn remove_server(&mut self, interface: InterfaceIndex, rip: IpAddr) {
        self.servers.remove(&(interface, rip));
        if self.servers.keys().any(|(_, other)| *other == rip) {
            return; // the same address on the other interface
        }
        self.rips.remove(&rip);
        self.by_mac.retain(|_, rips| {
            rips.remove(&rip);
            !rips.is_empty()
        });
    }

    /// Records that the neighbor machine has found a server there.
    pub(super) fn resolve(&mut self, interface: InterfaceIndex, rip: IpAddr, mac: MacAddr) {
        if let Some(server) = self.servers.get_mut(&(interface, rip)) {
            server.mac = Some(mac);
            self.by_mac.entry(mac).or_default().insert(rip);
        }
    }

    /// Records that a station uses an address.
    pub(super) fn hear(&mut self, mac: MacAddr, address: IpAddr) {
        if let Some(known) = self.heard.get_mut(&mac) {
            if !self.rips.contains(known) {
                *known = address;
            }
            return;
        }
        if self.order.len() >= HEARD_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.heard.remove(&oldest);
        }
        self.heard.insert(mac, address);
        self.order.push_back(mac);
    }

    /// Records that a station behaves as a director on standby.
    pub(super) fn add_director(&mut self, mac: MacAddr) {
        if self.directors.len() < SPECIAL_MAX {
            self.directors.insert(mac);
        }
    }

    /// Records that a station does proxy ARP.
    pub(super) fn add_proxy(&mut self, mac: MacAddr) {
        if self.proxies.len() < SPECIAL_MAX {
            self.proxies.insert(mac);
        }
    }

    pub(super) fn is_director(&self, mac: MacAddr) -> bool {
        self.directors.contains(&mac)
    }

    /// True for a configured peer, by its MAC address or by the address that it uses.
    pub(super) fn is_peer(&self, mac: MacAddr, sender: Option<IpAddr>) -> bool {
        let heard = self.heard.get(&mac).copied();
        self.peers.iter().any(|peer| match *peer {
            PeerAddress::Mac(peer) => peer == mac,
            PeerAddress::Ip(peer) => Some(peer) == sender || Some(peer) == heard,
        })
    }

    /// Returns the host of a MAC address. A RIP of the family of `address` comes first.
    pub(super) fn identify(&self, mac: MacAddr, address: IpAddr) -> AuditedHost {
        if let Some(router) = VirtualRouter::of(mac) {
            return AuditedHost::Router(router);
        }
        if let Some(rips) = self.by_mac.get(&mac) {
            // An address that is disputed names no host.
            let mut others = rips.iter().filter(|rip| **rip != address);
            let alike = others.clone().find(|rip| rip.is_ipv6() == address.is_ipv6());
            if let Some(rip) = alike.or_else(|| others.next()) {
                return AuditedHost::RealServer { rip: *rip, by_other_interface: false };
            }
        }
        match self.heard.get(&mac) {
            Some(heard) if self.rips.contains(heard) && self.proxies.contains(&mac) => AuditedHost::Unknown,
            Some(rip) if self.rips.contains(rip) && *rip != address => {
                AuditedHost::RealServer { rip: *rip, by_other_interface: true }
            }
            Some(other) if *other != address => AuditedHost::Other(*other),
            _ => AuditedHost::Unknown,
        }
    }

    /// MAC address of a real server.
    pub(super) fn mac_of(&self, interface: InterfaceIndex, rip: IpAddr) -> Option<MacAddr> {
        self.servers.get(&(interface, rip)).and_then(|server| server.mac)
    }

    pub(super) fn server(&self, interface: InterfaceIndex, rip: IpAddr) -> Option<&ServerStation> {
        self.servers.get(&(interface, rip))
    }

    /// Real servers with their interfaces, in order.
    pub(super) fn servers(&self) -> impl Iterator<Item = (&(InterfaceIndex, IpAddr), &ServerStation)> {
        self.servers.iter()
    }

    /// MAC addresses of the real servers on the clients' segment, each once.
    pub(super) fn stations(&self) -> BTreeSet<MacAddr> {
        let near = self.servers.iter().filter(|((interface, _), _)| *interface == InterfaceIndex::CLIENT);
        near.filter_map(|(_, server)| server.mac).collect()
    }

    /// True if a station is known to use the address.
    pub(super) fn is_in_use(&self, address: IpAddr) -> bool {
        self.rips.contains(&address) || self.heard.values().any(|heard| *heard == address)
    }
}
