//! ipvsadm's listings, byte for byte, trailing spaces included.

use super::names::{Names, truncate};
use crate::control::api::{Connection, Forwarding, Persistence, Rates, Server, Service, Stats};
use crate::ipvsadm::service_switch;
use crate::model::{FirewallMark, IpFamily, ServiceAddress, ServiceIdentity};
use crate::wire::Protocol;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Version of IPVS's interface, unchanged since 2003. Scripts match it.
const IPVS_VERSION: &str = "1.2.1";
/// Width of an IPv4 service's "TCP  address:port". Longer names are truncated.
const SERVICE_WIDTH: usize = 33;
/// Width of an IPv4 server's "address:port". Longer names are truncated.
const SERVER_WIDTH: usize = 28;

/// Columns of a listing of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListingView {
    /// Forwarding method, weight, connections.
    Table,
    /// `--stats`
    Stats,
    /// `--rate`
    Rates,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    Persistent,
    /// `--save`: the commands that recreate the services.
    Rules,
}

/// Format of a listing of services.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) view: ListingView,
    /// Whether large numbers are written in full.
    pub(super) exact: bool,
    pub(super) names: Names,
}

/// Writes the line above all services.
pub(super) fn banner(out: &mut impl Write, capacity: u64) -> io::Result<()> {
    writeln!(out, "IP Virtual Server version {IPVS_VERSION} (size={capacity})")
}

/// Writes the names of the columns.
pub(super) fn title(out: &mut impl Write, view: ListingView) -> io::Result<()> {
    let local = "Prot LocalAddress:Port";
    match view {
        ListingView::Rules => return Ok(()),
        ListingView::Table => {
            writeln!(out, "{local} Scheduler Flags")?;
            return writeln!(out, "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn");
        }
        ListingView::Stats => counts(out, local, ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"])?,
        ListingView::Rates => counts(out, local, ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"])?,
        ListingView::Thresholds => {
            writeln!(
                out,
                "{local:<33} {:<10} {:<10} {:<10} {:<10}",
                "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
            )?;
        }
        ListingView::Persistent => {
            writeln!(
                out,
                "{local:<33} {:<9} {:<11} {:<10} {:<10}",
                "Weight", "PersistConn", "ActiveConn", "InActConn"
            )?;
        }
    }
    writeln!(out, "  -> RemoteAddress:Port")
}

fn counts(out: &mut impl Write, local: &str, [a, b, c, d, e]: [&str; 5]) -> io::Result<()> {
    writeln!(out, "{local:<33} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}")
}

/// Writes a service and its servers.
pub(super) fn service(out: &mut impl Write, service: &Service, style: &Style) -> io::Result<()> {
    if style.view == ListingView::Rules {
        return rules(out, service, &style.names);
    }
    service_line(out, service, style)?;
    let listed = service.servers.iter().filter(|server| server.listed);
    listed.into_iter().try_for_each(|server| server_line(out, service.identity, server, style))
}

fn service_line(out: &mut impl Write, service: &Service, style: &Style) -> io::Result<()> {
    let name = match service.identity {
        ServiceIdentity::Address(ServiceAddress { protocol, address }) => {
            format!("{protocol:<4} {}", style.names.endpoint(protocol, address))
        }
        ServiceIdentity::Mark(FirewallMark { mark, family: IpFamily::Ipv4 }) => format!("FWM  {mark}"),
        ServiceIdentity::Mark(FirewallMark { mark, family: IpFamily::Ipv6 }) => format!("FWM  {mark} IPv6"),
    };
    let is_ipv4 = service.identity.family() == IpFamily::Ipv4;
    let name = if is_ipv4 { truncate(name, SERVICE_WIDTH) } else { name };
    match style.view {
        ListingView::Stats => writeln!(out, "{name:<33}{}", large_all(totals(&service.stats), style.exact)),
        ListingView::Rates => writeln!(out, "{name:<33}{}", large_all(averages(&service.rates), style.exact)),
        _ => writeln!(out, "{name} {}{}", service.scheduler, flags(service)),
    }
}

/// Text after the scheduler: ` (flags) persistent T mask M pe P ops`, each part if it is set.
fn flags(service: &Service) -> String {
    let mut text = String::new();
    if !service.scheduler_flags.is_empty() {
        text += &format!(" ({})", service.scheduler_flags.join(","));
    }
    if let Some(persistence) = &service.persistence {
        text += &format!(" persistent {}", persistence.timeout);
        text += &mask(persistence, service).map(|mask| format!(" mask {mask}")).unwrap_or_default();
        text += &persistence.engine.as_ref().map(|engine| format!(" pe {engine}")).unwrap_or_default();
    }
    text + if service.one_packet { " ops" } else { "" }
}

/// The mask of the client networks: dotted for IPv4, a prefix length for IPv6, none if it covers single hosts.
fn mask(persistence: &Persistence, service: &Service) -> Option<String> {
    match (service.identity.family() == IpFamily::Ipv4, persistence.prefix) {
        (true, 32..) | (false, 128..) => None,
        (false, prefix) => Some(prefix.to_string()),
        (true, prefix) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Some(Ipv4Addr::from_bits(bits).to_string())
        }
    }
}

fn server_line(
    out: &mut impl Write,
    service: ServiceIdentity,
    server: &Server,
    style: &Style,
) -> io::Result<()> {
    let name = style.names.endpoint(protocol(service), server.address);
    let name = if service.family() == IpFamily::Ipv4 { truncate(name, SERVER_WIDTH) } else { name };
    write!(out, "  -> {name:<28}")?;
    let &Server { active, inactive, .. } = server;
    // As keepalived makes it with inhibit_on_failure.
    let weight = server.counted_weight();
    match style.view {
        ListingView::Stats => writeln!(out, "{}", large_all(totals(&server.stats), style.exact)),
        ListingView::Rates => writeln!(out, "{}", server_rates(&server.rates, style.exact)),
        ListingView::Thresholds => {
            let (upper, lower) = (server.upper_threshold, server.lower_threshold);
            writeln!(out, " {upper:<10} {lower:<10} {active:<10} {inactive:<10}")
        }
        ListingView::Persistent => {
            writeln!(out, " {weight:<9} {:<11} {active:<10} {inactive:<10}", server.persistent)
        }
        ListingView::Table | ListingView::Rules => {
            let forward = forward_name(server.forwarding);
            writeln!(out, " {forward:<7} {weight:<6} {active:<10} {inactive:<10}")
        }
    }
}

fn forward_name(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Route => "Route",
        Forwarding::Tunnel => "Tunnel",
        Forwarding::Masq => "Masq",
        Forwarding::Local => "Local",
    }
}

