//! Matches of virtual services: protocol, VIP and ports of the frames that a service takes.

use super::{Diagnostic, ServiceAddress, host_address};
use crate::wire::Protocol;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port, not below the first.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const EVERY: Self = Self { first: 0, last: u16::MAX };

    /// A range of one port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// True if it contains the port.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Protocol, VIP and ports of the frames that a service takes. A service by address has one match, a group has several.
///
/// Ordered by protocol, VIP and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    /// Transport protocol.
    pub protocol: Protocol,
    /// VIP.
    pub vip: IpAddr,
    /// Destination ports. [`PortRange::EVERY`] is the wildcard port: it gives way to every other match.
    pub ports: PortRange,
}

impl Match {
    /// True if its port is the wildcard port.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.ports == PortRange::EVERY
    }

    /// The port, if there is just one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        (self.ports.first == self.ports.last).then_some(self.ports.first)
    }

    /// True if its connections have the compact key of the flow table: IPv4 and one port.
    #[must_use]
    pub fn is_compact(&self) -> bool {
        self.vip.is_ipv4() && self.port().is_some()
    }

    /// True if no frame can tell which of the two it belongs to. A wildcard port gives way to a named one.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        let overlap = self.ports.first <= other.ports.last && other.ports.first <= self.ports.last;
        let same_kind = self.is_wildcard() == other.is_wildcard();
        (self.protocol, self.vip) == (other.protocol, other.vip) && same_kind && overlap
    }

    /// The destination that the id of the match stands for in flow keys.
    #[must_use]
    pub fn destination(&self) -> MatchDestination {
        let Self { protocol, vip, .. } = *self;
        MatchDestination { protocol, vip, port: self.port().filter(|_| self.is_compact()) }
    }

    /// Its VIP and port as ipvsadm shows an address: port 0 if there are several.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (self.vip, self.port().unwrap_or_default()).into()
    }
}

/// The part of a connection's destination that a [`MatchId`](super::MatchId) stands for in a flow key.
///
/// The wide key has the port itself. All matches of a service with wide keys, of one protocol and VIP, therefore have the
/// same destination: a connection goes on while one of them takes its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchDestination {
    /// Transport protocol.
    pub protocol: Protocol,
    /// VIP.
    pub vip: IpAddr,
    /// The port of a match with compact keys; `None` with wide keys.
    pub port: Option<u16>,
}

impl From<ServiceAddress> for Match {
    fn from(service: ServiceAddress) -> Self {
        let (protocol, vip) = (service.protocol, service.address.ip());
        let ports =
            if service.is_wildcard() { PortRange::EVERY } else { PortRange::one(service.address.port()) };
        Self { protocol, vip, ports }
    }
}

impl fmt::Display for Match {
    /// As in a configuration file: `tcp:192.0.2.10:80`, `udp:[2001:db8::80]:5060-5080`, `tcp:192.0.2.10:*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.protocol.to_string().to_lowercase())?;
        match self.vip {
            IpAddr::V4(vip) => write!(f, "{vip}:")?,
            IpAddr::V6(vip) => write!(f, "[{vip}]:")?,
        }
        match self.ports {
            PortRange::EVERY => f.write_str("*"),
            PortRange { first, last } if first == last => write!(f, "{first}"),
            PortRange { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for Match {
    type Err = Diagnostic;

    /// Parses `tcp:192.0.2.10:80`, `udp:[2001:db8::80]:5060-5080`, or `tcp:192.0.2.10:*` for the wildcard port.
    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        parsed(text).map_err(|flaw| {
            let remedy = r#"write protocol, VIP and port, as in "tcp:192.0.2.10:80", "udp:[2001:db8::10]:5060-5080", "tcp:192.0.2.10:*""#;
            Diagnostic::invalid_rules(format!("{text:?} is no match"), remedy).cause(flaw)
        })
    }
}

fn parsed(text: &str) -> Result<Match, String> {
    let (protocol, address) = text.split_once(':').ok_or("there is no colon in it")?;
    let protocol = Protocol::named(protocol).ok_or("it begins with none of tcp, udp, sctp")?;
    let (host, ports) = address.rsplit_once(':').ok_or("it has no port")?;
    let vip: IpAddr = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| "its VIP is no IPv6 address")?,
        None if host.parse::<Ipv6Addr>().is_ok() => return Err("its IPv6 address has no brackets".into()),
        None => host.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| "its VIP is no IP address")?,
    };
    host_address(vip).map_err(|flaw| format!("its VIP is {flaw}"))?;
    Ok(Match { protocol, vip, ports: port_range(ports)? })
}

