//! State of the host that a check depends on, read once.

use super::host::{Address, DefaultRoute, InterfaceInfo, NetlinkConnection, ProxyEntry};
use super::options::RealServerOptions;
use super::sysctl::{SysctlKey, SysctlName};
use crate::model::Diagnostic;

/// Interfaces, addresses, routes and sysctls of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) links: Vec<InterfaceInfo>,
    pub(super) addresses: Vec<Address>,
    /// Default routes of both families.
    pub(super) default_routes: Vec<DefaultRoute>,
    /// Proxy neighbor entries of IPv6.
    pub(super) proxies: Vec<ProxyEntry>,
    /// Sysctls of `conf/all`.
    pub(super) all: ConfSettings,
    /// Sysctls of `conf/IFACE`, in the order of `links`.
    pub(super) own: Vec<ConfSettings>,
    /// IPv6 sysctls of `conf/all`; `None` if the kernel has no IPv6.
    pub(super) ipv6_all: Option<Ipv6Settings>,
    /// IPv6 sysctls of `conf/IFACE`, in the order of `links`; `None` for an interface that cannot have IPv6.
    pub(super) ipv6_own: Vec<Option<Ipv6Settings>>,
}

/// IPv6 sysctls of one directory below conf/.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ipv6Settings {
    pub(super) disabled: bool,
    pub(super) forwarding: bool,
    pub(super) proxy_ndp: bool,
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
        let ipv6_all = Ipv6Settings::read("all")?;
        let ipv6_own = links.iter().map(|link| Ipv6Settings::read(&link.name)).collect::<Result<_, _>>()?;
        Ok(Self {
            addresses: host.addresses()?,
            default_routes: host.default_routes()?,
            // A kernel without IPv6 refuses the request.
            proxies: if ipv6_all.is_some() { host.proxies()? } else { Vec::new() },
            all: ConfSettings::read("all")?,
            own,
            ipv6_all,
            ipv6_own,
            links,
        })
    }

    /// Interface by index; `None` if it was removed meanwhile.
    pub(super) fn link(&self, index: u32) -> Option<&InterfaceInfo> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Returns true if the interface `index` has an IPv4 address.
    pub(super) fn has_ipv4_address(&self, index: u32) -> bool {
        self.addresses.iter().any(|address| address.index == index && address.ip.is_ipv4())
    }

    /// Default routes of one family.
    pub(super) fn default_routes(&self, ipv6: bool) -> impl Iterator<Item = &DefaultRoute> {
        self.default_routes.iter().filter(move |route| route.ipv6 == ipv6)
    }

    /// IPv6 sysctls of the interface `index`; `None` if it cannot have IPv6, or was removed meanwhile.
    pub(super) fn ipv6_settings(&self, index: u32) -> Option<Ipv6Settings> {
        let place = self.links.iter().position(|link| link.index == index)?;
        self.ipv6_own.get(place).copied().flatten()
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

impl Ipv6Settings {
    fn read(interface: &str) -> Result<Option<Self>, Diagnostic> {
        let Some(disabled) = Self::flag(interface, SysctlName::DisableIpv6)? else { return Ok(None) };
        let flag = |name| Self::flag(interface, name).map(Option::unwrap_or_default);
        let (forwarding, proxy_ndp) = (flag(SysctlName::Forwarding)?, flag(SysctlName::ProxyNdp)?);
        Ok(Some(Self { disabled, forwarding, proxy_ndp }))
    }

    fn flag(interface: &str, name: SysctlName) -> Result<Option<bool>, Diagnostic> {
        Ok(SysctlKey::new(interface, name).read()?.map(|value| value != 0))
    }
}
