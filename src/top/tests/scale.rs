//! Thousands of services: all rows are shown, and keys and frames stay fast.

use super::super::director::Sample;
use super::super::draw::draw;
use super::super::event::ScreenEvent;
use super::super::keys::KeyPress;
use super::super::state::ScreenState;
use super::fixtures::{later, sample, server, service};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::{Duration, Instant};

const SERVICES: u16 = 3000;
const SERVERS: u16 = 10;
/// Ten times the duration in an unoptimized build; quadratic time would take minutes.
const LIMIT: Duration = Duration::from_millis(250);

fn many() -> Sample {
    let servers =
        |port: u16| (1..=SERVERS).map(|n| server(&format!("10.0.0.{n}:{port}"), n, port.into())).collect();
    let services = (1..=SERVICES).map(|port| service(&format!("192.0.2.10:{port}"), servers(port)));
    let mut many = sample();
    many.services.services = services.collect();
    many
}

/// Measures the fastest of five runs, since the machine may be busy.
#[track_caller]
fn assert_fast(what: &str, mut f: impl FnMut()) {
    let times = (0..5).map(|_| {
        let start = Instant::now();
        f();
        start.elapsed()
    });
    let best = times.min().unwrap();
    assert!(best < LIMIT, "{what}: {best:?}");
}

#[test]
fn three_thousand_services_stay_responsive() {
    let mut state = ScreenState::new("/control.sock", Duration::from_secs(1), many());
    let next = Sample { services: many().services, ..later() };
    assert_fast("a sample", || assert_eq!(state.apply(ScreenEvent::Sample(next.clone())), None));
    assert_eq!(state.items().len(), usize::from(SERVICES * (SERVERS + 1)));
    let mut terminal = Terminal::new(TestBackend::new(100, 40)).unwrap();
    for (key, seen) in [
        (KeyPress::End, "> 10.0.0.10:3000"),
        (KeyPress::Up, "> 10.0.0.9:3000"),
        (KeyPress::Char('s'), "Weight"),
        (KeyPress::Char('r'), "▲Weight"),
        (KeyPress::Enter, "10.0.0.9:3000: reachable"),
        (KeyPress::Escape, "Enter zoom"),
    ] {
        assert_fast("a frame", || {
            terminal.draw(|frame| draw(frame, &state)).unwrap();
        });
        let start = Instant::now();
        state.apply(ScreenEvent::Key(key));
        assert!(start.elapsed() < 4 * LIMIT, "{key:?}: {:?}", start.elapsed());
        terminal.draw(|frame| draw(frame, &state)).unwrap();
        let screen: String = terminal.backend().buffer().content().iter().map(|cell| cell.symbol()).collect();
        assert!(screen.contains(seen), "{key:?}: {screen}");
    }
}
