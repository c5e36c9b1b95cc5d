//! The `[[service]]` tables, and what must hold between them.

use super::readers::{
    boolean, choice, mac, netmask, number, rip, scheduler, scheduler_flags, seconds, slow_start, threshold,
    vip, vlan, weight,
};
use super::report::invalid;
use super::section::Section;
use crate::model::check::ONE_VLAN;
use crate::model::{
    COUNT_MAX, Persistence, Place, Places, RealServer, Scheduler, ServiceAddress, VirtualService,
};
use crate::time::Span;
use crate::wire::vlan::Vlans;
use crate::wire::{MacAddr, Protocol};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use toml::de::DeValue;

const PROTOCOLS: &[(&str, Protocol)] =
    &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];

/// Reads all services of all files, and notes where they and their servers stand. Each that is wrong is reported and
/// left out.
pub(super) fn read(roots: &[Section<'_, '_>], places: &mut Places) -> Vec<VirtualService> {
    let sections = roots.iter().filter_map(|root| root.tables("service", "[[service]]"));
    let sections: Vec<_> = sections.flatten().collect();
    let mut seen = HashMap::new();
    let mut placed = Vec::new();
    let read =
        sections.iter().filter_map(|section| Some((service(section, &mut seen, &mut placed)?, section)));
    let (services, read): (Vec<_>, Vec<_>) = read.unzip();
    if let Some(root) = roots.first() {
        too_many(root, "services", services.len());
        too_many(root, "real servers", placed.len());
    }
    addresses_clash(&services, &placed);
    vlans_clash(&services, &read);
    macs_clash(&placed);
    places.services = read.iter().map(|section| section.at("address")).collect();
    places.servers = placed.iter().map(|(section, _)| section.at("address")).collect();
    services
}

/// A real server with its place in the file.
type ServerInSection<'a, 'i> = (Section<'a, 'i>, RealServer);

