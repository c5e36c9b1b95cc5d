//! Keys of the service maps: the services whose frames the programs select.

use super::errors;
use super::port_sets::{EVERY_PORT, PortSets};
use crate::io::interface::local_addresses;
use crate::io::steered::SteeredService;
use crate::model::{Diagnostic, PortRange, merged_ports};
use crate::wire::vlan::Vlans;
use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The most keys that each service map holds: one for each service, one for each VIP and protocol, and up to
/// three for each VIP. Mirrors services.bpf.h.
const KEYS_MAX: usize = 131_072;

/// Protocol of the key for IPv6 fragments whose protocol an extension header hides.
const HIDDEN_PROTOCOL: u8 = 0;

/// Kind of a key. Mirrors services.bpf.h.
#[derive(Clone, Copy)]
enum KeyKind {
    /// A service of this port.
    OnePort,
    /// Any service of this VIP: fragments have no ports.
    Fragments,
    /// Services of several ports. Its value is the number of the set of ports; other kinds have none.
    SeveralPorts,
    /// Any service of this VIP: errors about packets from it.
    IcmpErrors,
    /// A VIP that is no address of the kernel: control answers its echo requests and neighbor solicitations.
    Answered,
}

/// The keys in the service maps of a loaded object.
#[derive(Debug)]
pub(super) struct ServiceMaps {
    v4: KeyMap<8>,
    v6: KeyMap<20>,
    tagged: KeyMap<24>,
    port_sets: PortSets,
}

impl ServiceMaps {
    /// Maps of a newly loaded object: without services.
    pub(super) fn new() -> Self {
        Self {
            v4: KeyMap::new("services"),
            v6: KeyMap::new("services_v6"),
            tagged: KeyMap::new("services_tagged"),
            port_sets: PortSets::default(),
        }
    }

    /// Replaces the set of services. Frames of services in both sets are selected in between as well.
    ///
    /// # Errors
    /// [`Diagnostic`] if there are too many, or the kernel refuses; the set is then as it was.
    pub(super) fn replace(&mut self, ebpf: &mut Ebpf, services: &[SteeredService]) -> Result<(), Diagnostic> {
        let replaced = self.try_replace(ebpf, services);
        let used = self.v4.keys.values().chain(self.v6.keys.values()).chain(self.tagged.keys.values());
        let used: BTreeSet<u32> = used.copied().collect();
        self.port_sets.retain(|number| used.contains(&number));
        replaced
    }

    fn try_replace(&mut self, ebpf: &mut Ebpf, services: &[SteeredService]) -> Result<(), Diagnostic> {
        let AllKeys { v4, v6, tagged } = self.keys(ebpf, services)?;
        let most = v4.len().max(v6.len()).max(tagged.len());
        if most > KEYS_MAX {
            return Err(errors::too_many_services(most, KEYS_MAX));
        }
        let added_v4 = self.v4.add(ebpf, &v4)?;
        let added_v6 = self.v6.add(ebpf, &v6).inspect_err(|_| self.v4.take_back(ebpf, &added_v4))?;
        self.tagged.add(ebpf, &tagged).inspect_err(|_| {
            self.v4.take_back(ebpf, &added_v4);
            self.v6.take_back(ebpf, &added_v6);
        })?;
        self.v4.retain(ebpf, v4);
        self.v6.retain(ebpf, v6);
        self.tagged.retain(ebpf, tagged);
        Ok(())
    }

    /// The keys of `services` with their values. Writes new sets of ports, to which no key refers yet.
    fn keys(&mut self, ebpf: &mut Ebpf, services: &[SteeredService]) -> Result<AllKeys, Diagnostic> {
        let own = local_addresses();
        let mut keys = AllKeys::default();
        let grouped = by_protocol(services);
        PortSets::check(grouped.values().map(|ports| several(ports)))?;
        for ((vlan, vip, protocol), ports) in grouped {
            let mut ends = Vec::new();
            ends.extend(ports_of_one(&ports).map(|port| (end(port, protocol, KeyKind::OnePort), 0)));
            if let Some(number) = self.set_of_several(ebpf, &ports)? {
                ends.push((end(0, protocol, KeyKind::SeveralPorts), number));
            }
            ends.extend(ends_without_port(vip, protocol, !own.contains(&vip)).map(|end| (end, 0)));
            let ends = ends.into_iter();
            match vip {
                _ if !vlan.is_none() => {
                    keys.tagged.extend(ends.map(|(end, value)| (tagged_key(vlan, vip, end), value)))
                }
                IpAddr::V4(vip) => {
                    keys.v4.extend(ends.map(|(end, value)| (joined(vip.octets(), end), value)))
                }
                IpAddr::V6(vip) => {
                    keys.v6.extend(ends.map(|(end, value)| (joined(vip.octets(), end), value)))
                }
            }
        }
        Ok(keys)
    }

    /// Number of the set of all ports in ranges of several; none without such a range.
    fn set_of_several(&mut self, ebpf: &mut Ebpf, ports: &[PortRange]) -> Result<Option<u32>, Diagnostic> {
        let several = several(ports);
        match several.as_slice() {
            [] => Ok(None),
            [PortRange::EVERY] => Ok(Some(EVERY_PORT)),
            _ => self.port_sets.number(ebpf, several).map(Some),
        }
    }
}

