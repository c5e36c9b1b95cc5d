//! Look-up of the virtual service by destination address.

use crate::model::{ServiceAddress, ServiceId};
use crate::random::GOLDEN;
use crate::wire::Protocol;
use std::net::{IpAddr, Ipv4Addr};

/// Immutable map from (protocol, VIP, port) to service.
#[derive(Clone, Debug)]
pub struct ServiceMap {
    fixed: AddressTable,
    /// Wildcard-port services, under port 0. Kept apart: fixed-port look-ups never match them.
    wildcard: AddressTable,
    /// By [`ServiceId`]: the port of a fixed-port service and the wildcard-port service of the same VIP and
    /// protocol. Empty without wildcard-port services.
    beside: Box<[Option<(u16, ServiceId)>]>,
    counts: ServiceCounts,
}

/// Numbers of services by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCounts {
    /// Fixed-port services.
    pub fixed: usize,
    /// Wildcard-port services.
    pub wildcard: usize,
}

/// Open addressing with linear probing at a load of at most one half: a look-up is one or two probes.
#[derive(Clone, Debug)]
struct AddressTable(
    /// A power of two of them, at least 1.
    Box<[AddressSlot]>,
);

/// Address and number of a service. A vacant slot has key 0, which no address has: its protocol is not 0.
#[derive(Clone, Copy, Debug, Default)]
struct AddressSlot {
    key: u64,
    id: u16,
}

/// No service.
const NO_SERVICE: u16 = u16::MAX;

impl Default for ServiceMap {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl ServiceMap {
    /// Builds a table of `services`, where port 0 is the wildcard port. Of equal addresses the first
    /// wins; the model has no duplicates.
    ///
    /// # Panics
    /// If a service has the highest number, which stands for none (see [`crate::flow::V4Key`]).
    #[must_use]
    pub fn new(services: &[(ServiceAddress, ServiceId)]) -> Self {
        let (wildcard, fixed): (Vec<_>, Vec<_>) =
            services.iter().partition(|(address, _)| address.is_wildcard());
        let mut map = Self {
            fixed: AddressTable::of(&fixed),
            wildcard: AddressTable::of(&wildcard),
            beside: Box::default(),
            counts: ServiceCounts { fixed: fixed.len(), wildcard: wildcard.len() },
        };
        if !wildcard.is_empty() {
            map.beside = map.beside(&fixed);
        }
        map
    }

    /// Numbers of fixed-port and of wildcard-port services.
    #[must_use]
    pub fn counts(&self) -> ServiceCounts {
        self.counts
    }

    /// The service at this address; `port` in host order. It has precedence over a wildcard-port service
    /// (`ip_vs_service_find` in net/netfilter/ipvs/ip_vs_ctl.c).
    #[inline]
    #[must_use]
    pub fn find(&self, protocol: Protocol, vip: Ipv4Addr, port: u16) -> Option<ServiceId> {
        self.fixed.find(key(protocol, vip, port))
    }

    /// The wildcard-port service of this VIP.
    #[must_use]
    pub fn find_wildcard(&self, protocol: Protocol, vip: Ipv4Addr) -> Option<ServiceId> {
        self.wildcard.find(key(protocol, vip, 0))
    }

    /// The port of `service`, and the wildcard-port service of the same VIP and protocol, if any.
    #[must_use]
    pub fn wildcard_beside(&self, service: ServiceId) -> Option<(u16, ServiceId)> {
        *self.beside.get(usize::from(service.0))?
    }

    fn beside(&self, fixed: &[&(ServiceAddress, ServiceId)]) -> Box<[Option<(u16, ServiceId)>]> {
        let end = fixed.iter().map(|(_, id)| usize::from(id.0) + 1).max().unwrap_or_default();
        let mut beside = vec![None; end];
        for (ServiceAddress { protocol, address }, id) in fixed {
            let IpAddr::V4(vip) = address.ip() else { continue };
            let other = self.find_wildcard(*protocol, vip);
            beside[usize::from(id.0)] = other.map(|other| (address.port(), other));
        }
        beside.into()
    }
}

impl AddressTable {
    fn of(services: &[&(ServiceAddress, ServiceId)]) -> Self {
        let mut slots = Self(vec![AddressSlot::default(); (services.len() * 2).next_power_of_two()].into());
        for (address, id) in services {
            assert_ne!(id.0, NO_SERVICE, "the highest number stands for no service");
            if let IpAddr::V4(vip) = address.address.ip() {
                slots.insert(key(address.protocol, vip, address.address.port()), *id);
            }
        }
        slots
    }

