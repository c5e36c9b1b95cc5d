//! Rendering of a state as lines of text.

use super::keys::HELP;
use super::number::{age, count, nanoseconds, per_second};
use super::state::{InputMode, ListRow, ScreenState, ViewKind};
use super::table::{self, aligned, cut_start, window, wrapped};
use super::{drops, services, workers};
use crate::control::api;
use crate::model::Role;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};

type Lines = Vec<Line<'static>>;

/// Draws `state` into the whole area of `frame`.
pub(super) fn draw(frame: &mut Frame<'_>, state: &ScreenState) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let [head, foot] = [head(state, width), foot(state, width)];
    let room = height.saturating_sub(head.len() + foot.len());
    let mut lines = head;
    lines.extend(body(state, width, room));
    lines.resize(height.saturating_sub(foot.len()), Line::default());
    lines.extend(foot);
    put(frame.buffer_mut(), area, &lines);
}

/// Renders all views in full, one below the other, without selection and colors.
pub(super) fn text(state: &ScreenState, width: usize) -> String {
    let mut lines = vec![title(state, width), summary(state)];
    lines.extend(interfaces_down(state));
    for view in ViewKind::ALL {
        let state = state.showing(view);
        lines.push(Line::default());
        lines.extend(listing(&state, width, usize::MAX, false));
    }
    lines.iter().map(|line| line.to_string().trim_end().to_owned() + "\n").collect()
}

fn put(buffer: &mut Buffer, area: Rect, lines: &[Line<'_>]) {
    for (row, line) in area.rows().zip(lines) {
        buffer.set_line(row.x, row.y, line, row.width);
        buffer.set_style(row, line.style);
    }
}

fn head(state: &ScreenState, width: usize) -> Lines {
    let mut lines = vec![title(state, width), tabs(state, width)];
    match connection_problem(state) {
        Some(problem) => {
            let red = Style::new().fg(Color::Red).bold();
            lines.extend(wrapped(&problem, width).into_iter().map(|line| Line::styled(line, red)));
        }
        None => lines.push(summary(state)),
    }
    lines.extend(interfaces_down(state));
    lines
}

/// Title: the socket, the role if there are several directors, the uptime of the director, the use of its flow tables.
fn title(state: &ScreenState, width: usize) -> Line<'static> {
    let sample = &state.sample;
    let up = sample.up.map_or(String::new(), |up| format!("  up {}", age(up)));
    let entries = sample.workers.iter().map(|worker| worker.entries).sum();
    let table = format!("  {} of {} entries", count(entries), count(sample.services.capacity));
    let role = match sample.role {
        Role::Standalone => String::new(),
        role => format!("  {role}"),
    };
    let right = role + &up + &table;
    let program = "directrix top  ";
    let room = width.saturating_sub(program.len() + right.chars().count());
    let socket = aligned(&cut_start(&state.socket, room), room, table::Side::Left);
    Line::styled(format!("{program}{socket}{right}"), Style::new().bold())
}

fn tabs(state: &ScreenState, width: usize) -> Line<'static> {
    let mut line = Line::from_iter(ViewKind::ALL.map(|view| tab(view, view == state.view)));
    let every = format!("every {} s", state.interval.as_secs_f64());
    let room = width.saturating_sub(line.width());
    line.push_span(aligned(&every, room, table::Side::Right));
    line
}

fn tab(view: ViewKind, is_selected: bool) -> Span<'static> {
    if is_selected {
        Span::styled(format!("[{}]", view.name()), Style::new().reversed())
    } else {
        Span::raw(format!(" {} ", view.name()))
    }
}

/// Message while the director does not answer.
fn connection_problem(state: &ScreenState) -> Option<String> {
    let since = age(state.age());
    match &state.failure {
        Some(reason) => {
            Some(format!("THE DIRECTOR IS GONE: {reason}. Trying again; these figures are {since} old."))
        }
        None if state.is_late() => Some(format!("The director has not answered for {since}; waiting.")),
        None => None,
    }
}

/// Warning about interfaces without carrier.
fn interfaces_down(state: &ScreenState) -> Option<Line<'static>> {
    let all = state.sample.services.interfaces.iter();
    let down: Vec<_> =
        all.filter(|interface| !interface.up).map(|interface| interface.name.as_str()).collect();
    let red = Style::new().fg(Color::Red).bold();
    (!down.is_empty()).then(|| Line::styled(format!("LINK DOWN: {} without carrier", down.join(", ")), red))
}

/// Rates of all services, drops, and the latency of the slowest worker.
fn summary(state: &ScreenState) -> Line<'static> {
    let services = &state.sample.services.services;
    let sum = |of: fn(&api::Rates) -> u64| services.iter().map(|s| of(&s.rates)).sum();
    let connections = count(sum(|rates| rates.connections));
    let packets = count(sum(|rates| rates.in_packets));
    let bytes = count(sum(|rates| rates.in_bytes));
    let dropped = per_second(state.rates.dropped());
    let workers = state.sample.workers.iter();
    let slowest = workers.map(|worker| worker.latency).max_by_key(|latency| latency.p99_ns);
    let latency = slowest.filter(|latency| latency.samples > 0).map_or(String::new(), |latency| {
        format!("  p50 {}  p99 {}", nanoseconds(latency.p50_ns), nanoseconds(latency.p99_ns))
    });
    Line::raw(format!("{connections} conn/s  {packets} pkt/s  {bytes} byte/s  {dropped} drop/s{latency}"))
}

