//! The probe programs on every interface by which real servers are reached.

use crate::io::Interface;
use crate::io::probe::{ServerRoute, VipProbes};
use crate::model::{Diagnostic, DiagnosticKind};
use nix::net::if_::if_indextoname;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The probe programs on every interface by which real servers are reached.
pub(in crate::control) struct VipProber {
    pairs: HashMap<u32, VipProbes>,
    /// The interface at which link-local RIPs are.
    link_local: u32,
    /// Whether probes are translated.
    translates: AtomicBool,
}

/// The attached programs, or the reason why they are not.
pub(in crate::control) type AttachedProber = Result<Arc<VipProber>, Diagnostic>;

impl VipProber {
    /// Attaches the idle program to the interfaces of the routes to these servers, for so many probes in flight. A bridge port has
    /// no address, and the route leads through its bridge.
    ///
    /// # Errors
    /// [`Diagnostic`] if a capability is missing or the kernel has no TCX (before Linux 6.6).
    pub(in crate::control) fn open(
        server_side: &Interface,
        rips: impl Iterator<Item = IpAddr>,
        in_flight: usize,
    ) -> Result<Self, Diagnostic> {
        let link_local = server_side.index;
        let routes = rips.filter_map(|rip| ServerRoute::of(rip, link_local).ok().flatten());
        let mut interfaces: BTreeSet<u32> = routes.map(|route| route.interface).collect();
        if interfaces.is_empty() || server_side.master().is_none() {
            interfaces.insert(server_side.index);
        }
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        let open = |index| Ok((index, VipProbes::open(&of_index(index)?, in_flight)?));
        let pairs = interfaces.into_iter().map(open).collect::<Result<_, Diagnostic>>()?;
        Ok(Self { pairs, link_local, translates: AtomicBool::new(false) })
    }

    /// Translates probes from now on, or passes every packet unchanged.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses, as after the programs were detached by force.
    pub(in crate::control) fn translate(&self, on: bool) -> Result<(), Diagnostic> {
        if self.translates.swap(on, Ordering::Relaxed) == on {
            return Ok(());
        }
        // Every pair, also after one whose interface is gone.
        let switched: Vec<_> = self.pairs.values().map(|probes| probes.translate(on)).collect();
        switched.into_iter().collect()
    }

    /// The programs on the interface with this index.
    pub(super) fn on(&self, interface: u32) -> Option<&VipProbes> {
        self.pairs.get(&interface)
    }

    /// The route to a real server, if it is on a network of this host.
    pub(super) fn route(&self, rip: IpAddr) -> Option<ServerRoute> {
        ServerRoute::of(rip, self.link_local).ok().flatten()
    }

    /// Forgets abandoned probes whose late replies have been dropped long enough. To be called every second or so.
    pub(super) fn sweep(&self, now: Instant) {
        self.pairs.values().for_each(|probes| probes.sweep(now));
    }
}

fn of_index(index: u32) -> Result<Interface, Diagnostic> {
    let name = if_indextoname(index).map_err(|errno| {
        let what = format!("reading the name of interface {index}");
        Diagnostic::new(DiagnosticKind::InterfaceAbsent, what).cause(errno.to_string())
    })?;
    Interface::lookup(&name.to_string_lossy())
}
