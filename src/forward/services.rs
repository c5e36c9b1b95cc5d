//! Look-up of the virtual service by destination address.

use crate::model::{MatchId, ServiceAddress};
use crate::random::{GOLDEN, mix};
use crate::wire::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Immutable map from (protocol, VIP, port) to service.
#[derive(Clone, Debug)]
pub struct ServiceMap {
    v4: FamilyServices<V4Service>,
    v6: FamilyServices<V6Service>,
    /// By [`MatchId`]: the port of a fixed-port match and the wildcard-port match of the same VIP and
    /// protocol. Empty without wildcard-port services.
    beside: Box<[Option<(u16, MatchId)>]>,
    counts: ServiceCounts,
}

/// Numbers of services by the flow table of their connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounts {
    /// IPv4 services of a fixed port: [`crate::flow::V4Key`].
    pub compact: usize,
    /// All others: [`crate::flow::WideKey`].
    pub wide: usize,
}

/// The services of an address family.
#[derive(Clone, Debug)]
struct FamilyServices<K> {
    fixed: AddressTable<K>,
    /// Wildcard-port services, under port 0. Kept apart: fixed-port look-ups never match them.
    wildcard: AddressTable<K>,
}

/// Open addressing with linear probing at a load of at most one half: a look-up is one or two probes.
#[derive(Clone, Debug)]
struct AddressTable<K>(
    /// A power of two of them, at least 1.
    Box<[AddressSlot<K>]>,
);

/// Address and number of a service. A vacant slot has key 0, which no address has: its protocol is not 0.
#[derive(Clone, Copy, Debug, Default)]
struct AddressSlot<K> {
    key: K,
    id: u16,
}

/// Protocol, VIP and port of a service. The default value is vacant.
trait AddressKey: Copy + Default + Eq {
    /// Home slot, modulo the table's size.
    fn home(self) -> usize;
}

/// IPv4 VIP, port and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct V4Service(u64);

/// IPv6 VIP, and port and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct V6Service {
    vip: u128,
    port: u64,
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
    pub fn new(services: &[(ServiceAddress, MatchId)]) -> Self {
        let mut map = Self {
            v4: FamilyServices::of(services, v4_key),
            v6: FamilyServices::of(services, v6_key),
            beside: Box::default(),
            counts: ServiceCounts::default(),
        };
        let compact = |address: &ServiceAddress| address.address.is_ipv4() && !address.is_wildcard();
        let compact = services.iter().filter(|(address, _)| compact(address)).count();
        map.counts = ServiceCounts { compact, wide: services.len() - compact };
        if services.iter().any(|(address, _)| address.is_wildcard()) {
            map.beside = map.beside(services);
        }
        map
    }

    /// Numbers of services by flow table.
    #[must_use]
    pub fn counts(&self) -> ServiceCounts {
        self.counts
    }

    /// The service at this address; `port` in host order. It has precedence over a wildcard-port service
    /// (`ip_vs_service_find` in net/netfilter/ipvs/ip_vs_ctl.c).
    #[inline]
    #[must_use]
    pub fn find(&self, protocol: Protocol, vip: Ipv4Addr, port: u16) -> Option<MatchId> {
        self.v4.fixed.find(V4Service::new(protocol, vip, port))
    }

    /// Likewise, for an IPv6 address.
    #[inline]
    #[must_use]
    pub fn find_v6(&self, protocol: Protocol, vip: Ipv6Addr, port: u16) -> Option<MatchId> {
        self.v6.fixed.find(V6Service::new(protocol, vip, port))
    }

    /// The wildcard-port service of this VIP.
    #[must_use]
    pub fn find_wildcard(&self, protocol: Protocol, vip: IpAddr) -> Option<MatchId> {
        match vip {
            IpAddr::V4(vip) => self.v4.wildcard.find(V4Service::new(protocol, vip, 0)),
            IpAddr::V6(vip) => self.v6.wildcard.find(V6Service::new(protocol, vip, 0)),
        }
    }

    /// The port of `service`, and the wildcard-port service of the same VIP and protocol, if any.
    #[must_use]
    pub fn wildcard_beside(&self, service: MatchId) -> Option<(u16, MatchId)> {
        *self.beside.get(usize::from(service.0))?
    }

    fn beside(&self, services: &[(ServiceAddress, MatchId)]) -> Box<[Option<(u16, MatchId)>]> {
        let end = services.iter().map(|(_, id)| usize::from(id.0) + 1).max().unwrap_or_default();
        let mut beside = vec![None; end];
        for (ServiceAddress { protocol, address }, id) in services.iter().filter(|(at, _)| !at.is_wildcard())
        {
            let other = self.find_wildcard(*protocol, address.ip());
            beside[usize::from(id.0)] = other.map(|other| (address.port(), other));
        }
        beside.into()
    }
}

