//! The `[[service]]` tables, and what must hold between them.

use super::checks;
use super::effects;
use super::readers::{
    boolean, choice, mac, matches, netmask, number, rip, scheduler, scheduler_flags, seconds, slow_start,
    threshold, vip, vlan, weight,
};
use super::report::invalid;
use super::section::{SORRY_SERVER, Section};
use crate::model::check::{self, FEWER_PORT_SETS, ONE_VLAN, match_ids};
use crate::model::port_sets::port_sets;
use crate::model::{
    COUNT_MAX, FirewallMark, IpFamily, Match, PassiveMode, Persistence, Place, Places, RealServer, Scheduler,
    ServerRole, ServiceAddress, ServiceIdentity, VirtualService, first_clash,
};
use crate::time::Span;
use crate::wire::vlan::Vlans;
use crate::wire::{MacAddr, Protocol};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
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
    matches_clash(&services, &read);
    if let Some(root) = roots.first() {
        too_many(root, "services", services.len());
        too_many(root, "real servers", placed.len());
    }
    too_many_matches(&services, &read);
    too_many_port_sets(&services, &read);
    addresses_clash(&services, &placed);
    vlans_clash(&services, &read);
    macs_clash(&placed);
    let at = |(section, service): (&&Section<'_, '_>, &VirtualService)| section.at(identity_key(service));
    places.services = read.iter().zip(&services).map(at).collect();
    places.servers = placed.iter().map(|(section, _)| section.at("address")).collect();
    services
}

/// A real server with its place in the file.
type ServerInSection<'a, 'i> = (Section<'a, 'i>, RealServer);

fn service<'a, 'i>(
    section: &Section<'a, 'i>,
    seen: &mut HashMap<ServiceIdentity, Place>,
    placed: &mut Vec<ServerInSection<'a, 'i>>,
) -> Option<VirtualService> {
    let (identity, group) = if section.has("mark") || section.has("match") {
        group(section).map_or((None, Vec::new()), |(mark, group)| (Some(mark.into()), group))
    } else {
        (address(section).map(ServiceIdentity::from), Vec::new())
    };
    let vlan = section.get("vlan", vlan).unwrap_or_default();
    let scheduler = section.get("scheduler", scheduler).unwrap_or_default();
    let flags = section.get("scheduler_flags", |value| scheduler_flags(value, scheduler));
    let (persistence, one_packet) = (persistence(section, identity), one_packet(section, identity));
    let slow_start = slow_start_under(scheduler, section);
    one_vip_under(scheduler, section, &group);
    wildcard_persists(section, identity);
    let checks = checks::read(section, "[[service.check]]", identity);
    let (effects, panic) = effects::read(section);
    let passive = passive(section, identity);
    let mut own = servers(section, identity);
    own.extend(sorry_server(section, identity, &own));
    let servers: Vec<_> = own.iter().map(|(_, server)| server.clone()).collect();
    placed.extend(own);
    section.close();
    too_many_for(scheduler, section, servers.len());
    effects::quorum_in_reach(section, &effects, &servers);
    let identity = identity?;
    let key = if group.is_empty() { "address" } else { "mark" };
    if let Some(first) = seen.insert(identity, section.at(key)) {
        let what = format!("{identity} is a service already, {}", section.seen_from_here(&first));
        section.object(key, invalid(what, "remove one of the two, or merge their servers"));
    }
    Some(VirtualService {
        group,
        vlan,
        scheduler,
        scheduler_flags: flags.unwrap_or_default(),
        persistence,
        one_packet,
        slow_start,
        checks,
        panic,
        effects,
        passive,
        ..VirtualService::new(identity, servers)
    })
}

/// Key of the line that has the VIPs of a service.
fn identity_key(service: &VirtualService) -> &'static str {
    if service.group.is_empty() { "address" } else { "match" }
}

