//! State of the host that a check depends on, read once.

use super::host::{Address, DefaultRoute, InterfaceInfo, NetlinkConnection};
use super::options::RealServerOptions;
use super::sysctl::{SysctlKey, SysctlName};
use crate::model::Diagnostic;

/// Interfaces, addresses, routes and sysctls of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) links: Vec<InterfaceInfo>,
    pub(super) addresses: Vec<Address>,
    pub(super) default_routes: Vec<DefaultRoute>,
    /// Sysctls of `conf/all`.
    pub(super) all: ConfSettings,
    /// Sysctls of `conf/IFACE`, in the order of `links`.
    pub(super) own: Vec<ConfSettings>,
}

/// Sysctls of one directory below conf/.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConfSettings {
    pub(super) arp_ignore: i32,
    pub(super) arp_announce: i32,
    pub(super) rp_filter: i32,
}

impl Facts {
    pub(super) fn read() -> Result<Self, Diagnostic> {
        let host = NetlinkConnection::open()?;
        let links = host.links()?;
        let own = links.iter().map(|link| ConfSettings::read(&link.name)).collect::<Result<_, _>>()?;
        let (addresses, default_routes) = (host.addresses()?, host.default_routes()?);
        Ok(Self { all: ConfSettings::read("all")?, own, addresses, default_routes, links })
    }

    /// Interface by index; `None` if it was removed meanwhile.
    pub(super) fn link(&self, index: u32) -> Option<&InterfaceInfo> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Returns true if the interface `index` has an address.
    pub(super) fn has_address(&self, index: u32) -> bool {
        self.addresses.iter().any(|address| address.index == index)
    }

    /// Whether a default route uses the interface `index`.
    pub(super) fn leaves_by(&self, index: u32) -> bool {
        self.default_routes.iter().any(|route| route.index == index)
    }

    /// Interfaces that are up and use ARP, each with its effective sysctls: the larger of `all` and its own.
    pub(super) fn with_arp(
        &self,
        options: &RealServerOptions,
    ) -> impl Iterator<Item = (&InterfaceInfo, ConfSettings)> {
        let vip_interface = options.interface.clone();
        let pairs = self.links.iter().zip(&self.own);
        let with_arp = pairs.filter(move |(link, _)| link.up && link.arp && link.name != vip_interface);
        with_arp.map(|(link, own)| (link, own.max(self.all)))
    }
}

impl ConfSettings {
    /// Reads the sysctls of an interface. Missing ones (an interface without IPv4) are 0.
    fn read(interface: &str) -> Result<Self, Diagnostic> {
        let value = |name| SysctlKey::new(interface, name).read().map(Option::unwrap_or_default);
        Ok(Self {
            arp_ignore: value(SysctlName::ArpIgnore)?,
            arp_announce: value(SysctlName::ArpAnnounce)?,
            rp_filter: value(SysctlName::RpFilter)?,
        })
    }

    fn max(self, all: Self) -> Self {
        Self {
            arp_ignore: self.arp_ignore.max(all.arp_ignore),
            arp_announce: self.arp_announce.max(all.arp_announce),
            rp_filter: self.rp_filter.max(all.rp_filter),
        }
    }
}
