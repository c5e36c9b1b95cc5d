//! Validation of services and servers, from file and control socket alike.

use super::address::{OWN_HOST, rip_example, same_family, vip_example};
use super::port_sets::port_sets;
use super::{
    Diagnostic, IpFamily, Match, Persistence, RealServer, Rules, Scheduler, ServiceIdentity, Subject,
    VirtualService, first_clash, host_address,
};
use crate::time::Span;
use crate::wire::Protocol;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Limit of services, and of real servers in all services: tables have 16-bit ids, and the last one means none.
pub const COUNT_MAX: usize = u16::MAX as usize;

/// The largest threshold, as in ipvsadm.
pub const THRESHOLD_MAX: u32 = i32::MAX as u32;

/// The longest slow start in seconds: a day. Caches that are cold for longer do not get warm.
pub const SLOW_START_MAX: u32 = 86_400;

impl Rules {
    /// Validates services and servers, as the configuration parser does.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), Diagnostic> {
        self.few_enough()?;
        self.services.iter().try_for_each(settings)?;
        self.without_clashes()?;
        self.servers().try_for_each(|(service, server)| rip(service.identity, server))?;
        self.apart_from_vips()?;
        self.one_mac_each()?;
        self.one_vlan_each()
    }

    fn servers(&self) -> impl Iterator<Item = (&VirtualService, &RealServer)> {
        self.services.iter().flat_map(|service| service.servers.iter().map(move |server| (service, server)))
    }

    fn few_enough(&self) -> Result<(), Diagnostic> {
        let first_too_many = self.services.get(COUNT_MAX).map(|service| Subject::Service(service.identity));
        too_many("services", self.services.len(), first_too_many)?;
        let (matches, first_too_many) = match_ids(&self.services);
        too_many("matches", matches, first_too_many.map(|service| Subject::Service(service.identity)))?;
        if let (sets, Some(first)) = port_sets(&self.services) {
            let fault = Diagnostic::invalid_rules(too_many_port_sets(sets), FEWER_PORT_SETS);
            return Err(fault.about([Subject::Service(first.identity)]));
        }
        let first_too_many = self.servers().nth(COUNT_MAX).map(|(service, server)| subject(service, server));
        too_many("real servers", self.servers().count(), first_too_many)
    }

    fn matches(&self) -> impl Iterator<Item = (Match, ServiceIdentity)> {
        self.services.iter().flat_map(|service| service.matches().map(|of| (of, service.identity)))
    }

    fn without_clashes(&self) -> Result<(), Diagnostic> {
        let matches: Vec<_> = self.matches().collect();
        let Some([(first, of), (second, by)]) = first_clash(&matches) else { return Ok(()) };
        let what = format!("{second} of {by} and {first} of {of} take the same frames");
        let fault = Diagnostic::invalid_rules(what, "leave the ports to one of the two");
        Err(fault.about([of, by].map(Subject::Service)))
    }

    fn apart_from_vips(&self) -> Result<(), Diagnostic> {
        let mut vips = HashMap::new();
        for (of, service) in self.matches() {
            vips.entry(of.vip).or_insert(service);
        }
        for (service, server) in self.servers() {
            if let Some(first) = vips.get(&server.address) {
                let what = format!("real server {} is the VIP of a service", server.address);
                let fault = Diagnostic::invalid_rules(what, "name the real server's own address, its RIP");
                return Err(fault.about([subject(service, server), Subject::Service(*first)]));
            }
        }
        Ok(())
    }

    fn one_mac_each(&self) -> Result<(), Diagnostic> {
        let mut macs = HashMap::new();
        for (service, server) in self.servers() {
            let (Some(mac), rip) = (server.mac, server.address) else { continue };
            let (first, same) = *macs.entry(rip).or_insert((service.identity, mac));
            if same != mac {
                let what = format!("real server {rip} has two different MAC addresses");
                let both = [first, service.identity].map(|service| Subject::ServerSettings(service, rip));
                return Err(Diagnostic::invalid_rules(what, "give it the same one everywhere").about(both));
            }
        }
        Ok(())
    }

    fn one_vlan_each(&self) -> Result<(), Diagnostic> {
        let mut vlans = HashMap::new();
        for service in &self.services {
            for address in service.hosts() {
                let (first, same) = *vlans.entry(address).or_insert((service.identity, service.vlan));
                if same != service.vlan {
                    let what = format!(
                        "virtual service {}: vlan is {}, but {address} has vlan {same}",
                        service.identity, service.vlan
                    );
                    let both = [first, service.identity].map(Subject::ServiceSettings);
                    return Err(Diagnostic::invalid_rules(what, ONE_VLAN).about(both));
                }
            }
        }
        Ok(())
    }
}

