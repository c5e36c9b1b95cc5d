//! Frames of services, as the kernel selects them.

use super::entry::{ServiceEntry, VipState};
use super::registry::Registry;
use crate::io::SteeredService;
use crate::model::{Match, PortRange, VirtualService};

/// The server's port of FTP's data connections in active mode (RFC 959 section 3.2).
const FTP_DATA: u16 = 20;

/// Returns the frames of a service, to all its VIPs.
pub(in crate::control) fn steered(service: &VirtualService) -> impl Iterator<Item = SteeredService> + '_ {
    let active = service.ftp_data().map(|of| Match { ports: PortRange::one(FTP_DATA), ..of });
    service.all_matches().chain(active).map(|of| SteeredService { vlan: service.vlan, ..of.into() })
}

impl Registry {
    /// Returns the matches whose VIP is claimed or released, for the steering set.
    ///
    /// A released VIP stays: a host with a stale ARP entry is served until it takes the master's announcement, and a takeover
    /// need not wait for the kernel.
    #[must_use]
    pub fn served(&self) -> Vec<SteeredService> {
        self.services.iter().flat_map(served).collect()
    }
}

/// Returns the frames of a service to its claimed and released VIPs.
fn served(service: &ServiceEntry) -> impl Iterator<Item = SteeredService> + '_ {
    let is_served = |of: &SteeredService| {
        matches!(service.vip_state(of.vip), Some(VipState::Claimed | VipState::Released))
    };
    steered(&service.config).filter(is_served)
}