fn service<'a, 'i>(
    section: &Section<'a, 'i>,
    seen: &mut HashMap<ServiceAddress, Place>,
    placed: &mut Vec<ServerInSection<'a, 'i>>,
) -> Option<VirtualService> {
    let protocol = section.require("protocol", r#""tcp""#, choice(PROTOCOLS));
    let address = section.require("address", r#""VIP:port""#, vip);
    let vlan = section.get("vlan", vlan).unwrap_or_default();
    let scheduler = section.get("scheduler", scheduler).unwrap_or_default();
    let flags = section.get("scheduler_flags", |value| scheduler_flags(value, scheduler));
    let (persistence, one_packet) = (persistence(section, address), one_packet(section, protocol));
    let slow_start = slow_start_under(scheduler, section);
    wildcard_persists(section, address);
    let own = servers(section, address);
    let servers: Vec<_> = own.iter().map(|(_, server)| server.clone()).collect();
    placed.extend(own);
    section.close();
    too_many_for(scheduler, section, servers.len());
    let address = ServiceAddress { protocol: protocol?, address: address? };
    if let Some(first) = seen.insert(address, section.at("address")) {
        let what = format!("{address} is a service already, {}", section.seen_from_here(&first));
        section.object("address", invalid(what, "remove one of the two, or merge their servers"));
    }
    let scheduler_flags = flags.unwrap_or_default();
    Some(VirtualService {
        address,
        vlan,
        scheduler,
        scheduler_flags,
        persistence,
        one_packet,
        slow_start,
        servers,
    })
}

fn persistence(service: &Section<'_, '_>, address: Option<SocketAddr>) -> Option<Persistence> {
    let section = service.table_or("persistence", persistence_table)?;
    let timeout = section.get("timeout", seconds).unwrap_or(Persistence::TIMEOUT);
    let longest = address.map_or(128, |address| Persistence::prefix_max(address.ip()));
    let prefix = section.get("prefix", number(1..=longest.into())).map(|prefix| prefix as u8);
    let netmask = section.get("netmask", netmask);
    if section.has("netmask") && address.is_some_and(|address| address.is_ipv6()) {
        section.object("netmask", invalid("is for clients with IPv4 addresses", "write prefix = 64"));
    } else if section.has("netmask") && section.has("prefix") {
        section.object("netmask", invalid("stands beside a prefix", "remove one of the two"));
    }
    section.close();
    Some(Persistence { timeout, prefix: prefix.or(netmask).unwrap_or(longest) })
}

/// Remedy for a `persistence` with seconds or a boolean instead of a table.
fn persistence_table(value: &DeValue<'_>) -> String {
    if value.as_bool() == Some(false) {
        return "remove it: a service is not persistent unless it has this table".into();
    }
    let seconds = seconds(value).map_or(Persistence::TIMEOUT.secs(), Span::secs);
    format!("write persistence = {{ timeout = {seconds} }}")
}

/// Requires persistence for a wildcard port: a client's connections to different ports belong together.
fn wildcard_persists(service: &Section<'_, '_>, address: Option<SocketAddr>) {
    if let Some(address) = address.filter(|address| address.port() == 0 && !service.has("persistence")) {
        let what = format!("is \"{address}\", a wildcard port, in a service that is not persistent");
        service.object("address", invalid(what, "add persistence = {}, or write a port"));
    }
}

fn one_packet(service: &Section<'_, '_>, protocol: Option<Protocol>) -> bool {
    let set = service.get("one_packet", boolean).unwrap_or_default();
    if set && let Some(protocol @ (Protocol::Tcp | Protocol::Sctp)) = protocol {
        let fault =
            invalid(format!("is only for UDP: a connection of {protocol} has many packets"), "remove it");
        service.object("one_packet", fault);
    }
    set
}

fn slow_start_under(scheduler: Scheduler, service: &Section<'_, '_>) -> Option<Span> {
    let seconds = service.get("slow_start", slow_start)?;
    if let Some((what, remedy)) = scheduler.no_slow_start() {
        service.object("slow_start", invalid(what, remedy));
    }
    Some(seconds)
}

fn servers<'a, 'i>(service: &Section<'a, 'i>, vip: Option<SocketAddr>) -> Vec<ServerInSection<'a, 'i>> {
    let mut seen = HashMap::new();
    let sections = service.tables("server", "[[service.server]]").unwrap_or_default();
    let servers = sections.into_iter().filter_map(|section| {
        let server = server(&section, vip)?;
        if let Some(line) = seen.insert(server.address, section.line("address")) {
            let what = format!("{} is a server of this service already, on line {line}", server.address);
            section.object("address", invalid(what, "remove one of the two; weight gives it a larger share"));
        }
        Some((section, server))
    });
    servers.collect()
}

fn server(section: &Section<'_, '_>, vip: Option<SocketAddr>) -> Option<RealServer> {
    let address = section.require("address", r#""RIP""#, |value| rip(value, vip));
    let weight = section.get("weight", weight).unwrap_or_default();
    let mac = section.get("mac", mac);
    let upper_threshold = section.get("upper_threshold", threshold).unwrap_or_default();
    let lower_threshold = section.get("lower_threshold", threshold).unwrap_or_default();
    section.close();
    thresholds_clash(section, upper_threshold, lower_threshold);
    Some(RealServer { address: address?, weight, mac, upper_threshold, lower_threshold })
}

fn thresholds_clash(section: &Section<'_, '_>, upper: u32, lower: u32) {
    let fault = match (upper, lower) {
        (0, 1..) => invalid(
            format!("is {lower}, but there is no upper_threshold"),
            "add upper_threshold, with which the server takes no new connections until it is below the lower one",
        ),
        _ if lower > upper => invalid(
            format!("is {lower}, above upper_threshold = {upper}"),
            format!("write a number from 0 to {upper}"),
        ),
        _ => return,
    };
    section.object("lower_threshold", fault);
}

fn too_many_for(scheduler: Scheduler, section: &Section<'_, '_>, count: usize) {
    if let Some(most) = scheduler.servers_max().filter(|most| count > *most) {
        let what = format!("has {count} real servers, more than {} has places for", scheduler.name());
        section.lacks(&what, &format!("write at most {most}, or another scheduler"));
    }
}

fn too_many(root: &Section<'_, '_>, what: &str, count: usize) {
    if count > COUNT_MAX {
        root.lacks(&format!("has {count} {what}"), &format!("write at most {COUNT_MAX}"));
    }
}

/// The director would send ARP requests for an address that it answers for itself.
fn addresses_clash(services: &[VirtualService], placed: &[ServerInSection<'_, '_>]) {
    let vips: HashSet<_> = services.iter().map(|service| service.address.address.ip()).collect();
    for (section, server) in placed.iter().filter(|(_, server)| vips.contains(&server.address)) {
        let what = format!("is {}, the VIP of a service", server.address);
        section.object("address", invalid(what, "write the real server's own address, its RIP"));
    }
}

/// Requires one VLAN for each VIP and each real server.
fn vlans_clash(services: &[VirtualService], sections: &[&Section<'_, '_>]) {
    let mut first: HashMap<IpAddr, (Vlans, Place)> = HashMap::new();
    for (service, section) in services.iter().zip(sections) {
        let clash = service.hosts().find_map(|address| {
            let (vlans, at) = first.entry(address).or_insert_with(|| (service.vlan, section.at("address")));
            (*vlans != service.vlan).then(|| (address, *vlans, at.clone()))
        });
        if let Some((address, vlans, at)) = clash {
            let what = format!(
                "is {}, but {address} has vlan {vlans} {}",
                service.vlan,
                section.seen_from_here(&at)
            );
            section.object("vlan", invalid(what, ONE_VLAN));
        }
    }
}

fn macs_clash(placed: &[ServerInSection<'_, '_>]) {
    let mut first: HashMap<IpAddr, (MacAddr, Place)> = HashMap::new();
    for (section, server) in placed {
        let Some(mac) = server.mac else { continue };
        let (other, at) = first.entry(server.address).or_insert_with(|| (mac, section.at("mac")));
        if *other != mac {
            let at = section.seen_from_here(at);
            let what = format!("is {mac}, but {} has {other} {at}", server.address);
            section.object("mac", invalid(what, "write the same address in both places"));
        }
    }
}
