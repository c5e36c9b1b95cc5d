//! Differences between two sets of rules.

use super::{
    FirewallMark, HealthCheck, IpFamily, KnownGroup, Match, Policy, RealServer, Rules, ServiceIdentity,
    VirtualService,
};
use crate::time::Span;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;

/// One difference. Rendered as a line: `+` added, `-` removed, `~` changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A service is added, with so many servers.
    Service(ServiceIdentity, usize),
    /// A service is removed, with so many servers.
    NoService(ServiceIdentity, usize),
    /// A service's own settings change, in words.
    Settings(ServiceIdentity, String),
    /// A server is added.
    Server(ServiceIdentity, RealServer),
    /// A server is removed.
    NoServer(ServiceIdentity, IpAddr),
    /// A server's settings change, in words.
    ServerSettings(ServiceIdentity, IpAddr, String),
    /// The matches of a mark without a service are added (`+`), removed (`-`) or changed (`~`), in words.
    KnownGroup(char, FirewallMark, String),
    /// Timeouts change, in words.
    Timeouts(String),
    /// IPVS's switches, `reject` or `ping` change, in words.
    Policy(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(address, servers) => write!(f, "+ {address} {}", servers_in_words(*servers)),
            Self::NoService(address, servers) => write!(f, "- {address} {}", servers_in_words(*servers)),
            Self::Settings(identity, what) => write!(f, "~ {identity}: {what}"),
            Self::Server(service, server) => {
                write!(f, "+ {service} -> {}, weight {}", server.address, server.weight.0)?;
                if server.role.is_sorry() { write!(f, ", {}", server.role) } else { Ok(()) }
            }
            Self::NoServer(service, rip) => write!(f, "- {service} -> {rip}"),
            Self::ServerSettings(service, rip, what) => write!(f, "~ {service} -> {rip}: {what}"),
            Self::KnownGroup(sign, mark, what) => write!(f, "{sign} {mark} without a service: {what}"),
            Self::Timeouts(what) => write!(f, "~ timeouts: {what}"),
            Self::Policy(what) => write!(f, "~ director: {what}"),
        }
    }
}

fn servers_in_words(count: usize) -> String {
    match count {
        0 => "without real servers".into(),
        1 => "with 1 real server".into(),
        _ => format!("with {count} real servers"),
    }
}

impl Rules {
    /// Everything that is different in `new`: removals first, then additions and changes.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let here: HashMap<_, _> = self.services.iter().map(|service| (service.identity, service)).collect();
        let there: HashMap<_, _> = new.services.iter().map(|service| (service.identity, service)).collect();
        let removed = self.services.iter().filter(|service| !there.contains_key(&service.identity));
        let mut differences: Vec<_> =
            removed.map(|service| Difference::NoService(service.identity, service.servers.len())).collect();
        for service in &new.services {
            match here.get(&service.identity) {
                Some(old) if *old == service => {}
                Some(old) => within(old, service, &mut differences),
                None => differences.push(Difference::Service(service.identity, service.servers.len())),
            }
        }
        differences.extend(self.known_groups(new));
        differences.extend(self.timeouts(new).map(Difference::Timeouts));
        differences.extend(changed(policy_rows(&self.policy, &new.policy)).map(Difference::Policy));
        differences
    }

    /// Differences of marks without a service. What a group takes along when it is added or removed is none.
    fn known_groups(&self, new: &Self) -> Vec<Difference> {
        let forgotten = self.marks.iter().filter(|(mark, _)| new.known_group(**mark).is_none());
        let mut differences: Vec<_> =
            forgotten.map(|(mark, old)| Difference::KnownGroup('-', *mark, old.to_string())).collect();
        for (mark, known) in &new.marks {
            let what = match (self.marks.get(mark), self.known_group(*mark)) {
                (_, Some(old)) if old == *known => continue,
                (Some(old), _) => ('~', format!("{old} -> {known}")),
                (None, _) => ('+', known.to_string()),
            };
            differences.push(Difference::KnownGroup(what.0, *mark, what.1));
        }
        differences
    }

    /// The matches of a mark, with a service or without.
    fn known_group(&self, mark: FirewallMark) -> Option<KnownGroup> {
        let service = self.services.iter().find(|service| service.identity.mark() == Some(mark));
        let of_service = service.map(|of| KnownGroup { matches: of.group.clone(), vlan: of.vlan });
        of_service.or_else(|| self.marks.get(&mark).cloned())
    }

    fn timeouts(&self, new: &Self) -> Option<String> {
        let of = |rules: &Self| [rules.timeouts.tcp, rules.timeouts.tcp_fin, rules.timeouts.udp];
        let rows = ["tcp", "tcpfin", "udp"].into_iter().zip(of(self).into_iter().zip(of(new)));
        changed(rows.map(|(name, (old, new))| (name, old.secs().to_string(), new.secs().to_string())))
    }
}

