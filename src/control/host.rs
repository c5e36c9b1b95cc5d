//! Whether the configuration fits this host.

use crate::io::{Interface, IoError};
use crate::model::{Config, RealServer};
use crate::neighbor::{LinkIndex, ServerSettings};
use std::net::{IpAddr, Ipv4Addr};

/// The host's side of a configuration that fits.
#[derive(Clone, Debug)]
pub struct Host {
    /// The client side, then the server side if it is another interface.
    pub arms: Vec<Interface>,
    /// Every real server once, with the director's address (DIP) to ask for it from.
    pub servers: Vec<ServerSettings>,
    /// Every VIP once.
    pub vips: Vec<Ipv4Addr>,
}

/// Why a configuration does not fit this host.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// An interface is missing or unfit.
    #[error(transparent)]
    Interface(#[from] IoError),
    /// A real server is in no network of the interface that it should be behind.
    #[error(
        "real server {rip} is not on-link: {interface} has {networks}, and direct routing reaches only \
         neighbors; give {interface} an address in its network (ip address add …), set server_interface, or fix the RIP"
    )]
    NotOnLink {
        /// The real server.
        rip: IpAddr,
        /// Where it should be.
        interface: String,
        /// What is there.
        networks: String,
    },
}

impl Host {
    /// Looks up the interfaces and how each real server is reached.
    ///
    /// # Errors
    /// The first [`Misfit`].
    pub fn fit(config: &Config) -> Result<Self, Misfit> {
        let names = [Some(&config.director.interface), config.director.server_interface.as_ref()];
        let arms =
            names.into_iter().flatten().map(|name| Interface::lookup(name)).collect::<Result<Vec<_>, _>>()?;
        let mut servers: Vec<ServerSettings> = Vec::new();
        for server in config.services.iter().flat_map(|service| &service.servers) {
            let settings = settings(server, &arms)?;
            match servers.iter_mut().find(|known| known.rip == settings.rip) {
                Some(known) => known.mac = known.mac.or(settings.mac),
                None => servers.push(settings),
            }
        }
        let mut vips: Vec<_> =
            config.services.iter().filter_map(|service| v4(service.address.address.ip())).collect();
        vips.sort_unstable();
        vips.dedup();
        Ok(Self { arms, servers, vips })
    }
}

fn settings(server: &RealServer, arms: &[Interface]) -> Result<ServerSettings, Misfit> {
    let link = arms.len() - 1; // the last arm is the server side
    let interface = &arms[link];
    let rip = v4(server.address);
    let own = rip.and_then(|rip| interface.address_towards(rip));
    // A server with a fixed MAC address is never asked for.
    let own = own.or(server.mac.map(|_| Ipv4Addr::UNSPECIFIED));
    match (rip, own) {
        (Some(rip), Some(own)) => {
            Ok(ServerSettings { link: LinkIndex(link as u8), rip, own, mac: server.mac })
        }
        _ => Err(Misfit::NotOnLink {
            rip: server.address,
            interface: interface.name.clone(),
            networks: networks(interface),
        }),
    }
}

fn networks(interface: &Interface) -> String {
    let each: Vec<_> =
        interface.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
    if each.is_empty() { "no IPv4 address".into() } else { each.join(", ") }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None, // the configuration has none yet
    }
}
