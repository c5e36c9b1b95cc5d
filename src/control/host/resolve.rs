//! Resolution of a configuration on this host: interfaces, next hops of the real servers, the control group.

use crate::control::host::access::Access;
use crate::control::host::next_hop::{NextHops, once};
use crate::io::Interface;
use crate::model::{Config, Diagnostic, DiagnosticKind, Diagnostics, IpFamily, Subject, VirtualService};
use crate::neighbor::NeighborTarget;
use crate::wire::vlan::Vlans;
use nix::unistd::Group;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Failure to resolve a configuration.
#[derive(Clone, Debug)]
pub struct ResolveError {
    /// Each with its line in the file.
    pub errors: Diagnostics,
    /// True if every error may resolve by itself, as at boot: an interface is missing or down, or has no address.
    pub may_recover: bool,
}

impl From<Diagnostics> for ResolveError {
    fn from(errors: Diagnostics) -> Self {
        Self { errors, may_recover: false }
    }
}

/// A configuration resolved on this host.
#[derive(Clone, Debug)]
pub struct ResolvedHost {
    /// The client side, then the server side if it is another interface.
    pub interfaces: Vec<Interface>,
    /// Every real server once, with the source address of its solicitations (DIP).
    pub servers: Vec<NeighborTarget>,
    /// Every VIP once, in order.
    pub vips: Vec<IpAddr>,
    /// VLANs of each VIP and real server.
    pub vlans: HashMap<IpAddr, Vlans>,
    /// Access rights at the control socket.
    pub access: Access,
}

impl ResolvedHost {
    /// Resolves the interfaces and the next hop of each real server.
    ///
    /// # Errors
    /// Unusable interfaces, reserved VIPs, and real servers that are not on-link, each with its line.
    pub fn resolve(config: &Config) -> Result<Self, ResolveError> {
        let access = Access { group: control_group(config)?, others: config.director.control_others };
        let interfaces = find_interfaces(config)?;
        let servers = validated_servers(config, &interfaces, (&[], &[]));
        let servers = servers.map_err(|errors| ResolveError {
            errors,
            may_recover: awaits_address(&config.services, &interfaces),
        })?;
        let (vips, vlans) = (vips(&config.services), vlans(&config.services));
        Ok(Self { interfaces, servers, vips, vlans, access })
    }

    /// Resolves other services on the same interfaces, with their present addresses.
    ///
    /// Present VIPs are not checked again, nor present real servers with the same MAC address: a server that is no longer
    /// on-link keeps its next hop. One that moves to another VLAN, or out of it, is checked as at the start.
    ///
    /// # Errors
    /// The first new VIP that is reserved, or the first new or changed server that is not on-link.
    pub fn re_resolve(&self, services: &[VirtualService]) -> Result<Self, Diagnostic> {
        let (interfaces, (present, present_vips)) = (self.renewed(), self.unmoved(services));
        let next_hops = NextHops::new(services, &interfaces, &present);
        for service in services {
            let of = Subject::Service(service.identity);
            check_vips(service, &interfaces, &present_vips)
                .map_err(|error| error.of_kind(DiagnosticKind::InvalidRules).about([of]))?;
        }
        let of = |service: &VirtualService, rip| Subject::Server(service.identity, rip);
        let all = services.iter().flat_map(|of| of.servers.iter().map(move |server| (of, server)));
        let each = all.map(|(service, server)| {
            next_hops.find(server, service.vlan).map_err(|error| {
                error.of_kind(DiagnosticKind::InvalidRules).about([of(service, server.address)])
            })
        });
        let servers = once(each.collect::<Result<_, _>>()?);
        let (vips, vlans) = (vips(services), vlans(services));
        Ok(Self { interfaces, servers, vips, vlans, access: self.access.clone() })
    }

    /// Validates a reloaded file as [`ResolvedHost::re_resolve`] would, with the lines of every error.
    ///
    /// # Errors
    /// Every new VIP that is reserved, and every new or changed server that is not on-link, with its line.
    pub fn validate(&self, config: &Config) -> Result<(), Diagnostics> {
        let (servers, vips) = self.unmoved(&config.services);
        validated_servers(config, &self.renewed(), (&servers, &vips)).map(drop)
    }

