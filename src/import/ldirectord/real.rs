//! Addresses of ldirectord.cf, and its `real` lines.

use super::lines::Setting;
use crate::import::description::Forward;
use crate::import::environment::Environment;
use crate::model::Diagnostic;
use crate::wire::Protocol;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A `real` line: one server, or a range of them.
#[derive(Debug)]
pub(super) struct Real {
    pub(super) addresses: Vec<IpAddr>,
    /// 0: none.
    pub(super) port: u16,
    pub(super) forward: Forward,
    pub(super) weight: u32,
    /// Request and expected answer of this server.
    pub(super) talk: Option<(String, String)>,
}

const REAL: &str = "write it as in \"real = 10.0.0.1:80 gate 1\"";

/// Reads a `real` line with at most `room` servers.
pub(super) fn read(
    line: &Setting,
    protocol: Protocol,
    room: usize,
    host: &dyn Environment,
) -> Result<Real, Diagnostic> {
    let error = |what: &str| line.error(what, REAL);
    let (target, rest) = line.value.split_once(char::is_whitespace).unwrap_or((&line.value, ""));
    let (addresses, port) = addresses(target, protocol, room, host).map_err(|what| error(&what))?;
    let rest = rest.trim_start();
    let (method, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let forward = match method {
        "gate" => Forward::Direct,
        "masq" => Forward::Masquerade,
        "ipip" => Forward::Tunnel,
        _ => return Err(error("its forwarding method is none of gate, masq, ipip")),
    };
    let rest = rest.trim();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (weight, rest) = rest.split_at(digits);
    let weight = match weight {
        "" => 1,
        weight => weight.parse().map_err(|_| error("its weight is no number from 0 to 65535"))?,
    };
    let talk = talk(rest.trim()).map_err(error)?;
    Ok(Real { addresses, port, forward, weight, talk })
}

/// Reads a `fallback` line: an address, and a forwarding method, or "gate".
pub(super) fn read_fallback(
    line: &Setting,
    protocol: Protocol,
    host: &dyn Environment,
) -> Result<Real, Diagnostic> {
    let method = if line.value.trim().contains(char::is_whitespace) { "" } else { " gate" };
    let whole = Setting { value: format!("{}{method}", line.value.trim()), ..line.clone() };
    read(&whole, protocol, 1, host)
}

/// Reads `"request", "receive"`.
fn talk(text: &str) -> Result<Option<(String, String)>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let fault = "the end is not \"request\", \"receive\"";
    let (request, rest) = text.strip_prefix('"').and_then(|rest| rest.split_once('"')).ok_or(fault)?;
    let rest = rest.trim_start_matches([',', ' ', '\t']);
    let receive = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(fault)?;
    Ok(Some((request.to_owned(), receive.to_owned())))
}

/// Reads `ADDRESS[:PORT]` or `FIRST->LAST[:PORT]`.
fn addresses(
    text: &str,
    protocol: Protocol,
    room: usize,
    host: &dyn Environment,
) -> Result<(Vec<IpAddr>, u16), String> {
    let (first, last) = match text.split_once("->") {
        Some((first, last)) => (Some(first), last),
        None => (None, text),
    };
    let (last, port) = host_and_port(last);
    let port = port.map_or(Ok(0), |port| self::port(port, protocol, host))?;
    let last = address(last, host)?;
    let Some(first) = first else { return Ok((vec![last], port)) };
    let (IpAddr::V4(first), IpAddr::V4(last)) = (address(first, host)?, last) else {
        return Err("a range is of IPv4 addresses".into());
    };
    let (first, last) = (first.to_bits(), last.to_bits());
    match last.checked_sub(first) {
        None => Err("the range ends before it begins".into()),
        Some(more) if more as usize >= room => Err("the file has more than 65535 servers with it".into()),
        Some(_) => Ok(((first..=last).map(|bits| Ipv4Addr::from_bits(bits).into()).collect(), port)),
    }
}

/// Reads `ADDRESS:PORT` of a virtual service.
pub(super) fn endpoint(text: &str, protocol: Protocol, host: &dyn Environment) -> Result<SocketAddr, String> {
    let (name, port) = host_and_port(text);
    let port = port.ok_or("it has no port")?;
    Ok(SocketAddr::new(address(name, host)?, self::port(port, protocol, host)?))
}

/// Splits at the colon before the port: that of an IPv6 address is behind its bracket.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    if text.ends_with(']') {
        return (text, None);
    }
    text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port)))
}

fn address(text: &str, host: &dyn Environment) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| host.address(bare));
    address.ok_or_else(|| format!("{text:?} is neither an address nor a name that this host resolves"))
}

fn port(text: &str, protocol: Protocol, host: &dyn Environment) -> Result<u16, String> {
    let port = text.parse().ok().or_else(|| host.port(text, protocol.name()));
    port.ok_or_else(|| format!("{text:?} is neither a port nor the name of one"))
}