/// Keys of `N` bytes with their values. A key is an end of `struct service` of services.bpf.h: address (4 or 16
/// bytes), port (2), both in network order, IP protocol number (1), [`KeyKind`] (1); of 24 bytes, [`tagged_key`].
type Keys<const N: usize> = BTreeMap<[u8; N], u32>;

/// The keys of all maps.
#[derive(Default)]
struct AllKeys {
    v4: Keys<8>,
    v6: Keys<20>,
    tagged: Keys<24>,
}

/// One service map.
#[derive(Debug)]
struct KeyMap<const N: usize> {
    /// Name in services.bpf.h.
    name: &'static str,
    keys: Keys<N>,
}

impl<const N: usize> KeyMap<N>
where
    [u8; N]: aya::Pod,
{
    fn new(name: &'static str) -> Self {
        Self { name, keys: Keys::new() }
    }

    /// Adds what is missing of `wanted` to the kernel's map, or changes the value: everything or nothing.
    /// Returns these keys.
    fn add(&self, ebpf: &mut Ebpf, wanted: &Keys<N>) -> Result<Vec<[u8; N]>, Diagnostic> {
        let mut added = Vec::new();
        for (key, value) in wanted.iter().filter(|(key, value)| self.keys.get(*key) != Some(value)) {
            if let Err(error) = self.map(ebpf).insert(key, value, 0) {
                self.take_back(ebpf, &added);
                return Err(errors::map_error(self.name, &error));
            }
            added.push(*key);
        }
        Ok(added)
    }

    /// Takes back what [`KeyMap::add`] did. The kernel has had room for these values.
    fn take_back(&self, ebpf: &mut Ebpf, added: &[[u8; N]]) {
        let mut map = self.map(ebpf);
        for key in added {
            let _ = match self.keys.get(key) {
                Some(value) => map.insert(key, value, 0),
                None => map.remove(key),
            };
        }
    }

    /// Removes all keys that are not in `wanted`, which have been added. The call has no other failure than a
    /// missing key.
    fn retain(&mut self, ebpf: &mut Ebpf, wanted: Keys<N>) {
        let mut map = self.map(ebpf);
        for key in self.keys.keys().filter(|key| !wanted.contains_key(*key)) {
            let _ = map.remove(key);
        }
        self.keys = wanted;
    }

    fn map<'a>(&self, ebpf: &'a mut Ebpf) -> HashMap<&'a mut MapData, [u8; N], u32> {
        let map = ebpf.map_mut(self.name).expect("services.bpf.h declares the map");
        HashMap::try_from(map).expect("services.bpf.h has a key of that size, and values of four bytes")
    }
}

/// The ranges of each VIP and protocol number within their VLANs.
fn by_protocol(services: &[SteeredService]) -> BTreeMap<(Vlans, IpAddr, u8), Vec<PortRange>> {
    let mut grouped = BTreeMap::<_, Vec<_>>::new();
    for service in services {
        grouped.entry((service.vlan, service.vip, service.protocol as u8)).or_default().push(service.ports);
    }
    grouped
}

/// All ports in ranges of several.
fn several(ranges: &[PortRange]) -> Vec<PortRange> {
    merged_ports(ranges.iter().copied().filter(|range| range.first < range.last))
}

fn ports_of_one(ranges: &[PortRange]) -> impl Iterator<Item = u16> {
    ranges.iter().filter(|range| range.first == range.last).map(|range| range.first)
}

/// The bytes behind the address in the keys of a VIP for packets without a port: fragments of `protocol`, and ICMP.
fn ends_without_port(vip: IpAddr, protocol: u8, is_answered: bool) -> impl Iterator<Item = [u8; 4]> {
    // Protocol numbers are below 256.
    let icmp = if vip.is_ipv4() { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 } as u8;
    let kinds = [
        Some((protocol, KeyKind::Fragments)),
        vip.is_ipv6().then_some((HIDDEN_PROTOCOL, KeyKind::Fragments)),
        Some((icmp, KeyKind::IcmpErrors)),
        is_answered.then_some((icmp, KeyKind::Answered)),
    ];
    kinds.into_iter().flatten().map(|(protocol, kind)| end(0, protocol, kind))
}

/// The bytes of a key behind the address.
fn end(port: u16, protocol: u8, kind: KeyKind) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, protocol, kind as u8]
}

/// The whole `struct service` of services.bpf.h: [`Vlans::code`] in host order (4 bytes), IPv6 or IPv4-mapped address (16), and
/// the end.
fn tagged_key(vlan: Vlans, vip: IpAddr, end: [u8; 4]) -> [u8; 24] {
    let address = match vip {
        IpAddr::V4(vip) => vip.to_ipv6_mapped(),
        IpAddr::V6(vip) => vip,
    };
    joined(vlan.code().to_ne_bytes(), joined::<16, 20, 4>(address.octets(), end))
}

fn joined<const A: usize, const N: usize, const E: usize>(first: [u8; A], end: [u8; E]) -> [u8; N] {
    let mut key = [0; N];
    key[..A].copy_from_slice(&first);
    key[A..].copy_from_slice(&end);
    key
}
