//! Health probes of a VIP on one real server, over sockets of the kernel.
//!
//! A pair of TCX programs translates between RIP and VIP (`bpf/probe.bpf.c`): the socket is connected to the RIP, for which
//! the kernel has a route and a neighbor, and the real server is asked for the VIP. [`VipProbes::open`] takes all
//! capabilities that are needed, and nothing takes one afterwards (Linux 5.19). The programs end with the process. Until
//! [`VipProbes::translate`] an idle program holds their places.
//!
//! 1. [`VipProbes::socket`] makes a socket whose packets are translated;
//! 2. the caller connects it to [`ProbeSocket::destination`], and exchanges what the check needs;
//! 3. [`ArmedProbe::evidence`] has what the programs saw, which [`ProbeVerdict::of`] turns into a cause;
//! 4. the caller closes the socket, and then [`ArmedProbe::end`]s the translation.

mod armed;
mod evidence;
mod maps;
mod refusal;
mod route;
mod socket;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod verdict;

pub use crate::health::ProbeIcmp;
pub use armed::ArmedProbe;
pub use evidence::ProbeEvidence;
pub use refusal::ProbeRefusal;
pub use route::ServerRoute;
pub use socket::{ProbeSocket, echo_request};
pub use table::{LATE_REPLIES, ProbeCounts, ProbeEnd};
pub use target::{ProbeProtocol, ProbeTarget};
pub use verdict::{ProbeExchange, ProbeVerdict};

use super::Interface;
use super::bpf::{BpfLink, ProbePrograms};
use crate::model::Diagnostic;
use armed::lock;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use table::ProbeTable;

/// Entries of each map for one probe in flight: it, and the probes before it whose late replies are still dropped, down to a
/// timeout of half a second.
const ENTRIES_EACH: u32 = 8;

/// The probe programs on one interface. Dropping it detaches them; no probe is translated any more.
pub struct VipProbes {
    interface: u32,
    table: Arc<Mutex<ProbeTable>>,
    programs: ProbePrograms,
    /// At ingress and egress.
    links: [BpfLink; 2],
}

impl VipProbes {
    /// Loads the programs, for so many probes in flight at once, and attaches the idle one. The interface is the one that has the
    /// director's address towards the real servers: the VLAN or bridge device, not its port.
    ///
    /// # Errors
    /// [`Diagnostic`] if a capability is missing or the kernel has no TCX (before Linux 6.6).
    pub fn open(interface: &Interface, in_flight: u32) -> Result<Self, Diagnostic> {
        let mut programs = ProbePrograms::load(interface, in_flight.max(1).saturating_mul(ENTRIES_EACH))?;
        let links = programs.attach(interface)?;
        let table = ProbeTable::new(programs.take_map("probe_fwd"), programs.take_map("probe_back"));
        Ok(Self { interface: interface.index, table: Arc::new(Mutex::new(table)), programs, links })
    }

    /// Translates probes from now on, or passes every packet unchanged. A probe without translation is known as such, and
    /// finds nothing out.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses, as after the programs were detached by force.
    pub fn translate(&self, on: bool) -> Result<(), Diagnostic> {
        self.programs.switch(&self.links, on)
    }

    /// Makes a socket that is bound to the interface and to the director's address, with a time to live of 1 and ready to
    /// connect. It does not block.
    ///
    /// # Errors
    /// [`ProbeRefusal`] if the host refuses: nothing is known of the server then.
    pub fn socket(&self, target: &ProbeTarget) -> Result<ProbeSocket, ProbeRefusal> {
        socket::open(self.interface, target, |port| self.arm(target, port))
    }

    /// Translates the packets of a bound socket from now on: of `port`, or of this identifier of a ping socket.
    ///
    /// # Errors
    /// [`ProbeRefusal`] if the maps are full or the families differ.
    pub fn arm(&self, target: &ProbeTarget, port: u16) -> Result<ArmedProbe, ProbeRefusal> {
        ArmedProbe::new(&self.table, target, port)
    }

    /// Forgets abandoned probes whose late replies have been dropped for [`LATE_REPLIES`]. To be called every second or so;
    /// `now` never goes back.
    pub fn sweep(&self, now: Instant) {
        lock(&self.table).sweep(now);
    }

    /// Entries of the maps, and refusals.
    #[must_use]
    pub fn counts(&self) -> ProbeCounts {
        lock(&self.table).counts()
    }
}