fn address(section: &Section<'_, '_>) -> Option<ServiceAddress> {
    let protocol = section.require("protocol", r#""tcp""#, choice(PROTOCOLS));
    let address = section.require("address", r#""VIP:port""#, vip);
    Some(ServiceAddress { protocol: protocol?, address: address? })
}

/// Reads the mark and the matches of a group, which has no protocol and address beside them.
fn group(section: &Section<'_, '_>) -> Option<(FirewallMark, Vec<Match>)> {
    let group = mark_and_matches(section);
    for key in ["protocol", "address"] {
        if section.get(key, |_| Ok(())).is_some() {
            let what = "stands in a group, whose matches have protocol and address";
            section.object(key, invalid(what, "remove it, or mark and match"));
        }
    }
    group
}

/// Reads a mark and its matches.
pub(super) fn mark_and_matches(section: &Section<'_, '_>) -> Option<(FirewallMark, Vec<Match>)> {
    let mark = section.require("mark", "1", number(1..=u32::MAX));
    let group = section.require("match", r#"["tcp:VIP:port"]"#, matches)?;
    let family = IpFamily::from(group.first()?.vip);
    if let Some(other) = group.iter().find(|of| IpFamily::from(of.vip) != family) {
        let what = format!("has {other} beside {}: a group is of one family", group[0]);
        let remedy = "write a second table like this one, with the same mark, for the other one";
        section.object("match", invalid(what, remedy));
    }
    Some((FirewallMark { mark: NonZeroU32::new(mark?)?, family }, group))
}

/// Reports the first two matches that take the same frames.
fn matches_clash(services: &[VirtualService], sections: &[&Section<'_, '_>]) {
    let all = services.iter().zip(sections).enumerate();
    let all = all.flat_map(|(index, (service, _))| service.matches().map(move |of| (of, index)));
    let Some([(first, of), (second, by)]) = first_clash(&all.collect::<Vec<_>>()) else { return };
    let plain = |index: usize| services[index].group.is_empty();
    if of != by && plain(of) && plain(by) {
        return; // reported as the same address
    }
    let at = sections[of].at(identity_key(&services[of]));
    let what = format!(
        "{second}, which overlaps {first} of {}, {}",
        services[of].identity,
        sections[by].seen_from_here(&at)
    );
    let key = identity_key(&services[by]);
    sections[by].object(key, invalid(format!("has {what}"), "leave the ports to one of the two"));
}

fn persistence(service: &Section<'_, '_>, identity: Option<ServiceIdentity>) -> Option<Persistence> {
    let section = service.table_or("persistence", persistence_table)?;
    let timeout = section.get("timeout", seconds).unwrap_or(Persistence::TIMEOUT);
    let family = identity.map(|of| of.family());
    let longest = Persistence::prefix_max(family.unwrap_or(IpFamily::Ipv6));
    let prefix = section.get("prefix", number(1..=longest.into())).map(|prefix| prefix as u8);
    let netmask = section.get("netmask", netmask);
    if section.has("netmask") && family == Some(IpFamily::Ipv6) {
        let remedy = if section.has("prefix") { "remove it: prefix is there" } else { "write prefix = 64" };
        section.object("netmask", invalid("is for clients with IPv4 addresses", remedy));
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
fn wildcard_persists(service: &Section<'_, '_>, identity: Option<ServiceIdentity>) {
    let address = identity.and_then(|of| of.address()).filter(ServiceAddress::is_wildcard);
    if let Some(ServiceAddress { address, .. }) = address.filter(|_| !service.has("persistence")) {
        let what = format!("is \"{address}\", a wildcard port, in a service that is not persistent");
        service.object("address", invalid(what, "add persistence = {}, or write a port"));
    }
}

fn one_packet(service: &Section<'_, '_>, identity: Option<ServiceIdentity>) -> bool {
    let set = service.get("one_packet", boolean).unwrap_or_default();
    let protocol = identity.and_then(|of| of.address()).map(|of| of.protocol);
    if set && let Some(protocol @ (Protocol::Tcp | Protocol::Sctp)) = protocol {
        let fault =
            invalid(format!("is only for UDP: a connection of {protocol} has many packets"), "remove it");
        service.object("one_packet", fault);
    }
    set
}

/// Refuses dh, which hashes the VIP, for a group of several.
fn one_vip_under(scheduler: Scheduler, service: &Section<'_, '_>, group: &[Match]) {
    if scheduler == Scheduler::Dh && group.iter().any(|of| of.vip != group[0].vip) {
        let what = "is \"dh\", which chooses by the VIP, for several VIPs";
        service.object("scheduler", invalid(what, "write another scheduler, or a [[service]] for each VIP"));
    }
}

/// Reads the effect of handshakes that fail. Of UDP the director sees no answer, of SCTP it counts no handshakes.
fn passive(service: &Section<'_, '_>, identity: Option<ServiceIdentity>) -> PassiveMode {
    let mode = service.get("passive", choice(PassiveMode::ALL)).unwrap_or_default();
    let protocol = identity.and_then(|of| of.address()).map(|of| of.protocol);
    if service.has("passive")
        && let Some(protocol @ (Protocol::Udp | Protocol::Sctp)) = protocol
    {
        let what = format!("watches handshakes of TCP, and this service is of {protocol}");
        service.object("passive", invalid(what, "remove it, and add a [[service.check]]"));
    }
    mode
}

fn slow_start_under(scheduler: Scheduler, service: &Section<'_, '_>) -> Option<Span> {
    let seconds = service.get("slow_start", slow_start)?;
    if let Some((what, remedy)) = scheduler.no_slow_start() {
        service.object("slow_start", invalid(what, remedy));
    }
    Some(seconds)
}

fn servers<'a, 'i>(service: &Section<'a, 'i>, of: Option<ServiceIdentity>) -> Vec<ServerInSection<'a, 'i>> {
    let mut seen = HashMap::new();
    let sections = service.tables("server", "[[service.server]]").unwrap_or_default();
    let servers = sections.into_iter().filter_map(|section| {
        let server = server(&section, of);
        let checks = checks::read(&section, "[[service.server.check]]", of);
        section.close();
        let server = RealServer { checks, ..server? };
        if let Some(line) = seen.insert(server.address, section.line("address")) {
            let what = format!("{} is a server of this service already, on line {line}", server.address);
            section.object("address", invalid(what, "remove one of the two; weight gives it a larger share"));
        }
        Some((section, server))
    });
    servers.collect()
}

/// Reads the sorry server, which is none of the `others`.
fn sorry_server<'a, 'i>(
    service: &Section<'a, 'i>,
    of: Option<ServiceIdentity>,
    others: &[ServerInSection<'a, 'i>],
) -> Option<ServerInSection<'a, 'i>> {
    let section = service.table("sorry_server", SORRY_SERVER)?;
    let server = server(&section, of);
    let inhibit = section.get("inhibit", boolean).unwrap_or_default();
    section.close();
    let server = RealServer { role: ServerRole::Sorry { inhibit }, ..server? };
    if let Some((first, _)) = others.iter().find(|(_, other)| other.address == server.address) {
        let what = format!(
            "{} is a server of this service already, on line {}",
            server.address,
            first.line("address")
        );
        section.object("address", invalid(what, "write another host, which runs when the others are down"));
    }
    Some((section, server))
}

/// Reads the keys of a server but its checks.
fn server(section: &Section<'_, '_>, of: Option<ServiceIdentity>) -> Option<RealServer> {
    let address = section.require("address", r#""RIP""#, |value| rip(value, of));
    let weight = section.get("weight", weight).unwrap_or_default();
    let mac = section.get("mac", mac);
    let upper_threshold = section.get("upper_threshold", threshold).unwrap_or_default();
    let lower_threshold = section.get("lower_threshold", threshold).unwrap_or_default();
    thresholds_clash(section, upper_threshold, lower_threshold);
    Some(RealServer { mac, upper_threshold, lower_threshold, ..RealServer::new(address?, weight) })
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

/// Reports the first service whose matches are too many, with those before.
fn too_many_matches(services: &[VirtualService], sections: &[&Section<'_, '_>]) {
    let (count, first) = match_ids(services);
    if services.len() <= COUNT_MAX {
        let what = format!("there are {count} matches, with those of FTP's data connections");
        one_too_many(services, sections, first, &what, &format!("have at most {COUNT_MAX} in all services"));
    }
}

/// Reports the first service whose set of ports is one too many, with those before.
fn too_many_port_sets(services: &[VirtualService], sections: &[&Section<'_, '_>]) {
    let (sets, first) = port_sets(services);
    one_too_many(services, sections, first, &check::too_many_port_sets(sets), FEWER_PORT_SETS);
}

fn one_too_many(
    services: &[VirtualService],
    sections: &[&Section<'_, '_>],
    first: Option<&VirtualService>,
    counted: &str,
    remedy: &str,
) {
    let is_first = |service: &VirtualService| first.is_some_and(|first| first.identity == service.identity);
    if let Some((service, section)) = services.iter().zip(sections).find(|(service, _)| is_first(service)) {
        let what = format!("is of a service too many: {counted}");
        section.object(identity_key(service), invalid(what, remedy));
    }
}

/// The director would send ARP requests for an address that it answers for itself.
fn addresses_clash(services: &[VirtualService], placed: &[ServerInSection<'_, '_>]) {
    let vips: HashSet<_> = services.iter().flat_map(VirtualService::matches).map(|of| of.vip).collect();
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
