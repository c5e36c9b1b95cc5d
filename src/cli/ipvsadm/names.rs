//! Names for addresses and ports, from /etc/hosts and /etc/services.

use crate::wire::Protocol;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};

const HOSTS: &str = "/etc/hosts";
const SERVICES: &str = "/etc/services";

/// Longest "address:port" in characters: the size of ipvsadm's buffer.
const ENDPOINT_MAX: usize = 59;

/// Names of hosts and ports. Addresses and ports without a name are written as numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    hosts: HashMap<IpAddr, String>,
    ports: HashMap<(u16, &'static str), String>,
}

impl Names {
    /// Reads the names from this host's files. A file that cannot be read has no names.
    pub(super) fn of_this_host() -> Self {
        let hosts = fs::read_to_string(HOSTS).unwrap_or_default();
        let services = fs::read_to_string(SERVICES).unwrap_or_default();
        Self::from_texts(&hosts, &services)
    }

    /// No names: addresses and ports are numbers.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Parses the two files. The first name of an address or port counts, as in the C library.
    pub(super) fn from_texts(hosts: &str, services: &str) -> Self {
        let mut names = Self::none();
        for (address, name) in hosts.lines().filter_map(host_line) {
            names.hosts.entry(address).or_insert_with(|| name.to_owned());
        }
        for (key, name) in services.lines().filter_map(service_line) {
            names.ports.entry(key).or_insert_with(|| name.to_owned());
        }
        names
    }

    /// Formats "address:port", with an IPv6 address in brackets.
    pub(super) fn endpoint(&self, protocol: Protocol, address: SocketAddr) -> String {
        let ip = address.ip();
        let host = self.hosts.get(&ip).cloned().unwrap_or_else(|| ip.to_string());
        let port = self.ports.get(&(address.port(), protocol.name()));
        let port = port.cloned().unwrap_or_else(|| address.port().to_string());
        let text = if ip.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        truncate(text, ENDPOINT_MAX)
    }
}

/// Truncates to the first `max` characters.
pub(super) fn truncate(mut text: String, max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max) {
        text.truncate(end);
    }
    text
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

/// Parses a line of hosts(5): address, name, aliases.
fn host_line(line: &str) -> Option<(IpAddr, &str)> {
    let mut words = words(line);
    Some((words.next()?.parse().ok()?, words.next()?))
}

/// Parses a line of services(5): name, port/protocol, aliases.
fn service_line(line: &str) -> Option<((u16, &'static str), &str)> {
    let mut words = words(line);
    let name = words.next()?;
    let (port, protocol) = words.next()?.split_once('/')?;
    let protocol = Protocol::named(protocol)?.name();
    Some(((port.parse().ok()?, protocol), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = "# comment\nhttp\t80/tcp  www # WorldWideWeb\nwww 80/tcp\ndomain 53/udp\n\
                            ipfix 4739/sctp\nodd 5/dccp\nbroken\n";
    const HOSTS: &str = "127.0.0.1 localhost\n192.0.2.10\tvip.example vip\n192.0.2.10 other\n\
                         2001:db8::80 six\nnonsense here\n";

    fn name(protocol: Protocol, address: &str) -> String {
        Names::from_texts(HOSTS, SERVICES).endpoint(protocol, address.parse().unwrap())
    }

    #[test]
    fn known_addresses_and_ports_are_written_as_names() {
        assert_eq!(name(Protocol::Tcp, "192.0.2.10:80"), "vip.example:http");
        assert_eq!(name(Protocol::Udp, "192.0.2.10:80"), "vip.example:80");
        assert_eq!(name(Protocol::Udp, "192.0.2.11:53"), "192.0.2.11:domain");
        assert_eq!(name(Protocol::Tcp, "[2001:db8::80]:80"), "[six]:http");
        assert_eq!(name(Protocol::Tcp, "[2001:db8::81]:81"), "[2001:db8::81]:81");
        let numeric = Names::none().endpoint(Protocol::Tcp, "192.0.2.10:80".parse().unwrap());
        assert_eq!(numeric, "192.0.2.10:80");
    }

    #[test]
    fn long_names_are_truncated() {
        let hosts = format!("192.0.2.1 {}\n", "x".repeat(80));
        let endpoint = Names::from_texts(&hosts, "").endpoint(Protocol::Tcp, "192.0.2.1:80".parse().unwrap());
        assert_eq!(endpoint, "x".repeat(59));
        assert_eq!(truncate("äöü".to_owned(), 2), "äö");
        assert_eq!(truncate("ab".to_owned(), 2), "ab");
    }
}
