//! Keys of the service maps: the services whose frames the programs select.

use super::errors;
use crate::io::interface::local_addresses;
use crate::model::{Diagnostic, ServiceAddress};
use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The most keys that each service map holds: one for each service, one for each VIP and protocol, and up to
/// three for each VIP. Mirrors steer.bpf.c.
const KEYS_MAX: usize = 131_072;

/// `struct service_v4` of steer.bpf.c: address (4 bytes), port (2), both in network order,
/// IP protocol number (1), [`KeyKind`] (1).
type KeyV4 = [u8; 8];
/// `struct service_v6` of steer.bpf.c: as [`KeyV4`], with an address of 16 bytes.
type KeyV6 = [u8; 20];

/// Protocol of the key for IPv6 fragments whose protocol an extension header hides.
const HIDDEN_PROTOCOL: u8 = 0;

/// Kind of a key. Mirrors steer.bpf.c.
#[derive(Clone, Copy)]
enum KeyKind {
    /// A service of this port.
    OnePort,
    /// Any service of this VIP: fragments have no ports.
    Fragments,
    /// A wildcard-port service.
    Wildcard,
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
}

impl ServiceMaps {
    /// Those of an object that has just been loaded: without services.
    pub(super) fn new() -> Self {
        Self { v4: KeyMap::new("services"), v6: KeyMap::new("services_v6") }
    }

    /// Replaces the set of services. Services in both sets are never missing in between.
    ///
    /// # Errors
    /// [`Diagnostic`] if there are too many, or the kernel refuses; the set is then as it was.
    pub(super) fn replace(&mut self, ebpf: &mut Ebpf, services: &[ServiceAddress]) -> Result<(), Diagnostic> {
        let own = local_addresses();
        let (v4, v6) = (keys_v4(services, &own), keys_v6(services, &own));
        let most = v4.len().max(v6.len());
        if most > KEYS_MAX {
            return Err(errors::too_many_services(most, KEYS_MAX));
        }
        let added = self.v4.add(ebpf, &v4)?;
        if let Err(error) = self.v6.add(ebpf, &v6) {
            self.v4.remove(ebpf, &added);
            return Err(error);
        }
        self.v4.retain(ebpf, v4);
        self.v6.retain(ebpf, v6);
        Ok(())
    }
}

/// The keys of `N` bytes in one service map.
#[derive(Debug)]
struct KeyMap<const N: usize> {
    /// Name in steer.bpf.c.
    name: &'static str,
    keys: BTreeSet<[u8; N]>,
}

impl<const N: usize> KeyMap<N>
where
    [u8; N]: aya::Pod,
{
    fn new(name: &'static str) -> Self {
        Self { name, keys: BTreeSet::new() }
    }

    /// Adds the missing keys of `wanted` to the kernel's map, all or none. Returns them.
    fn add(&self, ebpf: &mut Ebpf, wanted: &BTreeSet<[u8; N]>) -> Result<Vec<[u8; N]>, Diagnostic> {
        let missing: Vec<_> = wanted.difference(&self.keys).copied().collect();
        for (done, key) in missing.iter().enumerate() {
            if let Err(error) = self.map(ebpf).insert(key, 0, 0) {
                self.remove(ebpf, &missing[..done]);
                return Err(errors::map_error(self.name, &error));
            }
        }
        Ok(missing)
    }

    /// Removes all keys that are not in `wanted`, which have been added.
    fn retain(&mut self, ebpf: &mut Ebpf, wanted: BTreeSet<[u8; N]>) {
        let unwanted: Vec<_> = self.keys.difference(&wanted).copied().collect();
        self.remove(ebpf, &unwanted);
        self.keys = wanted;
    }

    /// Removes keys. A missing key is no error, and the call has no other failure.
    fn remove(&self, ebpf: &mut Ebpf, keys: &[[u8; N]]) {
        let mut map = self.map(ebpf);
        for key in keys {
            let _ = map.remove(key);
        }
    }

    fn map<'a>(&self, ebpf: &'a mut Ebpf) -> HashMap<&'a mut MapData, [u8; N], u8> {
        let map = ebpf.map_mut(self.name).expect("steer.bpf.c declares the map");
        HashMap::try_from(map).expect("steer.bpf.c has a key of that size, and values of a byte")
    }
}

fn keys_v4(services: &[ServiceAddress], own: &[IpAddr]) -> BTreeSet<KeyV4> {
    let mut keys = BTreeSet::new();
    for service in services {
        let IpAddr::V4(vip) = service.address.ip() else { continue };
        let of_vip = vip_ends(libc::IPPROTO_ICMP, !own.contains(&vip.into()));
        let ends = of_vip.chain([key_end(service), portless_end(service.protocol as u8, KeyKind::Fragments)]);
        keys.extend(ends.map(|end| joined(vip.octets(), end)));
    }
    keys
}

fn keys_v6(services: &[ServiceAddress], own: &[IpAddr]) -> BTreeSet<KeyV6> {
    let mut keys = BTreeSet::new();
    for service in services {
        let IpAddr::V6(vip) = service.address.ip() else { continue };
        let of_vip = vip_ends(libc::IPPROTO_ICMPV6, !own.contains(&vip.into()));
        let fragments = [service.protocol as u8, HIDDEN_PROTOCOL]
            .map(|protocol| portless_end(protocol, KeyKind::Fragments));
        let ends = of_vip.chain(fragments).chain([key_end(service)]);
        keys.extend(ends.map(|end| joined(vip.octets(), end)));
    }
    keys
}

/// The bytes behind the address in the keys of a VIP for the ICMP of its family.
fn vip_ends(icmp: libc::c_int, is_answered: bool) -> impl Iterator<Item = [u8; 4]> {
    let kinds = [Some(KeyKind::IcmpErrors), is_answered.then_some(KeyKind::Answered)];
    kinds.into_iter().flatten().map(move |kind| portless_end(icmp as u8, kind)) // below 256
}

/// The bytes of a service's key behind the address.
fn key_end(service: &ServiceAddress) -> [u8; 4] {
    let kind = if service.is_wildcard() { KeyKind::Wildcard } else { KeyKind::OnePort };
    let [high, low] = service.address.port().to_be_bytes();
    [high, low, service.protocol as u8, kind as u8]
}

/// The same for packets of `protocol` without a port.
fn portless_end(protocol: u8, kind: KeyKind) -> [u8; 4] {
    [0, 0, protocol, kind as u8]
}

fn joined<const A: usize, const N: usize>(address: [u8; A], end: [u8; 4]) -> [u8; N] {
    let mut key = [0; N];
    key[..A].copy_from_slice(&address);
    key[A..].copy_from_slice(&end);
    key
}
