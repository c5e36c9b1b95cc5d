//! Which virtual service an address belongs to.

use crate::model::{ServiceAddress, ServiceId};
use crate::wire::Protocol;
use std::net::{IpAddr, Ipv4Addr};

/// A read-only hash table from (protocol, VIP, port) to service.
///
/// Open addressing at a load of at most one half, so that a look-up is one or two probes.
#[derive(Clone, Debug)]
pub struct ServiceMap {
    /// A power of two of them, at least 1.
    v4: Box<[Slot]>,
}

/// A service's address and number. No address is 0: protocol numbers are not.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    id: u16,
}

impl Default for ServiceMap {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl ServiceMap {
    /// A table of `services`. Of equal addresses the first wins; the model has none.
    ///
    /// # Panics
    /// If a service has the last number, which stands for none (see [`crate::flow::V4Key`]).
    #[must_use]
    pub fn new(services: &[(ServiceAddress, ServiceId)]) -> Self {
        let slots = (services.len() * 2).next_power_of_two();
        let mut map = Self { v4: vec![Slot::default(); slots].into() };
        for (address, id) in services {
            assert_ne!(id.0, u16::MAX, "the last number stands for no service");
            if let IpAddr::V4(vip) = address.address.ip() {
                map.insert(key(address.protocol, vip, address.address.port()), *id);
            }
        }
        map
    }

    /// The service at this address; `port` in host order.
    #[inline]
    #[must_use]
    pub fn find(&self, protocol: Protocol, vip: Ipv4Addr, port: u16) -> Option<ServiceId> {
        let key = key(protocol, vip, port);
        let mut slot = home(key);
        loop {
            let found = self.v4[slot & (self.v4.len() - 1)];
            if found.key == key {
                return Some(ServiceId(found.id));
            }
            if found.key == 0 {
                return None;
            }
            slot += 1;
        }
    }

    fn insert(&mut self, key: u64, id: ServiceId) {
        let mask = self.v4.len() - 1;
        let mut slot = home(key);
        while ![0, key].contains(&self.v4[slot & mask].key) {
            slot += 1;
        }
        let slot = &mut self.v4[slot & mask];
        if slot.key == 0 {
            *slot = Slot { key, id: id.0 };
        }
    }
}

/// Where `key` would stand, to be cut to the table's size. Fibonacci hashing: the high bits of the
/// product mix all bits of the key.
#[inline]
fn home(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

#[inline]
fn key(protocol: Protocol, vip: Ipv4Addr, port: u16) -> u64 {
    // As they lie in the frame: nothing has to be turned round.
    let [vip, port] = [u32::from_ne_bytes(vip.octets()).into(), u64::from(port.to_be())];
    vip | (protocol as u64) << 32 | port << 48
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn every_service_is_found_and_nothing_else() {
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
    fn an_empty_map_finds_nothing() {
        assert_eq!(ServiceMap::default().find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
        assert_eq!(ServiceMap::new(&[]).find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
    }
}
