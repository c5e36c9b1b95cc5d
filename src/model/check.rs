//! What must hold between services and servers, however they were added.

use super::{RealServer, Rules, ServiceAddress, VirtualService, host_address};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Services, and real servers of all services together: each has a 16-bit number in the tables,
/// where the last stands for none.
pub const COUNT_MAX: usize = u16::MAX as usize;

/// Why rules cannot stand: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct Misfit {
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Misfit {
    /// With both parts.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl Rules {
    /// Checks what a configuration file is checked for where it says services and servers.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Misfit> {
        let servers = || self.services.iter().flat_map(|s| s.servers.iter().map(move |server| (s, server)));
        too_many("services", self.services.len())?;
        too_many("real servers", servers().count())?;
        let vips: HashSet<IpAddr> =
            self.services.iter().map(|service| service.address.address.ip()).collect();
        let mut macs = HashMap::new();
        self.services.iter().try_for_each(settings)?;
        for (service, server) in servers() {
            rip(service.address, server)?;
            if vips.contains(&server.address) {
                let what = format!("real server {} is the VIP of a service", server.address);
                return Err(Misfit::new(what, "name the real server's own address, its RIP"));
            }
            let Some(mac) = server.mac else { continue };
            if *macs.entry(server.address).or_insert(mac) != mac {
                let what = format!("real server {} has two different MAC addresses", server.address);
                return Err(Misfit::new(what, "give it the same one everywhere"));
            }
        }
        Ok(())
    }
}

fn too_many(what: &str, count: usize) -> Result<(), Misfit> {
    let fault = || Misfit::new(format!("{count} {what} are too many"), format!("have at most {COUNT_MAX}"));
    (count <= COUNT_MAX).then_some(()).ok_or_else(fault)
}

fn settings(service: &VirtualService) -> Result<(), Misfit> {
    let address = service.address;
    let flaw = |what: &str, remedy| Err(Misfit::new(format!("virtual service {address}: {what}"), remedy));
    if let Err(what) = host(address.address) {
        return flaw(&what, "name a VIP and port, as in 192.168.195.150:80");
    }
    if service.persistence.is_some() {
        return flaw(
            "persistence is not there yet",
            "leave it out; sh and mh keep a client at its server, too",
        );
    }
    if service.one_packet {
        return flaw("one-packet scheduling is not there yet", "leave it out");
    }
    match service.scheduler.servers_max() {
        Some(max) if service.servers.len() > max => {
            flaw(&format!("{} has room for {max} real servers", service.scheduler.name()), "have fewer")
        }
        _ => Ok(()),
    }
}

fn rip(service: ServiceAddress, server: &RealServer) -> Result<(), Misfit> {
    let remedy = "name the RIP of one host, as in 192.168.195.170";
    let fault = |flaw| Misfit::new(format!("real server {} of {service}: {flaw}", server.address), remedy);
    host(SocketAddr::new(server.address, 1)).map_err(fault)?;
    if server.lower_threshold > server.upper_threshold {
        let what = format!(
            "real server {} of {service}: its lower threshold is above the upper one",
            server.address
        );
        return Err(Misfit::new(what, "give it at most the upper one"));
    }
    Ok(())
}

fn host(address: SocketAddr) -> Result<(), String> {
    match address {
        SocketAddr::V6(_) => Err("IPv6 is not there yet".into()),
        SocketAddr::V4(v4) if v4.port() == 0 => Err("port 0 is no port".into()),
        SocketAddr::V4(v4) => host_address(*v4.ip()).map_err(|flaw| format!("this is {flaw}")),
    }
}