    /// Returns the present next hops and VIPs that are in the same VLANs as in `services`.
    fn unmoved(&self, services: &[VirtualService]) -> (Vec<NeighborTarget>, Vec<IpAddr>) {
        let now = vlans(services);
        let stays = |address: &IpAddr| now.get(address) == self.vlans.get(address);
        let servers = self.servers.iter().filter(|server| stays(&server.rip));
        (servers.copied().collect(), self.vips.iter().copied().filter(stays).collect())
    }

    /// Returns the addresses that cannot be a client's: those of the interfaces and the broadcast addresses of their networks.
    pub fn not_clients(&self) -> Vec<IpAddr> {
        self.interfaces.iter().flat_map(Interface::not_others).collect()
    }

    /// Returns true if real servers are solicited over IPv6, and the link-local address to do so is still tentative.
    pub fn awaits_link_local(&self) -> bool {
        let is_needed = self.servers.iter().any(|server| server.rip.is_ipv6() && server.mac.is_none());
        is_needed && self.server_side().link_local().is_none() && self.server_side().awaits_link_local()
    }

    /// Returns the interface of the real servers.
    ///
    /// # Panics
    /// Never: there is an interface.
    #[must_use]
    pub fn server_side(&self) -> &Interface {
        self.interfaces.last().expect("a director has its client interface at least")
    }

    /// Returns true if an interface's addresses or its MTU have changed since the last resolution.
    pub fn has_other_addresses(&self) -> bool {
        self.renewed() != self.interfaces
    }

    /// Returns the interfaces with their present addresses and MTUs.
    pub fn renewed(&self) -> Vec<Interface> {
        self.interfaces.iter().map(renewed).collect()
    }
}

/// Returns the interface with its present addresses and MTU.
fn renewed(interface: &Interface) -> Interface {
    let Ok(now) = Interface::lookup(&interface.name) else { return interface.clone() };
    let Interface { addresses, ipv6_addresses, mtu, .. } = now;
    Interface { addresses, ipv6_addresses, mtu, ..interface.clone() }
}

fn vips(services: &[VirtualService]) -> Vec<IpAddr> {
    let mut vips: Vec<_> = services.iter().flat_map(VirtualService::vips).collect();
    vips.sort_unstable();
    vips.dedup();
    vips
}

fn vlans(services: &[VirtualService]) -> HashMap<IpAddr, Vlans> {
    services.iter().flat_map(|service| service.hosts().map(|host| (host, service.vlan))).collect()
}

/// Returns true if the server side has no address yet of a family that the services need. A bridge port is not expected
/// to get one. The link-local address of IPv6 precedes the others.
fn awaits_address(services: &[VirtualService], interfaces: &[Interface]) -> bool {
    let Some(interface) = interfaces.last() else { return false };
    let global = |(own, _): &(Ipv6Addr, u8)| !own.is_unicast_link_local();
    let (has_v4, has_v6) = (!interface.addresses.is_empty(), interface.ipv6_addresses.iter().any(global));
    let has = |service: &VirtualService| match service.identity.family() {
        _ if !service.vlan.is_none() => true, // within a VLAN none is needed
        IpFamily::Ipv4 => has_v4,
        IpFamily::Ipv6 => has_v6,
    };
    !services.iter().all(has) && interface.master().is_none()
}

fn find_interfaces(config: &Config) -> Result<Vec<Interface>, ResolveError> {
    let (director, places) = (&config.director, &config.places);
    let named =
        [(Some(&director.interface), "interface"), (director.server_interface.as_ref(), "server_interface")];
    let mut may_recover = true;
    let found = named.into_iter().filter_map(|(name, key)| {
        let found = Interface::lookup(name?);
        may_recover &= found.as_ref().err().is_none_or(|error| error.kind == DiagnosticKind::InterfaceAbsent);
        Some(found.map_err(|error| error.at(places.director_key(key))))
    });
    let found: Vec<_> = found.collect();
    all(found.into_iter()).map_err(|errors| ResolveError { errors, may_recover })
}

