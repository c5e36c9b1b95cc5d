//! BPF programs: the steering program (XDP), the guard program and the probe programs (TCX).
//!
//! [`Programs`] holds one loaded copy of `steer.bpf.c` for one interface. Attaching yields a [`BpfLink`]; the
//! attachment ends when the link is dropped or the process ends.

mod attach;
mod errors;
mod link;
mod mode;
mod port_sets;
mod probe;
mod redirected;
mod services;
#[cfg(test)]
mod tests;

pub use attach::{Attached, attach, attach_guard, attach_steering, load_steering, replace_steering};
pub use errors::attached_program;
pub(super) use errors::{CAPABILITIES, occupied, os_error};
pub use link::BpfLink;
pub use mode::{AllowedModes, Buffers, XdpMode};
pub(super) use probe::{ProbeMap, ProbePrograms};
pub(super) use redirected::{RedirectCounter, RedirectCounts};

use super::{Interface, SteeredService};
use crate::model::Diagnostic;
use aya::maps::{Map, MapError, XskMap};
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use services::ServiceMaps;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));

/// The most queues that the `xsks` map holds. Mirrors steer.bpf.c.
const QUEUES_MAX: u32 = 1024;

/// The loaded programs and maps of one interface.
pub struct Programs {
    ebpf: Ebpf,
    services: ServiceMaps,
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
        Ok(Self { ebpf, services: ServiceMaps::new() })
    }

    /// Replaces the set of services. Frames of services in both sets are selected in between as well.
    ///
    /// # Errors
    /// [`Diagnostic`] if there are too many, or the kernel refuses; the set is then as it was.
    pub fn set_services<S>(&mut self, services: &[S]) -> Result<(), Diagnostic>
    where
        S: Copy + Into<SteeredService>,
    {
        let services: Vec<SteeredService> = services.iter().copied().map(Into::into).collect();
        self.services.replace(&mut self.ebpf, &services)
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