fn policy_rows(old: &Policy, new: &Policy) -> impl Iterator<Item = (&'static str, String, String)> {
    let answers =
        |of: &Policy| [("reject", of.reject.name().to_owned()), ("ping", of.ping.name().to_owned())];
    let rows = |of: &Policy| of.switches().into_iter().chain(answers(of));
    rows(old).zip(rows(new)).map(|((name, old), (_, new))| (name, old, new))
}

fn within(old: &VirtualService, new: &VirtualService, differences: &mut Vec<Difference>) {
    let identity = new.identity;
    let flags = |service: &VirtualService| {
        service.scheduler_flags.names(service.scheduler).collect::<Vec<_>>().join(",")
    };
    let own = [
        ("match", matches(&old.group), matches(&new.group)),
        ("vlan", old.vlan.to_string(), new.vlan.to_string()),
        ("scheduler", old.scheduler.name().to_owned(), new.scheduler.name().to_owned()),
        ("scheduler_flags", flags(old), flags(new)),
        ("persistence", persistence(old), persistence(new)),
        ("one_packet", old.one_packet.to_string(), new.one_packet.to_string()),
        ("slow_start", seconds(old.slow_start), seconds(new.slow_start)),
        ("check", checks(&old.checks), checks(&new.checks)),
        ("panic", old.panic.to_string(), new.panic.to_string()),
        ("passive", old.passive.name().to_owned(), new.passive.name().to_owned()),
    ];
    let effects = old.effects.rows().into_iter().zip(new.effects.rows());
    let effects = effects.map(|((name, old), (_, new))| (name, old, new));
    let all = own.into_iter().chain(effects);
    differences.extend(changed(all).map(|what| Difference::Settings(identity, what)));
    let here: HashMap<_, _> = old.servers.iter().map(|server| (server.address, server)).collect();
    let there: HashSet<_> = new.servers.iter().map(|server| server.address).collect();
    let removed = old.servers.iter().filter(|old| !there.contains(&old.address));
    differences.extend(removed.map(|server| Difference::NoServer(identity, server.address)));
    for server in &new.servers {
        let Some(old) = here.get(&server.address) else {
            differences.push(Difference::Server(identity, server.clone()));
            continue;
        };
        let what = changed(server_rows(old, server));
        differences.extend(what.map(|what| Difference::ServerSettings(identity, server.address, what)));
    }
}

impl fmt::Display for KnownGroup {
    /// As in the differences of a service: `match tcp:192.0.2.10:80,tcp:192.0.2.10:443, vlan 100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "match {}", matches(&self.matches))?;
        if self.vlan.is_none() { Ok(()) } else { write!(f, ", vlan {}", self.vlan) }
    }
}

