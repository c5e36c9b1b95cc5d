//! State after a reboot: the configuration that sets up the VIPs, and its faults.

use super::effect::network_effect;
use crate::realserver::boot_sysctls::{LAST, disabling_ipv6};
use crate::realserver::configured::{self, ConfiguredAddress};
use crate::realserver::facts::Facts;
use crate::realserver::finding::HostFinding;
use crate::realserver::host::{AddressUse, address_use, single_prefix};
use crate::realserver::options::RealServerOptions;
use crate::realserver::persist::{is_enabled, unit_path};
use glob::Pattern;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Findings about the VIPs that the host has now, and about IPv6.
pub(super) fn findings(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let vips = options.vips.iter().filter(|vip| has(**vip, facts));
    let mut found: Vec<_> = vips.flat_map(|vip| vip_findings(*vip, options, facts)).collect();
    if options.has_ipv6() {
        found.extend(ipv6_switched_off(options, facts));
    }
    found
}

/// True if the host has the VIP; false for an address that is or may be its own.
fn has(vip: IpAddr, facts: &Facts) -> bool {
    let mut found = facts.addresses.iter().filter(|address| address.ip == vip);
    found.any(|address| {
        let link = facts.link(address.index);
        link.is_none_or(|link| address_use(address, link, &facts.addresses) == AddressUse::Vip)
    })
}

fn vip_findings(vip: IpAddr, options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let mut found = Vec::new();
    if is_enabled(options, vip) {
        let unit = unit_path(options, vip);
        found
            .push(HostFinding::right(format!("{vip} is set up again after a reboot, by {}", unit.display())));
    }
    let (mut good, mut faults) = (None, Vec::new());
    for place in configured::find(&options.root, vip) {
        match fault(vip, &place, options, facts) {
            Some(fault) => faults.push(fault),
            None => good = good.or(Some(place.path)),
        }
    }
    match good {
        _ if !found.is_empty() => {}
        Some(path) => {
            found.push(HostFinding::right(format!("{vip} is configured in {}", path.display())));
        }
        None if faults.is_empty() => found.push(not_configured(vip)),
        None => {}
    }
    found.extend(faults);
    found
}

fn not_configured(vip: IpAddr) -> HostFinding {
    HostFinding::note(
        format!("no known configuration sets {vip} up again after a reboot"),
        "without the VIP this server drops its share, and the director continues to send it",
        format!("directrix realserver setup --vip {vip} --persist"),
    )
}

/// Use of ARP and neighbor discovery on an interface of the configuration.
#[derive(PartialEq, Eq)]
enum Answering {
    Yes,
    No,
    /// This host has no such interface, such as that of an image.
    Unknown,
}

/// The worst fault of a configured address, which shows after a reboot.
fn fault(
    vip: IpAddr,
    place: &ConfiguredAddress,
    options: &RealServerOptions,
    facts: &Facts,
) -> Option<HostFinding> {
    let names = interfaces(&place.interfaces, facts);
    let first = |wanted| names.iter().find(|name| answering(name, options, facts) == wanted);
    let what = |name| format!("{} puts {vip} on {name} at boot", place.path.display());
    let protocol = if vip.is_ipv4() { "ARP" } else { "neighbor discovery" };
    let effect = "answers for the VIP: clients reach this server past the director";
    let remedy = format!("configure {vip}/{} on {} instead", single_prefix(vip), options.interface);
    if let Some(name) = first(Answering::Yes) {
        return Some(HostFinding::wrong(what(name), format!("{name} uses {protocol} and {effect}"), remedy));
    }
    network_fault(vip, place, names.first()).or_else(|| {
        let name = first(Answering::Unknown)?;
        Some(HostFinding::note(what(name), format!("if {name} uses {protocol}, it {effect}"), remedy))
    })
}

/// A configured address with the prefix length of a network.
fn network_fault(vip: IpAddr, place: &ConfiguredAddress, interface: Option<&&str>) -> Option<HostFinding> {
    let single = single_prefix(vip);
    let prefix = place.prefix.filter(|prefix| *prefix < single)?;
    let interface = interface.unwrap_or(&"that interface");
    Some(HostFinding::wrong(
        format!("{} sets up {vip}/{prefix} at boot", place.path.display()),
        network_effect(vip, interface),
        format!("write {vip}/{single} there"),
    ))
}

/// Interfaces of a list of names and patterns: a name as it stands, and those of this host that a pattern matches. A `!` before
/// the first inverts the list, as in systemd.network(5).
fn interfaces<'a>(list: &'a [String], facts: &'a Facts) -> Vec<&'a str> {
    let here = || facts.links.iter().map(|link| link.name.as_str());
    let matches =
        |pattern: &str, name: &str| Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name));
    let Some((first, rest)) = list.split_first() else { return Vec::new() };
    if let Some(first) = first.strip_prefix('!') {
        let is_excluded =
            |name: &str| matches(first, name) || rest.iter().any(|pattern| matches(pattern, name));
        return here().filter(|name| !is_excluded(name)).collect();
    }
    let each = list.iter().map(String::as_str);
    each.flat_map(|word| match word.contains(['*', '?', '[']) {
        true => here().filter(|name| matches(word, name)).collect(),
        false => vec![word],
    })
    .collect()
}

fn answering(name: &str, options: &RealServerOptions, facts: &Facts) -> Answering {
    if name == "lo" || name == options.interface {
        return Answering::No;
    }
    match facts.links.iter().find(|link| link.name == name) {
        Some(link) if link.arp || link.vrf => Answering::Yes,
        Some(_) => Answering::No,
        None => Answering::Unknown,
    }
}

/// Settings that switch IPv6 off at boot, by file.
fn ipv6_switched_off(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let segment = facts.with_arp(options).map(|(link, _)| link.name.as_str());
    let names = std::iter::once(options.interface.as_str()).chain(segment);
    let mut by_file: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
    for name in names {
        if let Some(path) = disabling_ipv6(&options.root, name) {
            by_file.entry(path).or_default().push(name);
        }
    }
    by_file.iter().map(|(path, names)| switched_off(path, names, &options.interface)).collect()
}

fn switched_off(path: &Path, names: &[&str], vip_interface: &str) -> HostFinding {
    let what = format!("{} sets disable_ipv6 on {} at boot", path.display(), names.join(", "));
    let place = if path.ends_with(LAST) { "in that file, at its end" } else { "in a file of a later name" };
    let remedy = format!("set it to 0 for {}, {place}", names.join(" and "));
    if names.contains(&vip_interface) {
        return HostFinding::wrong(what, format!("{vip_interface} then cannot have the VIP"), remedy);
    }
    let effect = "if the director sends here by such an interface, clients' packets are dropped";
    HostFinding::note(what, effect, remedy)
}