/// Remedy for an address in two VLANs.
pub(super) const ONE_VLAN: &str = "a host is in one VLAN: write the same vlan for all services with this address, or give one another address";

/// The number of [`super::MatchId`]s of services, and the first service for which there are too many.
pub(super) fn match_ids(services: &[VirtualService]) -> (usize, Option<&VirtualService>) {
    let (mut count, mut first_too_many) = (0, None);
    for service in services {
        count += service.destinations().len();
        if count > COUNT_MAX {
            first_too_many = first_too_many.or(Some(service));
        }
    }
    (count, first_too_many)
}

/// Remedy for too many sets of ports.
pub(super) const FEWER_PORT_SETS: &str =
    "write the same ranges for several VIPs, or one range instead of many: at most 64 different sets";

pub(super) fn too_many_port_sets(sets: usize) -> String {
    format!("the port ranges of all services make {sets} different sets of ports for a VIP and protocol")
}

/// The server as the subject of a diagnostic.
fn subject(service: &VirtualService, server: &RealServer) -> Subject {
    Subject::Server(service.identity, server.address)
}

fn too_many(what: &str, count: usize, first: Option<Subject>) -> Result<(), Diagnostic> {
    let Some(first) = first else { return Ok(()) };
    let fault = Diagnostic::invalid_rules(
        format!("{count} {what} are too many"),
        format!("have at most {COUNT_MAX}"),
    );
    Err(fault.about([first]))
}

fn settings(service: &VirtualService) -> Result<(), Diagnostic> {
    let identity = service.identity;
    let flaw = |what: &str, remedy: &str| {
        let fault = Diagnostic::invalid_rules(format!("virtual service {identity}: {what}"), remedy);
        Err(fault.about([Subject::ServiceSettings(identity)]))
    };
    if let Err((what, remedy)) = identified(service) {
        return flaw(&what, &remedy).map_err(|fault| fault.about([Subject::Service(identity)]));
    }
    if let Some(address) = identity.address() {
        if address.is_wildcard() && service.persistence.is_none() {
            return flaw("a wildcard port needs persistence", "make it persistent (-p), or name a port");
        }
        if service.one_packet && address.protocol != Protocol::Udp {
            return flaw("one-packet scheduling is for UDP", "leave it out");
        }
    }
    if service.scheduler == Scheduler::Dh && service.vips().len() > 1 {
        return flaw(
            "dh chooses by the VIP, and it has several",
            "take another scheduler, or a service for each VIP",
        );
    }
    if let Some(persistence) = service.persistence {
        persistent(persistence, identity.family()).or_else(|(what, remedy)| flaw(what, remedy))?;
    }
    slow_start(service).or_else(|(what, remedy)| flaw(&format!("slow_start {what}"), &remedy))?;
    let Some(max) = service.scheduler.servers_max() else { return Ok(()) };
    let Some(server) = service.servers.get(max) else { return Ok(()) };
    let what = format!("{} has room for {max} real servers", service.scheduler.name());
    let both = [Subject::ServiceSettings(identity), subject(service, server)];
    flaw(&what, "have fewer").map_err(|fault| fault.about(both))
}

