//! Everything that the check looks at, read once.

use super::Options;
use super::host::{Address, DefaultRoute, Host, Link};
use super::sysctl::{Key, Name};
use crate::model::Diagnostic;

/// The host as far as direct routing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    pub(super) default_routes: Vec<DefaultRoute>,
    /// `conf/all`.
    pub(super) all: Settings,
    /// By interface, in the order of `links`: `conf/IFACE`.
    pub(super) own: Vec<Settings>,
}

/// The settings of one directory below conf/.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) arp_ignore: i32,
    pub(super) arp_announce: i32,
    pub(super) rp_filter: i32,
}

impl Facts {
    pub(super) fn read() -> Result<Self, Diagnostic> {
        let host = Host::open()?;
        let links = host.links()?;
        let own = links.iter().map(|link| Settings::read(&link.name)).collect::<Result<_, _>>()?;
        let (addresses, default_routes) = (host.addresses()?, host.default_routes()?);
        Ok(Self { all: Settings::read("all")?, own, addresses, default_routes, links })
    }

    /// The interface of an index; `None` if it went away meanwhile.
    pub(super) fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Whether a default route leaves by the interface of this index.
    pub(super) fn leaves_by(&self, index: u32) -> bool {
        self.default_routes.iter().any(|route| route.index == index)
    }

    /// The interfaces that do ARP and are up, each with the settings that hold there: the larger
    /// of `all` and its own.
    pub(super) fn speaking(&self, options: &Options) -> impl Iterator<Item = (&Link, Settings)> {
        let vip_interface = options.interface.clone();
        let pairs = self.links.iter().zip(&self.own);
        let speaking = pairs.filter(move |(link, _)| link.up && link.arp && link.name != vip_interface);
        speaking.map(|(link, own)| (link, own.or_more(self.all)))
    }
}

impl Settings {
    /// Missing ones (an interface without IPv4) count as 0.
    fn read(interface: &str) -> Result<Self, Diagnostic> {
        let value = |name| Key::new(interface, name).read().map(Option::unwrap_or_default);
        Ok(Self {
            arp_ignore: value(Name::ArpIgnore)?,
            arp_announce: value(Name::ArpAnnounce)?,
            rp_filter: value(Name::RpFilter)?,
        })
    }

    fn or_more(self, all: Self) -> Self {
        Self {
            arp_ignore: self.arp_ignore.max(all.arp_ignore),
            arp_announce: self.arp_announce.max(all.arp_announce),
            rp_filter: self.rp_filter.max(all.rp_filter),
        }
    }
}
