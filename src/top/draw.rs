//! A state as lines of text.

use super::keys::HELP;
use super::number::{age, count, nanoseconds, per_second};
use super::state::{Item, Mode, State, View};
use super::table::{self, aligned, cut_start, window, wrapped};
use super::{drops, services, workers};
use crate::control::api;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};

type Lines = Vec<Line<'static>>;

/// Draws `state` over the whole of `frame`.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
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

/// Every view with all its lines, below each other, without marks and colours.
pub(super) fn text(state: &State, width: usize) -> String {
    let mut lines = vec![title(state, width), summary(state)];
    lines.extend(links(state));
    for view in View::ALL {
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

fn head(state: &State, width: usize) -> Lines {
    let mut lines = vec![title(state, width), tabs(state, width)];
    match trouble(state) {
        Some(trouble) => {
            let red = Style::new().fg(Color::Red).bold();
            lines.extend(wrapped(&trouble, width).into_iter().map(|line| Line::styled(line, red)));
        }
        None => lines.push(summary(state)),
    }
    lines.extend(links(state));
    lines
}

/// The program, the socket, how long the director has been up, and its connection table.
fn title(state: &State, width: usize) -> Line<'static> {
    let sample = &state.sample;
    let up = sample.up.map_or(String::new(), |up| format!("  up {}", age(up)));
    let entries = sample.workers.iter().map(|worker| worker.entries).sum();
    let table = format!("  {} of {} entries", count(entries), count(sample.services.capacity));
    let right = up + &table;
    let program = "directrix top  ";
    let room = width.saturating_sub(program.len() + right.chars().count());
    let socket = aligned(&cut_start(&state.socket, room), room, table::Side::Left);
    Line::styled(format!("{program}{socket}{right}"), Style::new().bold())
}

fn tabs(state: &State, width: usize) -> Line<'static> {
    let tab = |view: View| {
        let here = view == state.view;
        let style = if here { Style::new().reversed() } else { Style::new() };
        let text = if here { format!("[{}]", view.name()) } else { format!(" {} ", view.name()) };
        Span::styled(text, style)
    };
    let mut line = Line::from_iter(View::ALL.map(tab));
    let every = format!("every {} s", state.interval.as_secs_f64());
    let room = width.saturating_sub(line.width());
    line.push_span(aligned(&every, room, table::Side::Right));
    line
}

/// What is wrong between here and the director.
fn trouble(state: &State) -> Option<String> {
    let since = age(state.age());
    match &state.gone {
        Some(why) => {
            Some(format!("THE DIRECTOR IS GONE: {why}. Trying again; these figures are {since} old."))
        }
        None if state.is_late() => Some(format!("The director has not answered for {since}; waiting.")),
        None => None,
    }
}

/// The interfaces through which nothing comes or goes.
fn links(state: &State) -> Option<Line<'static>> {
    let all = state.sample.services.interfaces.iter();
    let down: Vec<_> =
        all.filter(|interface| !interface.up).map(|interface| interface.name.as_str()).collect();
    let red = Style::new().fg(Color::Red).bold();
    (!down.is_empty()).then(|| Line::styled(format!("LINK DOWN: {} without carrier", down.join(", ")), red))
}

/// All services together, all drops, and the latency of the slowest worker.
fn summary(state: &State) -> Line<'static> {
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

/// The question, else what there is to say, else the keys.
fn foot(state: &State, width: usize) -> Lines {
    let (text, style) = match (&state.mode, &state.note) {
        (Mode::Ask(drain), _) => {
            let what = format!("Drain {} of {}", drain.server, drain.service);
            let question = match drain.deadline {
                None => format!("{what}? y/n, or a deadline in seconds"),
                Some(seconds) => format!("{what}, in {seconds} s at the latest? y/n"),
            };
            (question, Style::new().fg(Color::Yellow).bold())
        }
        (_, Some(note)) => (note.clone(), Style::new().bold()),
        (Mode::Help, None) => return vec![Line::raw("any key goes back").dim()],
        (Mode::Look, None) => return vec![Line::raw(hints(state)).dim()],
    };
    wrapped(&text, width).into_iter().map(|line| Line::styled(line, style)).collect()
}