/// Checks address or matches.
fn identified(service: &VirtualService) -> Result<(), (String, String)> {
    let one_vip = || format!("name a VIP and port, as in {}", vip_example(service.identity.family()));
    match service.identity {
        ServiceIdentity::Address(_) if !service.group.is_empty() => Err((
            "it has an address, and matches beside it".into(),
            "give it a mark, or leave out the matches".into(),
        )),
        ServiceIdentity::Address(of) => vip(of.address).map_err(|what| (what, one_vip())),
        ServiceIdentity::Mark(_) if service.group.is_empty() => {
            Err(("it has no matches".into(), "add match = [\"tcp:VIP:port\"]".into()))
        }
        ServiceIdentity::Mark(mark) => service.group.iter().try_for_each(|of| {
            host_address(of.vip).map_err(|flaw| (format!("{of}: this is {flaw}"), one_vip()))?;
            let other = "write IPv4 and IPv6 matches into two services with the same mark";
            let is_own = IpFamily::from(of.vip) == mark.family;
            is_own
                .then_some(())
                .ok_or_else(|| (format!("{of} is not of the family {}", mark.family), other.into()))
        }),
    }
}

fn persistent(persistence: Persistence, family: IpFamily) -> Result<(), (&'static str, &'static str)> {
    let Persistence { prefix, timeout } = persistence;
    let remedy =
        if family == IpFamily::Ipv4 { "give 1 to 32 leading ones" } else { "give a prefix of 1 to 128" };
    if prefix == 0 {
        return Err(("the netmask of its persistence takes all clients for one", remedy));
    }
    if prefix > Persistence::prefix_max(family) {
        return Err(("the netmask of its persistence is longer than an address", remedy));
    }
    if timeout.secs() == 0 {
        return Err(("its persistence lasts no time", "give at least a second, or leave it out"));
    }
    Ok(())
}

fn slow_start(service: &VirtualService) -> Result<(), (String, String)> {
    match service.slow_start.map(Span::secs) {
        Some(1..=SLOW_START_MAX) => match service.scheduler.no_slow_start() {
            Some(reason) => Err(reason),
            None => Ok(()),
        },
        Some(seconds) => {
            Err((format!("is {seconds} s"), format!("give 1 to {SLOW_START_MAX}, or leave it out")))
        }
        None => Ok(()),
    }
}

fn rip(service: ServiceIdentity, server: &RealServer) -> Result<(), Diagnostic> {
    let rip = server.address;
    let fault = |flaw: &str, remedy: &str| {
        Diagnostic::invalid_rules(format!("real server {rip} of {service}: {flaw}"), remedy)
    };
    let settings = [Subject::ServerSettings(service, rip)];
    if let Err(flaw) = host_address(rip) {
        let one_host = || format!("name the RIP of one host, as in {}", rip_example(service.family()));
        let remedy = if rip.is_loopback() { OWN_HOST.into() } else { one_host() };
        let fault = fault(&format!("this is {flaw}"), &remedy);
        return Err(fault.about([Subject::Server(service, rip)]));
    }
    if let Err(flaw) = same_family(rip, service.family()) {
        let fault =
            fault(&format!("this is {flaw}"), "name an address of the VIP's family that the server has");
        return Err(fault.about([Subject::Server(service, rip)]));
    }
    if server.upper_threshold > THRESHOLD_MAX {
        let remedy = format!("give at most {THRESHOLD_MAX}");
        return Err(fault("its upper threshold is too large", &remedy).about(settings));
    }
    if server.lower_threshold > server.upper_threshold {
        let fault = fault("its lower threshold is above the upper one", "give it at most the upper one");
        return Err(fault.about(settings));
    }
    Ok(())
}

