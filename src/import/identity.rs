//! Lines of a configuration that identify a service.

use super::validate::key;
use crate::wire::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Returns the lines that identify a service.
pub(super) fn identity(transport: Protocol, address: SocketAddr) -> Vec<String> {
    vec!["[[service]]".into(), key("protocol", transport.name()), key("address", &address.to_string())]
}

/// Returns the lines that identify a group.
pub(super) fn group(mark: u32, one: &str) -> Vec<String> {
    vec!["[[service]]".into(), format!("mark = {mark}"), format!("match = [\"{one}\"]")]
}

/// Address of no host (RFC 7600, RFC 6666) for validation of settings apart from the address of the service.
pub(super) fn stand_in(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::new(192, 0, 0, 8).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1).into(),
    };
    SocketAddr::new(ip, 80)
}

/// The lines of a stand-in for a service with this port: the wildcard port has rules of its own.
pub(super) fn with_port(stand_in: &[String], port: u16) -> Vec<String> {
    if port != 0 || !stand_in.iter().any(|line| line.starts_with("address = ")) {
        return stand_in.to_vec();
    }
    let lines = stand_in.iter().map(|line| match line.strip_suffix(":80\"") {
        Some(address) if line.starts_with("address = ") => format!("{address}:0\""),
        _ => line.clone(),
    });
    lines.chain(["persistence = {}".to_owned()]).collect()
}