fn totals(stats: &Stats) -> [u64; 5] {
    [stats.connections, stats.in_packets, stats.out_packets, stats.in_bytes, stats.out_bytes]
}

fn averages(rates: &Rates) -> [u64; 5] {
    [rates.connections, rates.in_packets, rates.out_packets, rates.in_bytes, rates.out_bytes]
}

/// Formats a server's rates. Connections and packets per second are not shortened, unlike those of a service.
fn server_rates(rates: &Rates, exact: bool) -> String {
    let [connections, packets, out_packets, bytes, out_bytes] = averages(rates);
    format!(" {connections:>8} {packets:>8} {out_packets:>8}{}", large_all([bytes, out_bytes], exact))
}

fn large_all<const N: usize>(numbers: [u64; N], exact: bool) -> String {
    numbers.map(|number| large(number, exact)).concat()
}

/// Formats a number in nine columns: in full below 10⁸, then truncated to K, M, G or T. An exact number is
/// written in full behind a space.
fn large(number: u64, exact: bool) -> String {
    let digits = number.to_string();
    match number {
        _ if exact && digits.len() > 8 => format!(" {digits}"),
        _ if exact => format!("{digits:>9}"),
        0..100_000_000 => format!("{number:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", number / 1_000),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", number / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / 1_000_000_000),
        100_000_000_000_000.. => format!("{:>8}T", number / 1_000_000_000_000),
    }
}