fn hints(state: &State) -> &'static str {
    match (state.view, state.zoom) {
        (View::Services, None) => {
            "↑↓ select  ←→ view  s sort  r reverse  Enter zoom  d drain  ? help  q quit"
        }
        (View::Services, Some(_)) => {
            "↑↓ select  ←→ view  s sort  r reverse  Esc back  d drain  ? help  q quit"
        }
        (View::Workers, _) => "↑↓ select  ←→ view  s sort  r reverse  ? help  q quit",
        (View::Drops, _) => "↑↓ select  ←→ view  s sort  r reverse  a all  ? help  q quit",
    }
}

fn body(state: &State, width: usize, height: usize) -> Lines {
    if state.mode == Mode::Help {
        return help();
    }
    let details = details(state, width);
    // Too small a screen shows the list rather than the details.
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
    let key = |(keys, meaning): &(&str, &str)| Line::raw(format!("  {keys:<10}{meaning}"));
    let mut lines = vec![Line::default()];
    lines.extend(HELP.iter().map(key));
    let notes = [
        "",
        "  Share: of the service's connections; │ is the server's share of its weight.",
        "  Rates of services and servers are averages, as in ipvsadm -L --rate; those of",
        "  workers and drops are over the last interval. Lost frames found no room in",
        "  the kernel. Latency: from receive to transmit, sampled, since start; on top",
        "  that of the slowest worker. New: since this screen began.",
    ];
    lines.extend(notes.map(Line::raw));
    lines
}

/// Headings and as many lines as fit; with a mark, the selected one is among them.
fn listing(state: &State, width: usize, height: usize, marked: bool) -> Lines {
    let items = state.items();
    let (selected, sort) = (state.place_in(&items), state.sort());
    let shown = window(items.len(), selected, height.saturating_sub(1));
    let place = Place { width, name: name_width(&items), services: services_widths(&items, width) };
    let heading = match state.view {
        View::Services => services::headings(place.services, sort),
        View::Workers => workers::headings(width, sort),
        View::Drops => drops::headings(place.name, width, sort),
    };
    let mut lines = vec![heading];
    for (index, item) in items.iter().enumerate().take(shown.end).skip(shown.start) {
        let here = marked && index == selected;
        let line = place.line(item, if here { '>' } else { ' ' });
        lines.push(if here { line.patch_style(Style::new().reversed()) } else { line });
    }
    if items.is_empty() {
        lines.push(Line::raw(nothing(state)));
    }
    lines
}

fn nothing(state: &State) -> &'static str {
    match state.view {
        View::Services => "  no services",
        View::Workers => "  no workers",
        View::Drops if state.all_drops => "  no reasons",
        View::Drops => "  nothing dropped since this screen began; a shows all reasons",
    }
}

/// The widths of a view's parts.
struct Place {
    width: usize,
    name: usize,
    services: services::Widths,
}

impl Place {
    fn line(&self, item: &Item<'_>, mark: char) -> Line<'static> {
        match item {
            Item::Member(member) => services::line(member, self.services, mark),
            Item::Busy(busy) => workers::line(busy, self.width, mark),
            Item::Port(worker, port) => workers::port_line(worker, port),
            Item::Dropped(dropped) => drops::line(dropped, self.name, self.width, mark),
        }
    }
}

fn services_widths(items: &[Item<'_>], width: usize) -> services::Widths {
    let members = items.iter().filter_map(|item| match item {
        Item::Member(member) => Some(member),
        _ => None,
    });
    services::Widths::new(members, width)
}

fn name_width(items: &[Item<'_>]) -> usize {
    drops::name_width(items.iter().filter_map(|item| match item {
        Item::Dropped(dropped) => Some(dropped),
        _ => None,
    }))
}

/// More about the selected line: of a zoomed service, and of a drop reason.
fn details(state: &State, width: usize) -> Lines {
    let items = state.items();
    let about = match items.get(state.place_in(&items)) {
        Some(Item::Member(member)) if state.zoom.is_some() => services::details(member),
        Some(Item::Dropped(dropped)) => {
            vec![format!("{}: {}", dropped.drop.reason, dropped.drop.explanation)]
        }
        _ => return Lines::new(),
    };
    let lines = about.iter().flat_map(|text| wrapped(text, width)).map(Line::raw);
    std::iter::once(Line::styled("─".repeat(width), Style::new().dim())).chain(lines).collect()
}
