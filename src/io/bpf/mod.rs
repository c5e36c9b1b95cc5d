//! BPF programs: the steering program (XDP) and the guard program (TCX).
//!
//! [`Programs`] holds one loaded copy of `steer.bpf.c` for one interface. Attaching yields a [`BpfLink`]; the
//! attachment ends when the link is dropped or the process ends.

mod attach;
mod errors;
mod link;
mod mode;
mod redirected;

pub use attach::{Attached, attach, attach_guard, attach_steering};
pub use errors::attached_program;
pub(super) use errors::{CAPABILITIES, occupied};
pub use link::BpfLink;
pub use mode::{AllowedModes, Buffers, XdpMode};
pub(super) use redirected::{RedirectCounter, RedirectCounts};

use super::Interface;
use crate::model::{Diagnostic, ServiceAddress};
use crate::wire::Protocol;
use aya::maps::{HashMap, Map, MapData, MapError, XskMap};
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));

/// The most keys that the `services` map holds: one for each service and one for each VIP and
/// protocol. Mirrors steer.bpf.c.
const KEYS_MAX: usize = 131_072;
/// The most queues that the `xsks` map holds. Mirrors steer.bpf.c.
const QUEUES_MAX: u32 = 1024;

/// `struct service_v4` of steer.bpf.c: address (4 bytes), port (2), both in network order,
/// IP protocol number (1), [`KeyKind`] (1).
type ServiceKey = [u8; 8];

/// Kind of a key. Mirrors steer.bpf.c.
#[derive(Clone, Copy)]
enum KeyKind {
    /// A service of this port.
    OnePort,
    /// Any service of this VIP: fragments have no ports.
    Fragments,
    /// A wildcard-port service.
    Wildcard,
}

/// The loaded programs and maps of one interface.
pub struct Programs {
    ebpf: Ebpf,
    keys: BTreeSet<ServiceKey>,
}

impl Programs {
    /// Creates the maps, without services and sockets. Only frames to the MAC address of `interface` will be
    /// redirected.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses, mostly for lack of CAP_BPF.
    pub fn load(interface: &Interface) -> Result<Self, Diagnostic> {
        Self::load_for(interface, u32::MAX)
    }

    /// [`Programs::load`] for sockets with buffers of `frame_max` bytes: longer frames are counted.
    pub(super) fn load_for(interface: &Interface, frame_max: u32) -> Result<Self, Diagnostic> {
        let mut own_mac = [0u8; 8];
        own_mac[..6].copy_from_slice(&interface.mac.0);
        let ebpf = EbpfLoader::new()
            .override_global("own_mac", &own_mac, true)
            .override_global("frame_max", &frame_max, true)
            .load(OBJECT)
            .map_err(|error| errors::load_error(&interface.name, &error))?;
        Ok(Self { ebpf, keys: BTreeSet::new() })
    }

    /// Replaces the set of services. Services in both sets are never missing in between.
    ///
    /// # Errors
    /// [`Diagnostic`] if a service is not IPv4, there are too many, or the kernel refuses; the set
    /// is then as it was.
    pub fn set_services(&mut self, services: &[ServiceAddress]) -> Result<(), Diagnostic> {
        let wanted = keys(services)?;
        let new: Vec<ServiceKey> = wanted.difference(&self.keys).copied().collect();
        let mut map = services_map(&mut self.ebpf);
        for (done, key) in new.iter().enumerate() {
            if let Err(error) = map.insert(key, 0, 0) {
                remove(&mut map, &new[..done]);
                return Err(errors::map_error("services", &error));
            }
        }
        let removed: Vec<ServiceKey> = self.keys.difference(&wanted).copied().collect();
        remove(&mut map, &removed);
        self.keys = wanted;
        Ok(())
    }

    /// Readers of the redirect counters of `queues`.
    ///
    /// # Errors
    /// [`Diagnostic`] if there is no descriptor left.
    pub(super) fn redirected(&self, queues: &[u32]) -> Result<Vec<RedirectCounter>, Diagnostic> {
        let Some(Map::PerCpuArray(map)) = self.ebpf.map("redirected") else {
            unreachable!("steer.bpf.c declares redirected")
        };
        RedirectCounter::of_queues(map.fd().as_fd(), queues)
            .map_err(|error| errors::map_error("redirected", &MapError::IoError(error)))
    }

    /// Redirects the frames of a receive queue to an AF_XDP socket bound to that queue.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses the socket, or `queue` is not below 1024.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), Diagnostic> {
        let map = self.ebpf.map_mut("xsks").expect("steer.bpf.c declares xsks");
        let mut map = XskMap::try_from(map).expect("xsks is an XSKMAP");
        map.set(queue, socket.as_raw_fd(), 0).map_err(|error| match error {
            MapError::OutOfBounds { .. } => errors::queue_out_of_range(queue, QUEUES_MAX),
            error => errors::map_error("xsks", &error),
        })
    }

    fn steer(&mut self, buffers: Buffers) -> &mut Xdp {
        let name = match buffers {
            Buffers::One => "directrix_steer",
            Buffers::Several => "directrix_steer_frags",
        };
        let program = self.ebpf.program_mut(name).expect("steer.bpf.c defines it");
        program.try_into().expect("it is an XDP program")
    }

    fn guard(&mut self) -> &mut SchedClassifier {
        let program = self.ebpf.program_mut("directrix_guard").expect("steer.bpf.c defines it");
        program.try_into().expect("directrix_guard is a classifier")
    }
}

type ServicesMap<'a> = HashMap<&'a mut MapData, ServiceKey, u8>;

fn services_map(ebpf: &mut Ebpf) -> ServicesMap<'_> {
    let map = ebpf.map_mut("services").expect("steer.bpf.c declares services");
    HashMap::try_from(map).expect("services maps 8 bytes to one")
}

/// Removes keys. A missing key is no error, and the call has no other failure.
fn remove(map: &mut ServicesMap<'_>, keys: &[ServiceKey]) {
    for key in keys {
        let _ = map.remove(key);
    }
}

fn keys(services: &[ServiceAddress]) -> Result<BTreeSet<ServiceKey>, Diagnostic> {
    let mut keys = BTreeSet::new();
    for service in services {
        let IpAddr::V4(vip) = service.address.ip() else { return Err(errors::not_ipv4(service)) };
        let kind = if service.is_wildcard() { KeyKind::Wildcard } else { KeyKind::OnePort };
        keys.insert(key((vip.octets(), service.address.port()), service.protocol, kind));
        keys.insert(key((vip.octets(), 0), service.protocol, KeyKind::Fragments));
    }
    if keys.len() > KEYS_MAX { Err(errors::too_many_services(keys.len(), KEYS_MAX)) } else { Ok(keys) }
}

fn key(([a, b, c, d], port): ([u8; 4], u16), protocol: Protocol, kind: KeyKind) -> ServiceKey {
    let [high, low] = port.to_be_bytes();
    [a, b, c, d, high, low, protocol as u8, kind as u8]
}
