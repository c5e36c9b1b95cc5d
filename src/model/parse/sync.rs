//! The `[sync]` table.

use super::readers::{Read, boolean, choice, interface, number, shown, text};
use super::report::invalid;
use super::section::Section;
use crate::model::{Places, SyncConfig, SyncDirection};
use crate::time::Span;
use std::collections::BTreeMap;
use std::net::IpAddr;
use toml::de::DeValue;

const INTERFACE: &str =
    r#"add interface = "eth1", with the interface that the other directors are reached by"#;
const SYNCID: &str = "add syncid = 51, a number that all directors of this group have and no others";
/// Longest time between two hellos, in seconds.
const HELLO_MAX: u32 = 60;

/// Reads the table, and notes the lines of its keys as "sync.KEY".
pub(super) fn read(root: &Section<'_, '_>, places: &mut Places) -> Option<SyncConfig> {
    let section = root.table("sync", "[sync]")?;
    let range = |first: u32, last: u32| number(first..=last);
    let config = SyncConfig {
        interface: section.get("interface", interface).unwrap_or_default(),
        group: section.get("group", group).unwrap_or(SyncConfig::GROUP),
        port: section.get("port", range(1, 65535)).map_or(SyncConfig::PORT, |port| port as u16),
        ttl: section.get("ttl", range(1, 255)).map_or(SyncConfig::TTL, |ttl| ttl as u8),
        syncid: section.get("syncid", range(0, 255)).unwrap_or_default() as u8,
        maxlen: section
            .get("maxlen", range(SyncConfig::LEN_MIN.into(), SyncConfig::LEN_MAX.into()))
            .map(|len| len as u16),
        peers: section.get("peers", peers).unwrap_or_default(),
        unicast: section.get("unicast", boolean).unwrap_or_default(),
        direction: section.get("direction", choice(SyncDirection::NAMES)).unwrap_or_default(),
        hello: section.get("hello", hello).unwrap_or(SyncConfig::HELLO),
    };
    for (key, remedy) in [("interface", INTERFACE), ("syncid", SYNCID)] {
        if !section.has(key) {
            section.lacks(&format!("has no {key}"), remedy);
        }
    }
    if config.unicast && config.peers.is_empty() {
        let remedy = r#"add peers = ["192.0.2.12"], with the addresses of the other directors, or remove it"#;
        section.object("unicast", invalid("has no meaning without peers", remedy));
    }
    let lines: BTreeMap<_, _> = section.lines().1;
    places.director_keys.extend(lines.into_iter().map(|(key, line)| (format!("sync.{key}"), line)));
    section.close();
    Some(config)
}

fn group(value: &DeValue<'_>) -> Read<IpAddr> {
    let example = r#"a multicast address, as in "224.0.0.81" or "ff02::81""#;
    let text = text(value, &format!("{example},"))?;
    let address = text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast);
    address.ok_or_else(|| invalid(format!("is {text:?}, no multicast group"), format!("write {example}")))
}

fn peers(value: &DeValue<'_>) -> Read<Vec<IpAddr>> {
    let example = r#"a list of addresses, as in ["192.0.2.12"]"#;
    let list = value.as_array();
    let list = list.ok_or_else(|| invalid(format!("is {}", shown(value)), format!("write {example}")))?;
    let one = |value: &DeValue<'_>| {
        let text = text(value, "each address")?;
        let address = text.parse::<IpAddr>().ok().filter(is_of_host);
        address
            .ok_or_else(|| invalid(format!("has {text:?}, no address of a host"), format!("write {example}")))
    };
    list.iter().map(|value| one(value.get_ref())).collect()
}

/// True for an address that datagrams may come from, also a link-local one.
fn is_of_host(address: &IpAddr) -> bool {
    !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
}

fn hello(value: &DeValue<'_>) -> Read<Span> {
    let seconds = number(0..=HELLO_MAX)(value).map(Span::from_secs);
    seconds.map_err(|fault| invalid(fault.what, format!("{}: seconds, 0 for no hellos", fault.remedy)))
}