/// The options that name a service: "-t 192.0.2.1:80", "-f 7", "-f 7 -6".
pub(super) fn switches(service: ServiceIdentity, names: &Names) -> String {
    let (protocol, address) = match service {
        ServiceIdentity::Address(ServiceAddress { protocol, address }) => (protocol, address),
        ServiceIdentity::Mark(FirewallMark { mark, family: IpFamily::Ipv4 }) => return format!("-f {mark}"),
        ServiceIdentity::Mark(FirewallMark { mark, family: IpFamily::Ipv6 }) => {
            return format!("-f {mark} -6");
        }
    };
    format!("{} {}", service_switch(protocol), names.endpoint(protocol, address))
}

/// The protocol for port names. A group has port 0, which has no name.
fn protocol(service: ServiceIdentity) -> Protocol {
    service.address().map_or(Protocol::Tcp, |of| of.protocol)
}

/// Writes the commands that recreate a service. Thresholds are included, which ipvsadm does not save.
fn rules(out: &mut impl Write, service: &Service, names: &Names) -> io::Result<()> {
    let name = switches(service.identity, names);
    writeln!(out, "-A {name} -s {}{}", service.scheduler, rule_options(service))?;
    // `ipvsadm -R` would make a regular server of it.
    for server in service.servers.iter().filter(|server| !server.sorry_server) {
        let endpoint = names.endpoint(protocol(service.identity), server.address);
        writeln!(out, "-a {name} -r {endpoint} {}", server_options(server))?;
    }
    Ok(())
}

fn rule_options(service: &Service) -> String {
    let mut text = String::new();
    if let Some(persistence) = &service.persistence {
        text += &format!(" -p {}", persistence.timeout);
        text += &mask(persistence, service).map(|mask| format!(" -M {mask}")).unwrap_or_default();
        text += &persistence.engine.as_ref().map(|engine| format!(" --pe {engine}")).unwrap_or_default();
    }
    if service.one_packet {
        text += " -o";
    }
    if !service.scheduler_flags.is_empty() {
        text += &format!(" -b {}", service.scheduler_flags.join(","));
    }
    text
}

fn server_options(server: &Server) -> String {
    let (method, tunnel) = match server.forwarding {
        Forwarding::Route | Forwarding::Local => ("-g", ""),
        Forwarding::Tunnel => ("-i", " --tun-type ipip"),
        Forwarding::Masq => ("-m", ""),
    };
    let mut text = format!("{method} -w {}{tunnel}", server.weight);
    for (switch, threshold) in [("-x", server.upper_threshold), ("-y", server.lower_threshold)] {
        if threshold > 0 {
            text += &format!(" {switch} {threshold}");
        }
    }
    text
}

/// Writes the lines above the connections.
pub(super) fn connections_title(out: &mut impl Write, with_engine: bool) -> io::Result<()> {
    writeln!(out, "IPVS connection entries")?;
    let columns = format!("pro expire {:<11} {:<18} {:<18}", "state", "source", "virtual");
    match with_engine {
        true => writeln!(out, "{columns} {:<18} {:<16} pe_data", "destination", "pe name"),
        false => writeln!(out, "{columns} destination"),
    }
}

/// Writes the row of a connection.
pub(super) fn connection(out: &mut impl Write, row: &Connection, names: &Names) -> io::Result<()> {
    let (name, of, service) = match row.service {
        ServiceIdentity::Address(ServiceAddress { protocol, address }) => {
            (protocol.to_string(), protocol, address)
        }
        ServiceIdentity::Mark(mark) => ("IP".to_owned(), Protocol::Tcp, mark_address(mark)),
    };
    let expire = format!("{:02}:{:02}", row.expires / 60, row.expires % 60);
    let [client, service, server] =
        [row.client, service, row.server].map(|address| names.endpoint(of, address));
    writeln!(out, "{name:<3} {expire:<6} {:<11} {client:<18} {service:<18} {server}", row.state)
}

/// A mark as IPVS shows it in the template of a client: as the first four bytes of an address (`ip_vs_sched_persist` in
/// net/netfilter/ipvs/ip_vs_core.c).
fn mark_address(FirewallMark { mark, family }: FirewallMark) -> SocketAddr {
    let bits = mark.get();
    match family {
        IpFamily::Ipv4 => (Ipv4Addr::from_bits(bits), 0).into(),
        IpFamily::Ipv6 => (Ipv6Addr::from_bits(u128::from(bits) << 96), 0).into(),
    }
}
