//! Thousands of services: every line is there, and keys and frames wait for none of them.

use super::super::draw::draw;
use super::super::{Event, Key, Sample, State};
use super::fixtures::{later, sample, server, service};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::{Duration, Instant};

const SERVICES: u16 = 3000;
const SERVERS: u16 = 10;
/// A build that is not optimised takes a tenth of it; a walk over all lines for each of them, minutes.
const SOON: Duration = Duration::from_millis(250);

fn many() -> Sample {
    let servers =
        |port: u16| (1..=SERVERS).map(|n| server(&format!("10.0.0.{n}:{port}"), n, port.into())).collect();
    let services = (1..=SERVICES).map(|port| service(&format!("192.0.2.10:{port}"), servers(port)));
    let mut many = sample();
    many.services.services = services.collect();
    many
}

/// The best of some runs: others may be at work here, too.
#[track_caller]
fn is_soon_done(what: &str, mut f: impl FnMut()) {
    let times = (0..5).map(|_| {
        let start = Instant::now();
        f();
        start.elapsed()
    });
    let best = times.min().unwrap();
    assert!(best < SOON, "{what}: {best:?}");
}

#[test]
fn three_thousand_services_of_ten_servers_leave_the_keys_alone() {
    let mut state = State::new("/control.sock", Duration::from_secs(1), many());
    let next = Sample { services: many().services, ..later() };
    is_soon_done("a sample", || assert_eq!(state.apply(Event::Sample(next.clone())), None));
    assert_eq!(state.items().len(), usize::from(SERVICES * (SERVERS + 1)));
    let mut terminal = Terminal::new(TestBackend::new(100, 40)).unwrap();
    for (key, seen) in [
        (Key::End, "> 10.0.0.10:3000"),
        (Key::Up, "> 10.0.0.9:3000"),
        (Key::Char('s'), "Weight"),
        (Key::Char('r'), "▲Weight"),
        (Key::Enter, "10.0.0.9:3000: reachable"),
        (Key::Escape, "Enter zoom"),
    ] {
        is_soon_done("a frame", || {
            terminal.draw(|frame| draw(frame, &state)).unwrap();
        });
        let start = Instant::now();
        state.apply(Event::Key(key));
        assert!(start.elapsed() < 4 * SOON, "{key:?}: {:?}", start.elapsed());
        terminal.draw(|frame| draw(frame, &state)).unwrap();
        let screen: String = terminal.backend().buffer().content().iter().map(|cell| cell.symbol()).collect();
        assert!(screen.contains(seen), "{key:?}: {screen}");
    }
}