fn matches(group: &[Match]) -> String {
    group.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn persistence(service: &VirtualService) -> String {
    let Some(of) = service.persistence else { return "none".into() };
    match service.identity.family() {
        IpFamily::Ipv4 => format!("{} s by {}", of.timeout.secs(), of.netmask()),
        IpFamily::Ipv6 => format!("{} s by /{}", of.timeout.secs(), of.prefix),
    }
}

fn seconds(span: Option<Span>) -> String {
    span.map_or("none".to_owned(), |span| span.secs().to_string())
}

/// "tcp every 2 s", and what differs from the defaults.
fn checks(checks: &[HealthCheck]) -> String {
    if checks.is_empty() {
        "none".into()
    } else {
        checks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    }
}

fn server_rows(old: &RealServer, new: &RealServer) -> [(&'static str, String, String); 6] {
    let mac = |server: &RealServer| server.mac.map_or("solicited".to_owned(), |mac| mac.to_string());
    let number = |name, old: u32, new: u32| (name, old.to_string(), new.to_string());
    [
        number("weight", old.weight.0.into(), new.weight.0.into()),
        number("upper_threshold", old.upper_threshold, new.upper_threshold),
        number("lower_threshold", old.lower_threshold, new.lower_threshold),
        ("mac", mac(old), mac(new)),
        ("check", checks(&old.checks), checks(&new.checks)),
        ("role", old.role.to_string(), new.role.to_string()),
    ]
}

/// "weight 1 -> 2, mac …" of what is not the same; `None` if all is.
fn changed(rows: impl IntoIterator<Item = (&'static str, String, String)>) -> Option<String> {
    let rows = rows.into_iter().filter(|(_, old, new)| old != new);
    let words: Vec<_> = rows.map(|(name, old, new)| format!("{name} {old} -> {new}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Persistence, Scheduler, ServiceAddress, Timeouts, Weight};
    use crate::wire::Protocol;
    use crate::wire::vlan::Vlans;

    fn service(port: u16, servers: &[(u8, u16)]) -> VirtualService {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() };
        let server = |(host, weight): &(u8, u16)| RealServer::new([192, 0, 2, *host].into(), Weight(*weight));
        VirtualService::new(address, servers.iter().map(server).collect())
    }

    #[test]
    fn every_difference_is_a_line() {
        let old = Rules {
            services: vec![service(80, &[(10, 1), (11, 1)]), service(443, &[(10, 1)])],
            ..Rules::default()
        };
        let changed = VirtualService {
            scheduler: Scheduler::Wrr,
            slow_start: Some(Span::from_secs(30)),
            vlan: Vlans::new(&[100, 10]).unwrap(),
            ..service(80, &[(11, 4), (12, 1)])
        };
        let timeouts = Timeouts { udp: Span::from_secs(10), ..Timeouts::default() };
        let policy = Policy { expire_nodest_conn: true, ..Policy::default() };
        let new = Rules { services: vec![service(53, &[]), changed], timeouts, policy, ..Rules::default() };
        let lines: Vec<_> = old.differences(&new).iter().map(ToString::to_string).collect();
        let expected = [
            "- TCP 192.0.2.1:443 with 1 real server",
            "+ TCP 192.0.2.1:53 without real servers",
            "~ TCP 192.0.2.1:80: vlan none -> 100.10, scheduler wlc -> wrr, slow_start none -> 30",
            "- TCP 192.0.2.1:80 -> 192.0.2.10",
            "~ TCP 192.0.2.1:80 -> 192.0.2.11: weight 1 -> 4",
            "+ TCP 192.0.2.1:80 -> 192.0.2.12, weight 1",
            "~ timeouts: udp 300 -> 10",
            "~ director: expire_nodest_conn false -> true",
        ];
        assert_eq!(lines, expected);
        assert_eq!(new.differences(&new), []);
    }

    #[test]
    fn matches_that_a_reload_forgets_are_a_line() {
        let mark = FirewallMark { mark: 7.try_into().unwrap(), family: IpFamily::Ipv4 };
        let known = |ports: &str| KnownGroup {
            matches: vec![format!("tcp:192.0.2.1:{ports}").parse().unwrap()],
            vlan: Vlans::new(&[100]).unwrap(),
        };
        let marked = |ports| Rules { marks: [(mark, known(ports))].into(), ..Rules::default() };
        let served = |ports| {
            let KnownGroup { matches: group, vlan } = known(ports);
            let service = VirtualService { group, vlan, ..VirtualService::new(mark, Vec::new()) };
            Rules { services: vec![service], ..Rules::default() }
        };
        let lines = |old: &Rules, new: &Rules| {
            old.differences(new).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (none, removed) = (Rules::default(), "- FWM 7 without real servers");
        assert_eq!(
            lines(&marked("80"), &none),
            ["- FWM 7 without a service: match tcp:192.0.2.1:80, vlan 100"]
        );
        assert_eq!(
            lines(&none, &marked("80")),
            ["+ FWM 7 without a service: match tcp:192.0.2.1:80, vlan 100"]
        );
        assert_eq!(
            lines(&marked("80"), &marked("81")),
            [
                "~ FWM 7 without a service: match tcp:192.0.2.1:80, vlan 100 -> match tcp:192.0.2.1:81, vlan 100"
            ]
        );
        assert_eq!(lines(&served("80"), &marked("80")), [removed], "as ipvsadm -D does");
        assert_eq!(lines(&marked("80"), &served("80")), ["+ FWM 7 without real servers"]);
        assert_eq!(
            lines(&served("80"), &marked("81")),
            [removed, "+ FWM 7 without a service: match tcp:192.0.2.1:81, vlan 100"]
        );
    }

    #[test]
    fn prefixes_of_ipv6_clients_are_told_apart() {
        let rules = |prefix| {
            let protocol = Protocol::Tcp;
            let address = ServiceAddress { protocol, address: "[2001:db8::80]:80".parse().unwrap() };
            let persistence = Some(Persistence { timeout: Span::from_secs(360), prefix });
            let service = VirtualService { persistence, ..VirtualService::new(address, vec![]) };
            Rules { services: vec![service], ..Rules::default() }
        };
        let lines: Vec<_> = rules(64).differences(&rules(128)).iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("360 s by /64 -> 360 s by /128"), "{lines:?}");
    }
}