fn vip(address: SocketAddr) -> Result<(), String> {
    host_address(address.ip()).map_err(|flaw| format!("this is {flaw}"))?;
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 || v6.flowinfo() != 0 => {
            Err("a VIP has neither zone nor flow label".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FirewallMark, ServiceAddress, Weight};
    use crate::wire::MacAddr;
    use crate::wire::vlan::Vlans;

    fn service(address: &str, servers: &[&str]) -> VirtualService {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: address.parse().unwrap() };
        let server = |rip: &&str| RealServer::new(rip.parse().unwrap(), Weight(1));
        VirtualService::new(address, servers.iter().map(server).collect())
    }

    fn flaw(services: Vec<VirtualService>) -> String {
        Rules { services, ..Rules::default() }.check().unwrap_err().to_string()
    }

    #[test]
    fn subjects_name_the_parts_at_fault() {
        let subjects = |services: &[VirtualService]| {
            let rules = Rules { services: services.to_vec(), ..Rules::default() };
            rules.check().unwrap_err().subjects.into_vec()
        };
        let mut two =
            [service("192.0.2.1:80", &["192.0.2.9", "192.0.2.8"]), service("192.0.2.1:81", &["192.0.2.9"])];
        let [first, second] = [two[0].identity, two[1].identity];
        let rip = [192, 0, 2, 9].into();
        let vip = service("192.0.2.9:80", &[]);
        let more = [two[0].clone(), vip.clone(), service("192.0.2.9:81", &[])];
        assert_eq!(subjects(&more), [Subject::Server(first, rip), Subject::Service(vip.identity)]);
        let loopback = service("127.0.0.1:80", &[]);
        assert_eq!(subjects(&[two[0].clone(), loopback.clone()]), [Subject::Service(loopback.identity)]);
        two[1].one_packet = true;
        assert_eq!(subjects(&two), [Subject::ServiceSettings(second)]);
        two[1].one_packet = false;
        two[1].servers[0].lower_threshold = 1;
        assert_eq!(subjects(&two), [Subject::ServerSettings(second, rip)]);
        two[1].servers[0].lower_threshold = 0;
        (two[0].servers[0].mac, two[1].servers[0].mac) =
            (Some(MacAddr([2, 0, 0, 0, 0, 1])), Some(MacAddr([2, 0, 0, 0, 0, 2])));
        assert_eq!(subjects(&two), [first, second].map(|of| Subject::ServerSettings(of, rip)));
        let group = service("192.0.2.1:82", &["192.0.2.7", "224.0.0.1"]);
        assert_eq!(
            subjects(std::slice::from_ref(&group)),
            [Subject::Server(group.identity, [224, 0, 0, 1].into())]
        );
        let address = |n: usize| std::net::Ipv4Addr::from_bits(0x0a00_0001 + n as u32);
        let many = |count| (0..count).map(|n| RealServer::new(address(n).into(), Weight(1))).collect();
        let mut full = VirtualService { scheduler: Scheduler::Mh, ..VirtualService::new(first, many(4095)) };
        let first_too_many = Subject::Server(first, address(4093).into());
        assert_eq!(subjects(&[full.clone()]), [Subject::ServiceSettings(first), first_too_many]);
        full = VirtualService::new(first, many(COUNT_MAX + 2));
        assert_eq!(subjects(&[full]), [Subject::Server(first, address(COUNT_MAX).into())]);
    }

    #[test]
    fn ipv6_addresses_are_of_hosts_and_of_one_family() {
        for (services, complaint) in [
            (
                vec![service("[fe80::1]:80", &[])],
                "valid on one link only; name a VIP and port, as in [2001:db8::150]:80",
            ),
            (vec![service("[2001:db8::1%2]:80", &[])], "a VIP has neither zone nor flow label; name"),
            (
                vec![service("[2001:db8::1]:80", &["fe80::9"])],
                "real server fe80::9 of TCP [2001:db8::1]:80: this is a link-local address, which is valid on one link \
                 only; name the RIP of one host, as in 2001:db8::170",
            ),
            (
                vec![service("[2001:db8::1]:80", &["192.0.2.9"])],
                "this is an IPv4 address, and the VIP is one of IPv6: direct routing cannot change the family; name",
            ),
            (
                vec![service("192.0.2.1:80", &["2001:db8::9"])],
                "this is an IPv6 address, and the VIP is one of IPv4: direct routing cannot change the family; name",
            ),
        ] {
            let flaw = flaw(services);
            assert!(flaw.contains(complaint), "{flaw}");
        }
        let good = service("[2001:db8::1]:80", &["2001:db8::9", "fd00::9"]);
        assert_eq!(Rules { services: vec![good], ..Rules::default() }.check(), Ok(()));
    }

    #[test]
    fn a_host_is_in_one_vlan() {
        let web = || service("192.0.2.1:80", &["192.0.2.9"]);
        let cases = [
            (
                vec![
                    VirtualService { vlan: Vlans::new(&[100]).unwrap(), ..web() },
                    service("192.0.2.1:81", &["192.0.2.8"]),
                ],
                "virtual service TCP 192.0.2.1:81: vlan is none, but 192.0.2.1 has vlan 100; a host is in one VLAN",
            ),
            (
                vec![
                    VirtualService { vlan: Vlans::new(&[100]).unwrap(), ..web() },
                    VirtualService {
                        vlan: Vlans::new(&[100, 7]).unwrap(),
                        ..service("192.0.2.2:80", &["192.0.2.9"])
                    },
                ],
                "virtual service TCP 192.0.2.2:80: vlan is 100.7, but 192.0.2.9 has vlan 100; a host is in",
            ),
        ];
        for (services, complaint) in cases {
            let flaw = flaw(services);
            assert!(flaw.contains(complaint), "{flaw}");
        }
    }

    #[test]
    fn groups_are_of_one_family_and_share_no_frames() {
        let group = |matches: &[&str]| {
            let mark = FirewallMark { mark: 7.try_into().unwrap(), family: IpFamily::Ipv4 };
            let group = matches.iter().map(|of| of.parse().unwrap()).collect();
            VirtualService { group, ..VirtualService::new(mark, Vec::new()) }
        };
        let web = || service("192.0.2.1:80", &[]);
        for (services, complaint) in [
            (vec![group(&[])], "virtual service FWM 7: it has no matches; add"),
            (
                vec![group(&["tcp:192.0.2.1:80", "tcp:[2001:db8::1]:80"])],
                "virtual service FWM 7: tcp:[2001:db8::1]:80 is not of the family IPv4; write",
            ),
            (
                vec![VirtualService { group: group(&["tcp:192.0.2.2:80"]).group, ..web() }],
                "virtual service TCP 192.0.2.1:80: it has an address, and matches beside it; give",
            ),
            (
                vec![web(), group(&["udp:192.0.2.1:80", "tcp:192.0.2.1:70-90"])],
                "tcp:192.0.2.1:70-90 of FWM 7 and tcp:192.0.2.1:80 of TCP 192.0.2.1:80 take the same frames; leave",
            ),
            (
                vec![group(&["tcp:192.0.2.1:70-90", "tcp:192.0.2.1:90-99"])],
                "tcp:192.0.2.1:90-99 of FWM 7 and tcp:192.0.2.1:70-90 of FWM 7 take the same frames; leave",
            ),
            (
                vec![VirtualService {
                    scheduler: Scheduler::Dh,
                    ..group(&["tcp:192.0.2.1:80", "tcp:192.0.2.2:80"])
                }],
                "virtual service FWM 7: dh chooses by the VIP, and it has several; take",
            ),
        ] {
            let flaw = flaw(services);
            assert!(flaw.contains(complaint), "{flaw}");
        }
        let all = group(&["tcp:192.0.2.1:*", "udp:192.0.2.1:80", "tcp:192.0.2.1:81-99"]);
        let one_packet = VirtualService { one_packet: true, ..all };
        assert_eq!(Rules { services: vec![web(), one_packet], ..Rules::default() }.check(), Ok(()));
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
                "virtual service TCP 192.0.2.1:0: a wildcard port needs persistence; make",
            ),
            (
                vec![service("127.0.0.1:80", &[])],
                "virtual service TCP 127.0.0.1:80: this is a loopback address; name",
            ),
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
        let wildcard =
            VirtualService { identity: service("192.0.2.1:0", &[]).identity, ..persistent(1, 32).remove(0) };
        let good = Rules { services: vec![web(), wildcard], ..Rules::default() };
        assert_eq!(good.check(), Ok(()));
    }
}
