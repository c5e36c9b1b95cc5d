//! Complete screens as text.

use super::super::director::Sample;
use super::super::draw::{draw, text};
use super::super::event::ScreenEvent;
use super::super::keys::KeyPress;
use super::super::state::ScreenState;
use super::fixtures::{later, sample, server, service};
use crate::control::api;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use std::time::Duration;

fn start() -> ScreenState {
    let mut state = ScreenState::new("/run/directrix/control.sock", Duration::from_secs(1), sample());
    state.apply(ScreenEvent::Sample(later()));
    state
}

fn press(state: &mut ScreenState, keys: &[KeyPress]) {
    for key in keys {
        state.apply(ScreenEvent::Key(*key));
    }
}

fn drawn(state: &ScreenState, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    terminal
}

/// Returns the lines of the screen without trailing blanks.
fn screen(state: &ScreenState, width: u16, height: u16) -> String {
    let terminal = drawn(state, width, height);
    let cells = terminal.backend().buffer().content();
    let rows = cells.chunks(width.into()).map(|row| {
        let row: String = row.iter().map(|cell| cell.symbol()).collect();
        row.trim_end().to_owned() + "\n"
    });
    rows.collect()
}

const SERVICES: &str = "\
directrix top  /run/directrix/control.sock  up 3 h 12 min  5000 of 1.05M entries
[Services] Workers  Drops                                              every 1 s
40 conn/s  200 pkt/s  16000 byte/s  50 drop/s  p50 900ns  p99 3.00µs
 Service, server▲  Weight Share     Active Inact Conn/s Pkt/s Byte/s State
>TCP 192.0.2.10:80 wlc                 120     0     20   100   8000 claimed
  10.0.0.1:80           1 ██│█▌         60     0     10    50   4000 reachable
  10.0.0.2:80           3 ████▌ │       60     0     10    50   4000 reachable
 TCP 192.0.2.10:443 wlc              12345     0     20   100   8000 claimed
  10.0.0.1:443          1 ████│████  12345     0     10    50   4000 reachable
  10.0.0.2:443          1     │          0     0     10    50   4000 unreachable

↑↓ select  ←→ view  s sort  r reverse  Enter zoom  d drain  ? help  q quit
";

#[test]
fn interface_without_carrier_is_red() {
    let interface = |name: &str, up| api::Interface { name: name.into(), up };
    let mut state = start();
    state.sample.services.interfaces = vec![interface("eth0", false), interface("eth1", true)];
    let terminal = drawn(&state, 80, 12);
    let buffer = terminal.backend().buffer();
    assert_eq!(screen(&state, 80, 12).lines().nth(3), Some("LINK DOWN: eth0 without carrier"));
    assert_eq!(buffer[(0, 3)].fg, Color::Red);
    assert!(text(&state, 80).contains("LINK DOWN: eth0"));
}

#[test]
fn the_title_has_the_role_of_one_of_several_directors() {
    let mut state = start();
    state.sample.role = crate::model::Role::Backup;
    let title = screen(&state, 90, 12).lines().next().unwrap().to_owned();
    assert!(title.contains("  backup  up 3 h 12 min"), "{title}");
}

#[test]
fn services_fit_into_80_columns() {
    assert_eq!(screen(&start(), 80, 12), SERVICES);
}

#[test]
fn selection_and_states_have_styles() {
    let terminal = drawn(&start(), 80, 12);
    let buffer = terminal.backend().buffer();
    assert!((0..80).all(|x| buffer[(x, 4)].modifier.contains(Modifier::REVERSED)));
    assert!((0..80).all(|x| !buffer[(x, 5)].modifier.contains(Modifier::REVERSED)));
    assert_eq!([buffer[(69, 8)].fg, buffer[(69, 9)].fg], [Color::Green, Color::Red]);
}

#[test]
fn zoom_shows_details() {
    let mut state = start();
    press(&mut state, &[KeyPress::Down, KeyPress::Enter]);
    let screen = screen(&state, 80, 15);
    assert!(!screen.contains(":443"), "{screen}");
    let server = "\
10.0.0.1:80: reachable at 02:00:00:00:00:01
50.0 % of the connections, 25.0 % of the weight; no thresholds, 0 persistent
since start: 1000 connections, 5000 packets, 400000 bytes
↑↓ select  ←→ view  s sort  r reverse  Esc back  d drain  ? help  q quit
";
    assert!(screen.ends_with(server), "{screen}");
}

const WORKERS: &str = "
 Services [Workers] Drops                                              every 1 s
40 conn/s  200 pkt/s  16000 byte/s  50 drop/s  p50 900ns  p99 3.00µs
 Worker       Frames/s Drop/s Lost/s Batch/s▼Sleep/s    p50    p90    p99    max
>0 core 0        12500     50      0    2000     0.5  900ns 1.50µs 3.00µs 70.0µs
   eth0 queue 0, xdp native, zero-copy: receive 3  transmit 64  fill 2048
 1 core 1            0      0      0       0       0  900ns 1.50µs 3.00µs 70.0µs
   eth0 queue 1, xdp native, zero-copy: receive 3  transmit 64  fill 2048
";

#[test]
fn workers_fit_into_80_columns() {
    let mut state = start();
    press(&mut state, &[KeyPress::Right]);
    press(&mut state, &[KeyPress::Char('s'); 5]);
    let screen = screen(&state, 80, 9);
    assert_eq!(screen.split_once("entries").unwrap().1.rsplit_once("↑↓").unwrap().0, WORKERS);
}