    #[inline]
    fn find(&self, key: u64) -> Option<ServiceId> {
        let found = self.0[home(key) & (self.0.len() - 1)];
        let id = if found.key == key { found.id } else { self.find_displaced(key) };
        (id != NO_SERVICE).then_some(ServiceId(id))
    }

    /// Slow path: probes from the home slot on. Returns [`NO_SERVICE`] if the key is not there.
    #[inline(never)]
    fn find_displaced(&self, key: u64) -> u16 {
        let mut slot = home(key);
        loop {
            let found = self.0[slot & (self.0.len() - 1)];
            if found.key == key {
                return found.id;
            }
            if found.key == 0 {
                return NO_SERVICE;
            }
            slot += 1;
        }
    }

    fn insert(&mut self, key: u64, id: ServiceId) {
        let mask = self.0.len() - 1;
        let mut slot = home(key);
        while ![0, key].contains(&self.0[slot & mask].key) {
            slot += 1;
        }
        let slot = &mut self.0[slot & mask];
        if slot.key == 0 {
            *slot = AddressSlot { key, id: id.0 };
        }
    }
}

/// Home slot of `key`, modulo the table's size, by Fibonacci hashing: the high bits of the product mix all
/// bits of the key.
#[inline]
fn home(key: u64) -> usize {
    (key.wrapping_mul(GOLDEN) >> 40) as usize
}

#[inline]
fn key(protocol: Protocol, vip: Ipv4Addr, port: u16) -> u64 {
    // In network byte order, as in the frame: nothing has to be swapped.
    let [vip, port] = [u32::from_ne_bytes(vip.octets()).into(), u64::from(port.to_be())];
    vip | (protocol as u64) << 32 | port << 48
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn only_listed_services_are_found() {
        let vip = |n: u16| Ipv4Addr::from_bits(0xc0a8_0000 + u32::from(n / 7));
        let services: Vec<_> = (0..1000u16)
            .map(|n| {
                let protocol = if n % 3 == 0 { Protocol::Udp } else { Protocol::Tcp };
                (ServiceAddress { protocol, address: SocketAddr::from((vip(n), 1000 + n)) }, ServiceId(n))
            })
            .collect();
        let map = ServiceMap::new(&services);
        for (service, id) in &services {
            let (n, protocol) = (id.0, service.protocol);
            assert_eq!(map.find(protocol, vip(n), 1000 + n), Some(*id));
            let other = if protocol == Protocol::Tcp { Protocol::Udp } else { Protocol::Tcp };
            assert_eq!(map.find(other, vip(n), 1000 + n), None);
            assert_eq!(map.find(protocol, vip(n), 999 - (n % 999)), None);
        }
    }

    #[test]
    fn wildcard_services_are_found_beside_fixed_ports() {
        let vips = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let service = |protocol, vip: usize, port, id| {
            (ServiceAddress { protocol, address: SocketAddr::from((vips[vip], port)) }, ServiceId(id))
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        let map = ServiceMap::new(&[
            service(tcp, 0, 0, 4),
            service(tcp, 0, 80, 2),
            service(udp, 0, 53, 3),
            service(tcp, 1, 80, 5),
        ]);
        assert_eq!(map.find(tcp, vips[0], 80), Some(ServiceId(2)));
        assert_eq!([0, 81].map(|port| map.find(tcp, vips[0], port)), [None; 2]);
        assert_eq!(map.find_wildcard(tcp, vips[0]), Some(ServiceId(4)));
        assert_eq!(map.counts(), ServiceCounts { fixed: 3, wildcard: 1 });
        assert_eq!([map.find_wildcard(udp, vips[0]), map.find_wildcard(tcp, vips[1])], [None; 2]);
        let beside = |id| map.wildcard_beside(ServiceId(id));
        assert_eq!(beside(2), Some((80, ServiceId(4))));
        assert_eq!([1, 3, 4, 5, 6].map(beside), [None; 5], "other protocols, other VIPs, and itself");
    }

    #[test]
    fn an_empty_map_finds_nothing() {
        assert_eq!(ServiceMap::default().find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
        assert_eq!(ServiceMap::new(&[]).find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
        assert_eq!(ServiceMap::new(&[]).find_wildcard(Protocol::Tcp, Ipv4Addr::LOCALHOST), None);
    }
}