fn port_range(text: &str) -> Result<PortRange, String> {
    if text == "*" || text == "0" {
        return Ok(PortRange::EVERY);
    }
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let port = text.parse::<u16>().ok().filter(|port| digits && *port > 0);
        port.ok_or_else(|| format!("{text:?} is not a port from 1 to 65535"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = PortRange { first: port(first)?, last: port(last)? };
    if range.first > range.last {
        return Err(format!("its range of ports {text} ends before it begins"));
    }
    Ok(range)
}

/// The first two matches of `matches` that clash, with what belongs to each. The later one in the order of the list comes
/// second.
pub fn first_clash<T: Copy>(matches: &[(Match, T)]) -> Option<[(Match, T); 2]> {
    let mut sorted: Vec<_> = matches.iter().copied().enumerate().collect();
    sorted.sort_by_key(|(index, (of, _))| (of.protocol, of.vip, of.is_wildcard(), of.ports, *index));
    let clash = sorted.windows(2).find(|pair| pair[0].1.0.clashes(&pair[1].1.0))?;
    let mut clash = [clash[0], clash[1]];
    clash.sort_by_key(|(index, _)| *index);
    Some(clash.map(|(_, of)| of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(first: u16, last: u16) -> Match {
        Match { protocol: Protocol::Tcp, vip: [192, 0, 2, 1].into(), ports: PortRange { first, last } }
    }

    #[test]
    fn matches_are_shown_as_they_are_written() {
        let v6 = Match { vip: "2001:db8::80".parse().unwrap(), protocol: Protocol::Udp, ..tcp(5060, 5080) };
        let shown = [tcp(80, 80), v6, tcp(0, u16::MAX)].map(|of| of.to_string());
        assert_eq!(shown, ["tcp:192.0.2.1:80", "udp:[2001:db8::80]:5060-5080", "tcp:192.0.2.1:*"]);
        assert_eq!(shown.map(|text| text.parse::<Match>().unwrap()), [tcp(80, 80), v6, tcp(0, u16::MAX)]);
        assert_eq!("tcp:192.0.2.1:0".parse::<Match>(), Ok(tcp(0, u16::MAX)), "as in IPVS");
    }

    #[test]
    fn each_flaw_of_a_match_is_named() {
        for (text, flaw) in [
            ("192.0.2.1", "there is no colon in it"),
            ("icmp:192.0.2.1:80", "it begins with none of tcp, udp, sctp"),
            ("TCP:192.0.2.1:80", "it begins with none of tcp, udp, sctp"),
            ("tcp:192.0.2.1", "it has no port"),
            ("tcp:2001:db8::1:80", "its IPv6 address has no brackets"),
            ("tcp:[192.0.2.1]:80", "its VIP is no IPv6 address"),
            ("tcp:web:80", "its VIP is no IP address"),
            ("tcp:192.0.2.0/24:80", "its VIP is no IP address"),
            ("tcp:127.0.0.1:80", "its VIP is a loopback address"),
            ("tcp:192.0.2.1:http", r#""http" is not a port from 1 to 65535"#),
            ("tcp:192.0.2.1:65536", r#""65536" is not a port from 1 to 65535"#),
            ("tcp:192.0.2.1:80-", r#""" is not a port from 1 to 65535"#),
            ("tcp:192.0.2.1:+80", r#""+80" is not a port from 1 to 65535"#),
            ("tcp:192.0.2.1:0-80", r#""0" is not a port from 1 to 65535"#),
            ("tcp:192.0.2.1:90-80", "its range of ports 90-80 ends before it begins"),
        ] {
            let error = text.parse::<Match>().unwrap_err();
            assert_eq!(error.fault(), format!("{text:?} is no match: {flaw}"));
        }
    }

    #[test]
    fn a_wildcard_port_clashes_with_another_one_only() {
        let every = tcp(0, u16::MAX);
        assert!(every.clashes(&every));
        assert!(!every.clashes(&tcp(80, 80)) && !tcp(1, u16::MAX).clashes(&every));
        assert!(tcp(80, 90).clashes(&tcp(90, 99)) && !tcp(80, 90).clashes(&tcp(91, 99)));
        assert!(!tcp(80, 90).clashes(&Match { protocol: Protocol::Udp, ..tcp(80, 90) }));
    }

    proptest! {
        #[test]
        fn a_clash_is_found_if_there_is_one(
            ranges in prop::collection::vec((0u16..60, 0u16..9, any::<bool>()), 0..9),
        ) {
            let matches: Vec<_> = ranges
                .into_iter()
                .map(|(first, more, every)| if every && more == 0 { tcp(0, u16::MAX) } else { tcp(first, first + more) })
                .zip(0..)
                .collect();
            let pairs = matches.iter().flat_map(|(a, m)| matches.iter().map(move |(b, n)| (a, b, m < n)));
            let any = pairs.into_iter().any(|(a, b, ordered)| ordered && a.clashes(b));
            let found = first_clash(&matches);
            prop_assert_eq!(found.is_some(), any);
            if let Some([(a, m), (b, n)]) = found {
                prop_assert!(a.clashes(&b) && m < n);
            }
        }
    }
}