#[test]
fn drops_have_explanations() {
    let mut state = start();
    press(&mut state, &[KeyPress::Left]);
    let screen = screen(&state, 80, 10);
    let lines: Vec<_> = screen.lines().skip(3).collect();
    assert_eq!(lines[0], " Reason▲       Frames/s    New  Total Meaning");
    assert_eq!(lines[1], ">no_service          50    100    107 What no_service means.");
    assert_eq!(lines[5], "no_service: What no_service means.");
}

#[test]
fn loss_of_the_director_is_shown() {
    let mut state = start();
    state.apply(ScreenEvent::Time(Duration::from_secs(67)));
    let late = screen(&state, 80, 12);
    assert!(late.contains("\nThe director has not answered for 1 min; waiting.\n"), "{late}");
    state.apply(ScreenEvent::NoAnswer("no director is running at /run/directrix/control.sock".into()));
    let gone = "
THE DIRECTOR IS GONE: no director is running at /run/directrix/control.sock.
Trying again; these figures are 1 min old.
 Service, server";
    let shown = screen(&state, 80, 12);
    assert!(shown.contains(gone), "{shown}");
    state.apply(ScreenEvent::Sample(Sample { at: Duration::from_secs(68), ..later() }));
    assert!(!screen(&state, 80, 12).contains("GONE"));
}

#[test]
fn question_and_message_are_on_the_last_line() {
    let mut state = start();
    press(&mut state, &[KeyPress::Down, KeyPress::Char('d')]);
    let last = |state: &ScreenState| screen(state, 80, 24).lines().last().unwrap().to_owned();
    assert_eq!(last(&state), "Drain 10.0.0.1:80 of TCP 192.0.2.10:80? y/n, or a deadline in seconds");
    press(&mut state, &[KeyPress::Char('9'), KeyPress::Char('0')]);
    assert_eq!(last(&state), "Drain 10.0.0.1:80 of TCP 192.0.2.10:80, in 90 s at the latest? y/n");
    press(&mut state, &[KeyPress::Char('y')]);
    assert_eq!(last(&state), "requesting a drain of 10.0.0.1:80 …");
}

#[test]
fn help_names_every_key() {
    let mut state = start();
    press(&mut state, &[KeyPress::Char('?')]);
    let shown = screen(&state, 80, 24);
    for key in ["s ", "r ", "Enter  z", "Esc", "d ", "a ", "q ", "Tab"] {
        assert!(shown.lines().any(|line| line.trim_start().starts_with(key) || line.contains(key)), "{key}");
    }
    assert!(!shown.contains('…') && shown.lines().skip(2).all(|line| line.chars().count() < 80), "{shown}");
    assert!(shown.ends_with("press any key to return\n"), "{shown}");
}

#[test]
fn selected_row_is_visible() {
    let mut state = start();
    let mut many = later();
    let servers = (1..=200).map(|number| server(&format!("10.0.1.{number}:80"), 1, 0));
    many.services.services = vec![service("192.0.2.10:80", servers.collect())];
    state.apply(ScreenEvent::Sample(many));
    for (keys, seen) in
        [(vec![KeyPress::End], "> 10.0.1.200:80"), (vec![KeyPress::PageUp; 9], "> 10.0.1.110:80")]
    {
        press(&mut state, &keys);
        let shown = screen(&state, 80, 24);
        assert!(shown.contains(seen), "{seen}: {shown}");
        assert_eq!(shown.lines().filter(|line| line.contains("10.0.1.")).count(), 19, "{shown}");
    }
}

#[test]
fn long_addresses_keep_their_ends() {
    let mut state = start();
    let mut six = later();
    let (vip, address) =
        ("[2001:db8:1:2:aaaa:bbbb:cccc:dddd]:443", "[2001:db8:1111:2222:3333:4444:5555:6666]:80");
    six.services.services = vec![service(vip, vec![server(address, 1, 3)])];
    state.apply(ScreenEvent::Sample(six));
    let narrow = screen(&state, 80, 12);
    let rows: Vec<_> = narrow.lines().skip(4).take(2).collect();
    assert_eq!(
        rows,
        [
            ">TCP …:aaaa:bbbb:cccc:dddd]:443 wlc      3     0     20   100   8000 claimed",
            " …3:4444:5555:6666]:80      1 ████│      3     0     10    50   4000 reachable"
        ],
        "{narrow}"
    );
    let wide = screen(&state, 120, 12);
    assert!(wide.contains(&format!("TCP {vip} wlc")) && wide.contains(address), "{wide}");
}

/// Draws each view and mode in each size.
#[test]
fn each_size_can_be_drawn() {
    for keys in [
        &[][..],
        &[KeyPress::Right],
        &[KeyPress::Left],
        &[KeyPress::Enter],
        &[KeyPress::Char('?')],
        &[KeyPress::Down, KeyPress::Char('d')],
    ] {
        let mut state = start();
        press(&mut state, keys);
        for (width, height) in
            (0..100).step_by(7).flat_map(|width| (0..12).map(move |height| (width, height)))
        {
            drawn(&state, width, height);
        }
        state.apply(ScreenEvent::NoAnswer("no director is running".into()));
        drawn(&state, 20, 3);
    }
}

#[test]
fn text_has_all_views_in_full() {
    let mut state = start();
    press(&mut state, &[KeyPress::Char('a'), KeyPress::Down, KeyPress::Enter]);
    let text = text(&state, 120);
    let heads: Vec<_> = text.split("\n\n").map(|part| part.split_whitespace().next().unwrap()).collect();
    assert_eq!(heads, ["directrix", "Service,", "Worker▲", "Reason▲"]);
    for part in ["10.0.0.2:443", " 1 core 1 ", "ring_full", "checksum"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('>'), "no line is selected: {text}");
}