/// The question, else the message, else the hints for keys.
fn foot(state: &ScreenState, width: usize) -> Lines {
    let (text, style) = match (&state.mode, &state.note) {
        (InputMode::ConfirmDrain(drain), _) => {
            let what = format!("Drain {} of {}", drain.server, drain.service);
            let question = match drain.deadline {
                None => format!("{what}? y/n, or a deadline in seconds"),
                Some(seconds) => format!("{what}, in {seconds} s at the latest? y/n"),
            };
            (question, Style::new().fg(Color::Yellow).bold())
        }
        (_, Some(note)) => (note.clone(), Style::new().bold()),
        (InputMode::Help, None) => return vec![Line::raw("press any key to return").dim()],
        (InputMode::Browse, None) => return vec![Line::raw(hints(state)).dim()],
    };
    wrapped(&text, width).into_iter().map(|line| Line::styled(line, style)).collect()
}

fn hints(state: &ScreenState) -> &'static str {
    match (state.view, state.zoom) {
        (ViewKind::Services, None) => {
            "↑↓ select  ←→ view  s sort  r reverse  Enter zoom  d drain  ? help  q quit"
        }
        (ViewKind::Services, Some(_)) => {
            "↑↓ select  ←→ view  s sort  r reverse  Esc back  d drain  ? help  q quit"
        }
        (ViewKind::Workers, _) => "↑↓ select  ←→ view  s sort  r reverse  ? help  q quit",
        (ViewKind::Drops, _) => "↑↓ select  ←→ view  s sort  r reverse  a all  ? help  q quit",
    }
}

fn body(state: &ScreenState, width: usize, height: usize) -> Lines {
    if state.mode == InputMode::Help {
        return help();
    }
    let details = details(state, width);
    // A screen too small for both shows only the list.
    let fits = details.len() + 4 <= height;
    let room = if fits { height - details.len() } else { height };
    let mut lines = listing(state, width, room, true);
    if fits && !details.is_empty() {
        lines.resize(room, Line::default());
        lines.extend(details);
    }
    lines
}

fn help() -> Lines {
    let mut lines = vec![Line::default()];
    lines.extend(HELP.iter().map(|(keys, meaning)| Line::raw(format!("  {keys:<10}{meaning}"))));
    let notes = [
        "",
        "  Share: of the service's connections; │ is the server's share of its weight.",
        "  Rates of services and servers are averages, as in ipvsadm -L --rate; those of",
        "  workers and drops are over the last interval. Lost frames found no room in",
        "  the kernel. Latency: from receive to transmit, sampled, since start; on top",
        "  that of the slowest worker. New: since this screen started.",
    ];
    lines.extend(notes.map(Line::raw));
    lines
}

/// Headings and as many rows as fit, among them the selected one.
fn listing(state: &ScreenState, width: usize, height: usize, marked: bool) -> Lines {
    let items = state.items();
    let (selected, sort) = (state.selected_index(&items), state.sort());
    let shown = window(items.len(), selected, height.saturating_sub(1));
    let widths = ColumnWidths { width, name: name_width(&items), services: services_widths(&items, width) };
    let heading = match state.view {
        ViewKind::Services => services::headings(widths.services, sort),
        ViewKind::Workers => workers::headings(width, sort),
        ViewKind::Drops => drops::headings(widths.name, width, sort),
    };
    let mut lines = vec![heading];
    for (index, item) in items.iter().enumerate().take(shown.end).skip(shown.start) {
        let here = marked && index == selected;
        let line = widths.line(item, if here { '>' } else { ' ' });
        lines.push(if here { line.patch_style(Style::new().reversed()) } else { line });
    }
    if items.is_empty() {
        lines.push(Line::raw(empty_hint(state)));
    }
    lines
}

fn empty_hint(state: &ScreenState) -> &'static str {
    match state.view {
        ViewKind::Services => "  no services",
        ViewKind::Workers => "  no workers",
        ViewKind::Drops if state.all_drops => "  no reasons",
        ViewKind::Drops => "  nothing dropped since this screen started; a shows all reasons",
    }
}

/// Widths of the parts of a view.
struct ColumnWidths {
    width: usize,
    name: usize,
    services: services::Widths,
}

impl ColumnWidths {
    fn line(&self, item: &ListRow<'_>, mark: char) -> Line<'static> {
        match item {
            ListRow::Service(member) => services::line(member, self.services, mark),
            ListRow::Worker(busy) => workers::line(busy, self.width, mark),
            ListRow::Queue(worker, port) => workers::queue_line(worker, port),
            ListRow::Drop(dropped) => drops::line(dropped, self.name, self.width, mark),
        }
    }
}

fn services_widths(items: &[ListRow<'_>], width: usize) -> services::Widths {
    let rows = items.iter().filter_map(|item| match item {
        ListRow::Service(member) => Some(member),
        _ => None,
    });
    services::Widths::new(rows, width)
}

fn name_width(items: &[ListRow<'_>]) -> usize {
    drops::name_width(items.iter().filter_map(|item| match item {
        ListRow::Drop(dropped) => Some(dropped),
        _ => None,
    }))
}

/// Details of the selected row in a zoomed service or in the view of drops.
fn details(state: &ScreenState, width: usize) -> Lines {
    let items = state.items();
    let about = match items.get(state.selected_index(&items)) {
        Some(ListRow::Service(member)) if state.zoom.is_some() => services::details(member),
        Some(ListRow::Drop(dropped)) => {
            vec![format!("{}: {}", dropped.drop.reason, dropped.drop.explanation)]
        }
        _ => return Lines::new(),
    };
    let lines = about.iter().flat_map(|text| wrapped(text, width)).map(Line::raw);
    std::iter::once(Line::styled("─".repeat(width), Style::new().dim())).chain(lines).collect()
}
