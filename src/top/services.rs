//! The view of services, each with its real servers.

use super::number::{count, percent};
use super::row_id::RowId;
use super::table::{self, Column, Side, SortOrder};
use crate::control::api;
use ratatui::style::{Color, Style};
use ratatui::text::Line;

/// A row: a service, or one of its real servers.
#[derive(Clone, Debug)]
pub(super) struct ServiceLine<'a> {
    pub(super) service: &'a api::Service,
    /// `None` for the service itself.
    pub(super) server: Option<&'a api::Server>,
    /// Sums over all servers of the service.
    sums: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    active: u64,
    inactive: u64,
    weight: u64,
}

impl Sums {
    fn of(service: &api::Service) -> Self {
        service.servers.iter().fold(Self::default(), |sum, server| Self {
            active: sum.active + u64::from(server.active),
            inactive: sum.inactive + u64::from(server.inactive),
            weight: sum.weight + u64::from(server.counted_weight()),
        })
    }
}

impl ServiceLine<'_> {
    pub(super) fn id(&self) -> RowId {
        match self.server {
            Some(server) => RowId::Server(self.service.identity, server.address),
            None => RowId::Service(self.service.identity),
        }
    }

    fn active(&self) -> u64 {
        self.server.map_or(self.sums.active, |server| server.active.into())
    }

    fn inactive(&self) -> u64 {
        self.server.map_or(self.sums.inactive, |server| server.inactive.into())
    }

    fn weight(&self) -> u64 {
        self.server.map_or(self.sums.weight, |server| server.counted_weight().into())
    }

    fn rates(&self) -> &api::Rates {
        self.server.map_or(&self.service.rates, |server| &server.rates)
    }

    fn stats(&self) -> &api::Stats {
        self.server.map_or(&self.service.stats, |server| &server.stats)
    }

    fn state(&self) -> &str {
        self.server.map_or(&self.service.state, |server| &server.state)
    }

    /// Share of the service's connections; 0 without connections.
    fn share(&self) -> f64 {
        fraction(self.active() + self.inactive(), self.sums.active + self.sums.inactive)
    }

    /// Share of the service's weight.
    fn weight_share(&self) -> f64 {
        fraction(self.weight(), self.sums.weight)
    }

    fn name(&self) -> String {
        match self.server {
            Some(server) => format!(" {}", server.address),
            None => format!("{} {}", self.service.identity, self.service.scheduler),
        }
    }
}

fn fraction(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 / total as f64 }
}

/// Returns the rows of all services, each followed by its servers, both in the same order.
pub(super) fn rows<'a>(services: &'a [api::Service], sort: SortOrder) -> Vec<ServiceLine<'a>> {
    let columns = columns(0);
    let heads = services.iter();
    let heads = heads.map(|service| ServiceLine { service, server: None, sums: Sums::of(service) });
    let mut heads: Vec<_> = heads.collect();
    sort.arrange(&mut heads, &columns);
    let mut rows = Vec::new();
    for head in heads {
        let servers = head.service.servers.iter();
        let servers = servers.map(|server| ServiceLine { server: Some(server), ..head.clone() });
        let mut servers: Vec<_> = servers.collect();
        sort.arrange(&mut servers, &columns);
        rows.push(head);
        rows.append(&mut servers);
    }
    rows
}

/// Returns the columns, with a bar of `bar` cells.
pub(super) fn columns<'a>(bar: usize) -> Vec<Column<ServiceLine<'a>>> {
    type M<'a> = ServiceLine<'a>;
    let share = Column::number("Share", bar, M::share, |member, width| gauge(member, width));
    let state = Column::words("State", 11, |member: &M<'a>, _| member.state().to_owned());
    vec![
        Column::number("Weight", 6, |member| member.weight() as f64, |member, _| count(member.weight())),
        Column { side: Side::Left, style: |_| Style::new().fg(Color::Cyan), ..share },
        Column::number("Active", 6, |member| member.active() as f64, |member, _| count(member.active())),
        Column::number("Inact", 5, |member| member.inactive() as f64, |member, _| count(member.inactive())),
        Column::number("Conn/s", 6, |m| m.rates().connections as f64, |m, _| count(m.rates().connections)),
        Column::number("Pkt/s", 5, |m| m.rates().in_packets as f64, |m, _| count(m.rates().in_packets)),
        Column::number("Byte/s", 6, |m| m.rates().in_bytes as f64, |m, _| count(m.rates().in_bytes)),
        Column { style: |member| state_style(member.state()), ..state },
    ]
}

/// Columns that the name of a service covers: weight and share.
const SPANNED: usize = 2;
/// Range of the width of a bar, in cells.
const BAR: std::ops::RangeInclusive<usize> = 5..=30;

/// Widths of the name and of the bar in a line of `width` cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    name: usize,
    bar: usize,
    line: usize,
}

