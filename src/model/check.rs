//! What must hold between services and servers, however they were added.

use super::{Persistence, RealServer, Rules, ServiceAddress, VirtualService, host_address};
use crate::time::Span;
use crate::wire::Protocol;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Services, and real servers of all services together: each has a 16-bit number in the tables,
/// where the last stands for none.
pub const COUNT_MAX: usize = u16::MAX as usize;

/// The largest threshold, as in ipvsadm.
pub const THRESHOLD_MAX: u32 = i32::MAX as u32;

/// The longest slow start in seconds: a day. Caches that are cold for longer do not get warm.
pub const SLOW_START_MAX: u32 = 86_400;

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
    if let Err(what) = host(address.address.ip()) {
        return flaw(&what, "name a VIP and port, as in 192.168.195.150:80");
    }
    if address.is_every_port() && service.persistence.is_none() {
        return flaw("every port needs persistence", "make it persistent (-p), or name a port");
    }
    if let Some(persistence) = service.persistence {
        persistent(persistence).or_else(|(what, remedy)| flaw(what, remedy))?;
    }
    if service.one_packet && address.protocol != Protocol::Udp {
        return flaw("one-packet scheduling is for UDP", "leave it out");
    }
    slow_start(service).map_err(|(what, remedy)| {
        Misfit::new(format!("virtual service {address}: slow_start {what}"), remedy)
    })?;
    match service.scheduler.servers_max() {
        Some(max) if service.servers.len() > max => {
            flaw(&format!("{} has room for {max} real servers", service.scheduler.name()), "have fewer")
        }
        _ => Ok(()),
    }
}

fn persistent(persistence: Persistence) -> Result<(), (&'static str, &'static str)> {
    match persistence {
        Persistence { prefix: 1..=32, timeout } if timeout.secs() > 0 => Ok(()),
        Persistence { prefix: 0, .. } => {
            Err(("the netmask of its persistence takes all clients for one", "give 1 to 32 leading ones"))
        }
        Persistence { prefix: 33.., .. } => {
            Err(("the netmask of its persistence is longer than an address", "give 1 to 32 leading ones"))
        }
        _ => Err(("its persistence lasts no time", "give at least a second, or leave it out")),
    }
}

fn slow_start(service: &VirtualService) -> Result<(), (String, String)> {
    match service.slow_start.map(Span::secs) {
        Some(1..=SLOW_START_MAX) => service.scheduler.no_slow_start().map_or(Ok(()), Err),
        Some(seconds) => {
            Err((format!("is {seconds} s"), format!("give 1 to {SLOW_START_MAX}, or leave it out")))
        }
        None => Ok(()),
    }
}

fn rip(service: ServiceAddress, server: &RealServer) -> Result<(), Misfit> {
    let remedy = "name the RIP of one host, as in 192.168.195.170";
    let fault = |flaw| Misfit::new(format!("real server {} of {service}: {flaw}", server.address), remedy);
    host(server.address).map_err(fault)?;
    if server.upper_threshold > THRESHOLD_MAX {
        let what = format!("real server {} of {service}: its upper threshold is too large", server.address);
        return Err(Misfit::new(what, format!("give at most {THRESHOLD_MAX}")));
    }
    if server.lower_threshold > server.upper_threshold {
        let what = format!(
            "real server {} of {service}: its lower threshold is above the upper one",
            server.address
        );
        return Err(Misfit::new(what, "give it at most the upper one"));
    }
    Ok(())
}

fn host(address: IpAddr) -> Result<(), String> {
    match address {
        IpAddr::V6(_) => Err("IPv6 is not there yet".into()),
        IpAddr::V4(v4) => host_address(v4).map_err(|flaw| format!("this is {flaw}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scheduler, Timeouts, Weight};
    use crate::wire::MacAddr;

    fn service(address: &str, servers: &[&str]) -> VirtualService {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: address.parse().unwrap() };
        let server = |rip: &&str| RealServer::new(rip.parse().unwrap(), Weight(1));
        VirtualService::new(address, servers.iter().map(server).collect())
    }

    fn flaw(services: Vec<VirtualService>) -> String {
        Rules { services, timeouts: Timeouts::default() }.check().unwrap_err().to_string()
    }

    #[test]
    fn each_flaw_is_named_with_a_remedy() {
        let web = || service("192.0.2.1:80", &["192.0.2.9"]);
        let persistent = |seconds, prefix| {
            let persistence = Some(Persistence { timeout: Span::from_secs(seconds), prefix });
            vec![VirtualService { persistence, ..web() }]
        };
        let many: Vec<_> =
            (0..4094u32).map(|n| std::net::Ipv4Addr::from_bits(0x0a00_0001 + n).to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut macs = [web(), service("192.0.2.1:81", &["192.0.2.9"])];
        macs[0].servers[0].mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        macs[1].servers[0].mac = Some(MacAddr([2, 0, 0, 0, 0, 2]));
        let mut thresholds = web();
        thresholds.servers[0].lower_threshold = 1;
        let mut large = web();
        large.servers[0].upper_threshold = THRESHOLD_MAX + 1;
        for (services, complaint) in [
            (
                vec![service("192.0.2.1:0", &[])],
                "virtual service TCP 192.0.2.1:0: every port needs persistence; make",
            ),
            (
                vec![service("127.0.0.1:80", &[])],
                "virtual service TCP 127.0.0.1:80: this is a loopback address; name",
            ),
            (vec![service("[2001:db8::1]:80", &[])], "TCP [2001:db8::1]:80: IPv6 is not there yet; name"),
            (
                vec![service("192.0.2.1:80", &["224.0.0.1"])],
                "real server 224.0.0.1 of TCP 192.0.2.1:80: this is a multi",
            ),
            (
                vec![web(), service("192.0.2.9:80", &[])],
                "real server 192.0.2.9 is the VIP of a service; name",
            ),
            (macs.to_vec(), "real server 192.0.2.9 has two different MAC addresses; give"),
            (vec![large], "its upper threshold is too large; give"),
            (vec![thresholds], "its lower threshold is above the upper one; give"),
            (persistent(0, 32), "its persistence lasts no time; give"),
            (persistent(1, 0), "the netmask of its persistence takes all clients for one; give"),
            (persistent(1, 33), "the netmask of its persistence is longer than an address; give"),
            (
                vec![VirtualService {
                    scheduler: Scheduler::Lc,
                    slow_start: Some(Span::from_secs(30)),
                    ..web()
                }],
                "virtual service TCP 192.0.2.1:80: slow_start does not go with lc, whose new connections are not \
                 shared out by weight; \
                 remove it, or take one of the schedulers wrr, wlc, sed, nq, twos",
            ),
            (
                vec![VirtualService { slow_start: Some(Span::from_secs(SLOW_START_MAX + 1)), ..web() }],
                "slow_start is 86401 s; give 1 to 86400",
            ),
            (vec![VirtualService { one_packet: true, ..web() }], "one-packet scheduling is for UDP; leave"),
            (
                vec![VirtualService { scheduler: Scheduler::Mh, ..service("192.0.2.1:80", &many) }],
                "mh has room for 4093 real servers; have fewer",
            ),
        ] {
            let flaw = flaw(services);
            assert!(flaw.contains(complaint), "{flaw}");
        }
        let every_port =
            VirtualService { address: service("192.0.2.1:0", &[]).address, ..persistent(1, 32).remove(0) };
        let good = Rules { services: vec![web(), every_port], timeouts: Timeouts::default() };
        assert_eq!(good.check(), Ok(()));
    }
}