impl<K: AddressKey> FamilyServices<K> {
    /// The services for which `key` returns a key.
    fn of(services: &[(ServiceAddress, MatchId)], key: impl Fn(&ServiceAddress) -> Option<K>) -> Self {
        let keyed = |wildcard| {
            let of_kind = services.iter().filter(move |(address, _)| address.is_wildcard() == wildcard);
            of_kind.filter_map(|(address, id)| Some((key(address)?, *id))).collect::<Vec<_>>()
        };
        Self { fixed: AddressTable::of(&keyed(false)), wildcard: AddressTable::of(&keyed(true)) }
    }
}

impl<K: AddressKey> AddressTable<K> {
    fn of(services: &[(K, MatchId)]) -> Self {
        let mut slots = Self(vec![AddressSlot::default(); (services.len() * 2).next_power_of_two()].into());
        for (key, id) in services {
            assert_ne!(id.0, NO_SERVICE, "the highest number stands for no service");
            slots.insert(*key, *id);
        }
        slots
    }

    #[inline]
    fn find(&self, key: K) -> Option<MatchId> {
        let found = self.0[key.home() & (self.0.len() - 1)];
        let id = if found.key == key { found.id } else { self.find_displaced(key) };
        (id != NO_SERVICE).then_some(MatchId(id))
    }

    /// Slow path: probes from the home slot on. Returns [`NO_SERVICE`] if the key is not there.
    #[inline(never)]
    fn find_displaced(&self, key: K) -> u16 {
        let mut slot = key.home();
        loop {
            let found = self.0[slot & (self.0.len() - 1)];
            if found.key == key {
                return found.id;
            }
            if found.key == K::default() {
                return NO_SERVICE;
            }
            slot += 1;
        }
    }

    fn insert(&mut self, key: K, id: MatchId) {
        let mask = self.0.len() - 1;
        let mut slot = key.home();
        while ![K::default(), key].contains(&self.0[slot & mask].key) {
            slot += 1;
        }
        let slot = &mut self.0[slot & mask];
        if slot.key == K::default() {
            *slot = AddressSlot { key, id: id.0 };
        }
    }
}

impl V4Service {
    #[inline]
    fn new(protocol: Protocol, vip: Ipv4Addr, port: u16) -> Self {
        // In network byte order, as in the frame: nothing has to be swapped.
        let [vip, port] = [u32::from_ne_bytes(vip.octets()).into(), u64::from(port.to_be())];
        Self(vip | (protocol as u64) << 32 | port << 48)
    }
}

impl AddressKey for V4Service {
    /// Fibonacci hashing: the high bits of the product mix all bits of the key.
    #[inline]
    fn home(self) -> usize {
        (self.0.wrapping_mul(GOLDEN) >> 40) as usize
    }
}

impl V6Service {
    #[inline]
    fn new(protocol: Protocol, vip: Ipv6Addr, port: u16) -> Self {
        let port = (protocol as u64) << 32 | u64::from(port.to_be());
        Self { vip: u128::from_ne_bytes(vip.octets()), port }
    }
}

impl AddressKey for V6Service {
    #[inline]
    fn home(self) -> usize {
        let [low, high] = [self.vip as u64, (self.vip >> 64) as u64];
        (mix(low ^ high.rotate_left(32) ^ self.port.rotate_left(24)) >> 40) as usize
    }
}

fn v4_key(ServiceAddress { protocol, address }: &ServiceAddress) -> Option<V4Service> {
    let IpAddr::V4(vip) = address.ip() else { return None };
    Some(V4Service::new(*protocol, vip, address.port()))
}

fn v6_key(ServiceAddress { protocol, address }: &ServiceAddress) -> Option<V6Service> {
    let IpAddr::V6(vip) = address.ip() else { return None };
    Some(V6Service::new(*protocol, vip, address.port()))
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
                (ServiceAddress { protocol, address: SocketAddr::from((vip(n), 1000 + n)) }, MatchId(n))
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
            (ServiceAddress { protocol, address: SocketAddr::from((vips[vip], port)) }, MatchId(id))
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        let map = ServiceMap::new(&[
            service(tcp, 0, 0, 4),
            service(tcp, 0, 80, 2),
            service(udp, 0, 53, 3),
            service(tcp, 1, 80, 5),
        ]);
        assert_eq!(map.find(tcp, vips[0], 80), Some(MatchId(2)));
        assert_eq!([0, 81].map(|port| map.find(tcp, vips[0], port)), [None; 2]);
        assert_eq!(map.find_wildcard(tcp, vips[0].into()), Some(MatchId(4)));
        assert_eq!(map.counts(), ServiceCounts { compact: 3, wide: 1 });
        assert_eq!(
            [map.find_wildcard(udp, vips[0].into()), map.find_wildcard(tcp, vips[1].into())],
            [None; 2]
        );
        let beside = |id| map.wildcard_beside(MatchId(id));
        assert_eq!(beside(2), Some((80, MatchId(4))));
        assert_eq!([1, 3, 4, 5, 6].map(beside), [None; 5], "other protocols, other VIPs, and itself");
    }

    #[test]
    fn an_empty_map_finds_nothing() {
        assert_eq!(ServiceMap::default().find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
        assert_eq!(ServiceMap::new(&[]).find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
        assert_eq!(ServiceMap::new(&[]).find_wildcard(Protocol::Tcp, Ipv4Addr::LOCALHOST.into()), None);
    }
}