fn control_group(config: &Config) -> Result<Option<(u32, String)>, Diagnostics> {
    let Some(name) = &config.director.control_group else { return Ok(None) };
    let found = Group::from_name(name).ok().flatten().map(|group| (group.gid.as_raw(), group.name));
    if found.is_some() {
        return Ok(found);
    }
    let error = Diagnostic::system(format!("control_group is {name:?}"))
        .cause("this host has no such group")
        .remedy(format!("make it: groupadd --system {name}; or name one that `getent group` shows"));
    Err(error.at(config.places.director_key("control_group")).into())
}

/// Returns the next hops of all servers. `before` holds the present next hops and VIPs.
fn validated_servers(
    config: &Config,
    interfaces: &[Interface],
    before: (&[NeighborTarget], &[IpAddr]),
) -> Result<Vec<NeighborTarget>, Diagnostics> {
    let vips = config.services.iter().zip(&config.places.services).map(|(service, place)| {
        let checked = check_vips(service, interfaces, before.1);
        checked.map_err(|error| error.at(place.clone()))
    });
    let next_hops = NextHops::new(&config.services, interfaces, before.0);
    match (all(vips), servers(config, &next_hops)) {
        (Ok(_), outcome) => outcome,
        (Err(errors), Ok(_)) => Err(errors),
        (Err(vips), Err(servers)) => {
            let mut errors = [vips.0, servers.0].concat();
            let file = |error: &Diagnostic| {
                let place = error.place.as_ref()?;
                config.places.included.iter().position(|file| **file == *place.file)
            };
            errors.sort_by_key(|error| (file(error), error.line()));
            Err(Diagnostics(errors))
        }
    }
}

fn servers(config: &Config, next_hops: &NextHops<'_>) -> Result<Vec<NeighborTarget>, Diagnostics> {
    let services = config.services.iter();
    let servers = services.flat_map(|of| of.servers.iter().map(|server| (server, of.vlan)));
    let each = servers
        .zip(&config.places.servers)
        .map(|((server, vlan), place)| next_hops.find(server, vlan).map_err(|error| error.at(place.clone())));
    Ok(once(all(each)?))
}

/// Checks that no new VIP is a network, broadcast or Subnet-Router anycast address. `before` holds the present VIPs. The
/// networks within VLANs are not known.
fn check_vips(
    service: &VirtualService,
    interfaces: &[Interface],
    before: &[IpAddr],
) -> Result<(), Diagnostic> {
    if !service.vlan.is_none() {
        return Ok(());
    }
    let new = service.vips().into_iter().filter(|vip| before.binary_search(vip).is_err());
    for vip in new {
        if let Some(role) = interfaces.iter().find_map(|interface| interface.reserved(vip)) {
            return Err(Diagnostic::system(format!("the VIP {vip} cannot be a host address"))
                .cause(format!("it is {role}"))
                .remedy("name another address of that network"));
        }
    }
    Ok(())
}