impl Widths {
    pub(super) fn new<'a>(members: impl Iterator<Item = &'a ServiceLine<'a>>, width: usize) -> Self {
        let others: usize = columns(0).iter().map(|column| column.width + 1).sum();
        let room = width.saturating_sub(others);
        let servers = members.filter(|member| member.server.is_some());
        // The mark of the selected row precedes the name.
        let longest = servers.map(|server| server.name().chars().count() + 1).max().unwrap_or(0).max(18);
        let name = longest.min(room.saturating_sub(*BAR.start()).max(18));
        Self { name, bar: room.saturating_sub(name).clamp(*BAR.start(), *BAR.end()), line: width }
    }

    fn columns<'a>(self) -> Vec<Column<ServiceLine<'a>>> {
        table::fit_columns(columns(self.bar), self.name, self.line)
    }
}

pub(super) fn headings(widths: Widths, sort: SortOrder) -> Line<'static> {
    table::headings("Service, server", widths.name, &widths.columns(), sort)
}

/// Renders a row; `mark` is its first character.
pub(super) fn line(member: &ServiceLine<'_>, widths: Widths, mark: char) -> Line<'static> {
    let columns = widths.columns();
    if member.server.is_some() {
        let name = format!("{mark}{}", table::cut_start(&member.name(), widths.name.saturating_sub(1)));
        return table::line(&name, widths.name, member, &columns);
    }
    let spanned = SPANNED.min(columns.len());
    let width = widths.name + columns[..spanned].iter().map(|column| column.width + 1).sum::<usize>();
    let name = format!("{mark}{}", cut_address(&member.name(), width.saturating_sub(1)));
    table::line(&name, width, member, &columns[spanned..])
}

/// Cuts the name of a service to `width` cells at the start of its address; VIPs and ports differ at their end.
fn cut_address(name: &str, width: usize) -> String {
    let Some((protocol, rest)) = name.split_once(' ') else { return table::cut_start(name, width) };
    format!("{protocol} {}", table::cut_start(rest, width.saturating_sub(protocol.len() + 1)))
}

/// Renders the share of connections as a bar, with a stroke at the share of weight.
fn gauge(member: &ServiceLine<'_>, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (member.share() * width as f64 * 8.0).round() as usize;
    let stroke = ((member.weight_share() * width as f64) as usize).min(width.saturating_sub(1));
    let cells = (0..width).map(|index| match eighths.saturating_sub(index * 8) {
        _ if index == stroke => '│',
        8.. => '█',
        rest => EIGHTHS[rest],
    });
    cells.collect()
}

fn state_style(state: &str) -> Style {
    match state {
        "claimed" | "reachable" => Style::new().fg(Color::Green),
        "probing" | "resolving" | "draining" => Style::new().fg(Color::Yellow),
        _ => Style::new().fg(Color::Red),
    }
}

/// Returns the details of a row as lines.
pub(super) fn details(member: &ServiceLine<'_>) -> Vec<String> {
    let stats = member.stats();
    let totals = format!(
        "since start: {} connections, {} packets, {} bytes",
        stats.connections, stats.in_packets, stats.in_bytes
    );
    let [head, more] = match member.server {
        Some(server) => about_server(member, server),
        None => about_service(member),
    };
    vec![head, more, totals]
}

fn about_server(member: &ServiceLine<'_>, server: &api::Server) -> [String; 2] {
    let mac = server.mac.as_ref().map_or(String::new(), |mac| format!(" at {mac}"));
    let slow_start = server
        .slow_start_percent
        .map_or(String::new(), |part| format!(", {part} % of its weight counts so far"));
    let configured = match server.counted_weight() {
        weight if weight == server.weight => String::new(),
        _ => format!(", configured weight {}", server.weight),
    };
    let limits = match (server.upper_threshold, server.lower_threshold) {
        (0, _) => "no thresholds".to_owned(),
        (upper, lower) => format!("thresholds {lower} to {upper}"),
    };
    let shares = format!(
        "{} of the connections, {} of the weight",
        percent(member.share()),
        percent(member.weight_share())
    );
    [
        format!("{}: {}{mac}{slow_start}{configured}", server.address, server.state),
        format!("{shares}; {limits}, {} persistent", server.persistent),
    ]
}

fn about_service(member: &ServiceLine<'_>) -> [String; 2] {
    let service = member.service;
    let flags = service.scheduler_flags.iter().map(|flag| format!(", {flag}")).collect::<String>();
    let persistence = service.persistence.as_ref().map_or("not persistent".to_owned(), |persistence| {
        format!("persistent for {} s by /{}", persistence.timeout, persistence.prefix)
    });
    let vlan = if service.vlan.is_none() { String::new() } else { format!(", VLAN {}", service.vlan) };
    let one_packet = if service.one_packet { ", each packet by itself" } else { "" };
    let servers = match service.servers.len() {
        1 => "1 real server".to_owned(),
        number => format!("{number} real servers"),
    };
    [
        format!("{}: {}{vlan}", service.identity, service.state),
        format!(
            "{}{flags}; {persistence}{one_packet}; {servers}, weight {}",
            service.scheduler,
            member.weight()
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixtures::{server, service};
    use super::*;

    fn gauges(servers: &[(u16, u32)], width: usize) -> Vec<String> {
        let servers = servers.iter().map(|&(weight, active)| server("10.0.0.1:80", weight, active)).collect();
        let services = [service("192.0.2.10:80", servers)];
        rows(&services, SortOrder::default()).iter().skip(1).map(|member| gauge(member, width)).collect()
    }

    #[test]
    fn bars_have_a_stroke_at_the_weight() {
        assert_eq!(gauges(&[(1, 10), (1, 10)], 8), ["████│   ", "████│   "]);
        assert_eq!(gauges(&[(3, 1), (1, 3)], 8), ["██    │ ", "██│███  "]);
        assert_eq!(gauges(&[(1, 1), (1, 63)], 8), ["▏   │   ", "████│██▉"]);
    }

    #[test]
    fn slow_start_is_shown() {
        let starting = api::Server { slow_start_percent: Some(35), ..server("10.0.0.2:80", 1, 0) };
        let services = [service("192.0.2.10:80", vec![server("10.0.0.1:80", 1, 9), starting])];
        let head = |at: usize| details(&rows(&services, SortOrder::default())[at])[0].clone();
        assert_eq!(head(1), "10.0.0.1:80: reachable at 02:00:00:00:00:01");
        assert_eq!(head(2), "10.0.0.2:80: reachable at 02:00:00:00:00:01, 35 % of its weight counts so far");
    }

    #[test]
    fn bars_without_connections_are_empty() {
        assert_eq!(gauges(&[(1, 0), (0, 0)], 4), ["   │", "│   "]);
        assert_eq!(gauges(&[(0, 7)], 4), ["│███"]);
        assert_eq!(gauges(&[(1, 7)], 0), [""]);
    }

    #[test]
    fn servers_are_sorted_below_their_service() {
        let one = service("192.0.2.10:80", vec![server("10.0.0.1:80", 1, 5), server("10.0.0.2:80", 1, 9)]);
        let two = service("192.0.2.20:80", vec![server("10.0.0.3:80", 7, 50)]);
        let services = [one, two];
        let names = |sort| -> Vec<_> {
            rows(&services, sort).iter().map(|member| member.name().trim().to_owned()).collect()
        };
        let by_name =
            ["TCP 192.0.2.10:80 wlc", "10.0.0.1:80", "10.0.0.2:80", "TCP 192.0.2.20:80 wlc", "10.0.0.3:80"];
        assert_eq!(names(SortOrder::default()), by_name);
        let by_active =
            ["TCP 192.0.2.20:80 wlc", "10.0.0.3:80", "TCP 192.0.2.10:80 wlc", "10.0.0.2:80", "10.0.0.1:80"];
        assert_eq!(names(SortOrder { column: 3, reversed: false }), by_active);
    }
}