/// Returns every value, or every error.
fn all<T>(each: impl Iterator<Item = Result<T, Diagnostic>>) -> Result<Vec<T>, Diagnostics> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for outcome in each {
        match outcome {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(Diagnostics(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::host::next_hop::tests::eth0;
    use std::path::Path;

    const FILE: &str = r#"
[director]
interface = "eth0"
[[service]]
protocol = "tcp"
address = "192.0.2.1:80"
[[service.server]]
address = "192.0.2.10"
[[service.server]]
address = "198.51.100.11"
[[service]]
protocol = "tcp"
address = "192.0.2.1:443"
[[service.server]]
address = "198.51.100.12"
mac = "02:00:00:00:00:12"
[[service.server]]
address = "192.0.2.10"
[[service.server]]
address = "203.0.113.13"
"#;

    fn validated_servers(config: &Config) -> Result<Vec<NeighborTarget>, Diagnostics> {
        super::validated_servers(config, &[eth0(&[[192, 0, 2, 5]])], (&[], &[]))
    }

    #[test]
    fn reserved_vip_is_refused_with_its_line_unless_present() {
        let file = FILE.replace("192.0.2.1:443", "192.0.2.255:443").replace("192.0.2.1:80", "192.0.2.0:80");
        let config = crate::model::parse(Path::new("d.toml"), &file).unwrap();
        let lines = |errors: Diagnostics| errors.0.iter().map(|error| error.line()).collect::<Vec<_>>();
        let errors = validated_servers(&config).unwrap_err();
        assert_eq!(
            errors.0[0].fault(),
            "the VIP 192.0.2.0 cannot be a host address: it is the network address of 192.0.2.0/24 on eth0"
        );
        assert_eq!(lines(errors), [6, 10, 13, 20]);
        let before =
            super::validated_servers(&config, &[eth0(&[[192, 0, 2, 5]])], (&[], &[[192, 0, 2, 0].into()]));
        assert_eq!(lines(before.unwrap_err()), [10, 13, 20]);
    }

    /// A host without services. Its interface does not exist, so its addresses are not updated.
    fn host() -> ResolvedHost {
        let access = Access { group: None, others: crate::model::ControlOthers::default() };
        let interfaces = vec![Interface { name: "no-such-if".into(), ..eth0(&[[192, 0, 2, 5]]) }];
        ResolvedHost { interfaces, servers: Vec::new(), vips: Vec::new(), vlans: HashMap::new(), access }
    }

    #[test]
    fn re_resolution_error_names_its_subject() {
        let mut services = crate::model::parse(Path::new("d.toml"), FILE).unwrap().services;
        let [first, second] = [services[0].identity, services[1].identity];
        let subjects =
            |services: &[VirtualService]| host().re_resolve(services).unwrap_err().subjects.into_vec();
        let far = [198, 51, 100, 11].into();
        assert_eq!(subjects(&services), [Subject::Server(first, far)]);
        services[0].servers.pop();
        assert_eq!(subjects(&services), [Subject::Server(second, [203, 0, 113, 13].into())]);
        let mut broadcast = services[1].identity.address().unwrap();
        broadcast.address.set_ip([192, 0, 2, 255].into());
        services[1].identity = broadcast.into();
        assert_eq!(subjects(&services), [Subject::Service(services[1].identity)]);
    }

    /// An interface of the host with these addresses.
    fn with_addresses(ipv4: &[([u8; 4], u8)], ipv6: &[(&str, u8)]) -> Vec<Interface> {
        let addresses = ipv4.iter().map(|(address, prefix)| ((*address).into(), *prefix)).collect();
        let ipv6_addresses =
            ipv6.iter().map(|(address, prefix)| (address.parse().unwrap(), *prefix)).collect();
        vec![Interface { name: "no-such-if".into(), addresses, ipv6_addresses, ..eth0(&[]) }]
    }

    #[test]
    fn no_change_of_addresses_refuses_the_running_rules() {
        let service = |vip: &str, rip: &str, rest: &str| {
            format!(
                "[[service]]\nprotocol = \"tcp\"\naddress = \"{vip}\"\n{rest}\nserver = [{{ address = \"{rip}\" }}]\n"
            )
        };
        let file = [
            "[director]\ninterface = \"eth0\"\n".into(),
            service("192.0.2.1:80", "192.0.2.10", ""),
            service("192.0.2.2:80", "192.0.2.11", "vlan = 100"),
            service("[2001:db8::1]:80", "2001:db8::10", ""),
            service("[2001:db8::2]:80", "2001:db8::11", "vlan = [100, 10]"),
        ];
        let services = crate::model::parse(Path::new("d.toml"), &file.concat()).unwrap().services;
        let own = with_addresses(&[([192, 0, 2, 5], 24)], &[("fe80::5", 64), ("2001:db8::5", 64)]);
        let running = ResolvedHost { interfaces: own, ..host() }.re_resolve(&services).unwrap();
        for (case, interfaces) in [
            ("none is left", with_addresses(&[], &[])),
            ("IPv6 is off", with_addresses(&[([192, 0, 2, 5], 24)], &[])),
            ("no link-local address is left", with_addresses(&[], &[("2001:db8::5", 64)])),
            (
                "VIPs are reserved",
                with_addresses(&[([192, 0, 2, 0], 31), ([192, 0, 2, 3], 30)], &[("2001:db8::3", 127)]),
            ),
            ("VIPs are the host's", with_addresses(&[([192, 0, 2, 1], 32)], &[("2001:db8::1", 128)])),
            (
                "servers are the host's",
                with_addresses(&[([192, 0, 2, 10], 24)], &[("2001:db8::10", 64), ("2001:db8::11", 64)]),
            ),
        ] {
            let changed = ResolvedHost {
                interfaces,
                servers: running.servers.clone(),
                vips: running.vips.clone(),
                vlans: running.vlans.clone(),
                access: running.access.clone(),
            };
            let again = changed.re_resolve(&services).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(again.servers.len(), running.servers.len(), "{case}");
        }
    }

    #[test]
    fn what_leaves_its_vlan_is_checked_as_at_the_start() {
        let service = |vlan: &str, vip: &str, rip: &str| {
            let file = format!(
                "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"tcp\"\naddress = \"{vip}:80\"\n{vlan}\n\
                 server = [{{ address = \"{rip}\" }}]\n"
            );
            crate::model::parse(Path::new("d.toml"), &file).unwrap()
        };
        for (vip, rip, fault) in [
            ("192.0.2.255", "192.0.2.9", "the VIP 192.0.2.255 cannot be a host address"),
            ("192.0.2.1", "198.51.100.9", "real server 198.51.100.9 is not on-link"),
        ] {
            let [tagged, plain] = ["vlan = 100", ""].map(|vlan| service(vlan, vip, rip));
            let running = host().re_resolve(&tagged.services).unwrap();
            assert_eq!(running.re_resolve(&tagged.services).map(drop), Ok(()));
            let refused = running.re_resolve(&plain.services).unwrap_err();
            assert!(refused.what.contains(fault), "{}", refused.what);
            assert!(running.validate(&plain).unwrap_err().0[0].what.contains(fault));
        }
    }

    #[test]
    fn off_link_servers_are_refused_with_their_lines() {
        let config = crate::model::parse(Path::new("d.toml"), FILE).unwrap();
        let errors = validated_servers(&config).unwrap_err().0;
        let lines: Vec<_> = errors.iter().map(|error| (error.line(), error.fault())).collect();
        let cause = "eth0 has 192.0.2.5/24, and direct routing reaches only neighbors";
        let wanted = [(10, "198.51.100.11"), (20, "203.0.113.13")]
            .map(|(line, rip)| (line, format!("real server {rip} is not on-link: {cause}")));
        assert_eq!(lines, wanted);
    }

    #[test]
    fn director_as_real_server_is_refused() {
        let file = FILE.replace("address = \"192.0.2.10\"", "address = \"192.0.2.5\"");
        let config = crate::model::parse(Path::new("d.toml"), &file).unwrap();
        let error = &validated_servers(&config).unwrap_err().0[0];
        assert!(error.fault().starts_with("real server 192.0.2.5 is this host: eth0 has"), "{}", error.what);
        assert_eq!(error.line(), 8);
    }

    #[test]
    fn server_of_several_services_is_resolved_once() {
        let mut config = crate::model::parse(Path::new("d.toml"), FILE).unwrap();
        config.services[0].servers.pop();
        config.services[1].servers.pop();
        config.places.servers.truncate(3);
        let servers = validated_servers(&config).unwrap();
        let named: Vec<_> =
            servers.iter().map(|server| (server.rip.to_string(), server.own.to_string())).collect();
        let wanted = [("192.0.2.10", "192.0.2.5"), ("198.51.100.12", "0.0.0.0")];
        assert_eq!(named, wanted.map(|(rip, own)| (rip.to_string(), own.to_string())));
    }
}
