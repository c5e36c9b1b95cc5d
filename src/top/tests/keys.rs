//! Changes of the state by keys and answers.

use super::super::director::{DrainRequest, Sample};
use super::super::event::{ScreenAction, ScreenEvent};
use super::super::keys::KeyPress;
use super::super::row_id::RowId;
use super::super::state::{InputMode, ScreenState, ViewKind};
use super::fixtures::{drops, later, sample};
use crate::model::Diagnostic;
use std::time::Duration;

fn start() -> ScreenState {
    ScreenState::new("/run/directrix/control.sock", Duration::from_secs(1), sample())
}

/// Presses a key for each character: ^ v < > are arrows, ! is Enter, ~ is Esc.
fn press(state: &mut ScreenState, keys: &str) -> Option<ScreenAction> {
    let mut action = None;
    for sign in keys.chars() {
        let key = match sign {
            '^' => KeyPress::Up,
            'v' => KeyPress::Down,
            '<' => KeyPress::Left,
            '>' => KeyPress::Right,
            '!' => KeyPress::Enter,
            '~' => KeyPress::Escape,
            sign => KeyPress::Char(sign),
        };
        action = state.apply(ScreenEvent::Key(key));
    }
    action
}

/// Returns the address or name of the selected row.
fn selected(state: &ScreenState) -> String {
    let items = state.items();
    match items[state.selected_index(&items)].id().unwrap() {
        RowId::Service(service) => service.to_string(),
        RowId::Server(_, server) => server.to_string(),
        RowId::Worker(number) => number.to_string(),
        RowId::Drop(reason) => reason,
    }
}

#[test]
fn arrows_stop_at_the_ends() {
    let mut state = start();
    let mut passed = vec![selected(&state)];
    for _ in 0..6 {
        press(&mut state, "v");
        passed.push(selected(&state));
    }
    let web = ["TCP 192.0.2.10:80", "10.0.0.1:80", "10.0.0.2:80"];
    let secure = ["TCP 192.0.2.10:443", "10.0.0.1:443", "10.0.0.2:443", "10.0.0.2:443"];
    assert_eq!(passed, [&web[..], &secure[..]].concat());
    state.apply(ScreenEvent::Key(KeyPress::PageUp));
    assert_eq!(selected(&state), "TCP 192.0.2.10:80");
    state.apply(ScreenEvent::Key(KeyPress::End));
    press(&mut state, "^");
    assert_eq!(selected(&state), "10.0.0.1:443");
}

#[test]
fn views_keep_their_selection() {
    let mut state = start();
    press(&mut state, "vv>");
    assert_eq!(state.view, ViewKind::Workers);
    press(&mut state, "v");
    assert_eq!(selected(&state), "1", "queues are skipped");
    press(&mut state, ">>");
    assert_eq!((state.view, selected(&state)), (ViewKind::Services, "10.0.0.2:80".to_owned()));
    press(&mut state, "<<");
    assert_eq!((state.view, selected(&state)), (ViewKind::Workers, "1".to_owned()));
}

#[test]
fn selection_follows_a_new_order() {
    let mut state = start();
    press(&mut state, "v");
    assert_eq!(selected(&state), "10.0.0.1:80");
    press(&mut state, "sss");
    let items = state.items();
    assert_eq!((selected(&state), state.selected_index(&items)), ("10.0.0.1:80".to_owned(), 4));
    press(&mut state, "r");
    let items = state.items();
    assert_eq!((selected(&state), state.selected_index(&items)), ("10.0.0.1:80".to_owned(), 2));
}

#[test]
fn removed_row_passes_selection_to_the_next() {
    let mut state = start();
    press(&mut state, "v");
    let mut without = later();
    without.services.services[0].servers.remove(0);
    state.apply(ScreenEvent::Sample(without));
    assert_eq!(selected(&state), "10.0.0.2:80");
    state.apply(ScreenEvent::Sample(Sample { services: Default::default(), ..later() }));
    assert_eq!(state.items().len(), 0);
    assert_eq!(press(&mut state, "v^!d"), None, "nothing is selected, nothing happens");
}

#[test]
fn zoom_works_from_each_row_of_a_service() {
    for keys in ["!", "vv!", "z"] {
        let mut state = start();
        press(&mut state, keys);
        assert_eq!(state.items().len(), 3, "{keys}");
        press(&mut state, "~");
        assert_eq!(state.items().len(), 6, "{keys}");
    }
}

#[test]
fn removal_of_a_zoomed_service_zooms_out() {
    let mut state = start();
    press(&mut state, "!");
    let mut without = later();
    without.services.services.remove(0);
    state.apply(ScreenEvent::Sample(without));
    assert_eq!(state.zoom, None);
    assert_eq!(state.note.as_deref(), Some("TCP 192.0.2.10:80 is no longer a service of this director"));
}

#[test]
fn drain_needs_a_yes() {
    let mut state = start();
    let drain = DrainRequest {
        service: state.sample.services.services[0].identity,
        server: "10.0.0.2:80".parse().unwrap(),
        deadline: None,
    };
    assert_eq!(press(&mut state, "vvd"), None);
    assert_eq!(state.mode, InputMode::ConfirmDrain(drain));
    for keys in ["x", "q", "!", "v"] {
        assert_eq!(press(&mut state, keys), None, "{keys}");
        assert_eq!(state.mode, InputMode::ConfirmDrain(drain), "{keys}");
    }
    for no in ["n", "~"] {
        assert_eq!((press(&mut state, no), state.mode), (None, InputMode::Browse));
        press(&mut state, "d");
    }
    assert_eq!((press(&mut state, "y"), state.mode), (Some(ScreenAction::Drain(drain)), InputMode::Browse));
    state.apply(ScreenEvent::Drained(drain, Ok(())));
    assert_eq!(
        state.note.as_deref(),
        Some("10.0.0.2:80 gets no new connections, and is removed once it has none")
    );
    press(&mut state, "v");
    assert_eq!(state.note, None, "the next key clears it");
}

#[test]
fn deadline_is_typed_at_the_question() {
    let mut state = start();
    let deadline_of = |state: &ScreenState| match state.mode {
        InputMode::ConfirmDrain(drain) => drain.deadline,
        mode => panic!("{mode:?}"),
    };
    press(&mut state, "vd");
    // b is Backspace. 2,147,483 s is the longest deadline.
    for (keys, deadline) in [
        ("600", Some(600)),
        ("b", Some(60)),
        ("bb", None),
        ("b", None),
        ("2147483", Some(2_147_483)),
        ("1", Some(2_147_483)),
        ("bbbbbbb", None),
        ("0", Some(0)),
        ("b", None),
        ("90x", Some(90)),
    ] {
        for key in keys.chars() {
            let key = if key == 'b' { KeyPress::Backspace } else { KeyPress::Char(key) };
            assert_eq!(state.apply(ScreenEvent::Key(key)), None);
        }
        assert_eq!(deadline_of(&state), deadline, "{keys}");
    }
    let Some(ScreenAction::Drain(drain)) = press(&mut state, "y") else { panic!("no action") };
    assert_eq!(drain.deadline, Some(90));
    state.apply(ScreenEvent::Drained(drain, Ok(())));
    let note = "10.0.0.1:80 gets no new connections, and is removed once it has none, in 90 s at the latest";
    assert_eq!(state.note.as_deref(), Some(note));
    press(&mut state, "7d");
    assert_eq!(deadline_of(&state), None, "the next question starts empty");
}

#[test]
fn refused_drain_shows_the_reason() {
    let mut state = start();
    let Some(ScreenAction::Drain(drain)) = press(&mut state, "vdy") else { panic!("no action") };
    state.apply(ScreenEvent::Drained(drain, Err(Diagnostic::system("it is drained already"))));
    assert_eq!(state.note.as_deref(), Some("10.0.0.1:80 is not drained: it is drained already"));
}

#[test]
fn only_real_servers_can_be_drained() {
    for keys in ["d", ">d", ">>d"] {
        let mut state = start();
        press(&mut state, keys);
        assert_eq!(state.mode, InputMode::Browse, "{keys}");
        assert!(state.note.unwrap().starts_with("select a real server first"), "{keys}");
    }
}

#[test]
fn quit_works_in_each_mode() {
    assert_eq!(press(&mut start(), "q"), Some(ScreenAction::Quit));
    assert_eq!(press(&mut start(), "?q"), None, "any key leaves the help");
    assert_eq!(press(&mut start(), "?qq"), Some(ScreenAction::Quit));
    for keys in ["", "?", "vd"] {
        let mut state = start();
        press(&mut state, keys);
        assert_eq!(state.apply(ScreenEvent::Key(KeyPress::Interrupt)), Some(ScreenAction::Quit), "{keys}");
    }
}

#[test]
fn loss_and_return_of_the_director() {
    let mut state = start();
    assert!(!state.is_late());
    state.apply(ScreenEvent::Time(Duration::from_secs(9)));
    assert!(state.is_late());
    assert_eq!(state.age(), Duration::from_secs(4));
    state.apply(ScreenEvent::NoAnswer("no director is running".into()));
    assert_eq!(state.failure.as_deref(), Some("no director is running"));
    state.apply(ScreenEvent::Sample(Sample { at: Duration::from_secs(10), ..later() }));
    assert_eq!((state.failure.clone(), state.is_late()), (None, false));
    assert_eq!(state.rates.workers[&0].received, 5000.0, "over all the time between");
}

#[test]
fn only_changed_drop_reasons_are_shown() {
    let mut state = start();
    press(&mut state, "<");
    assert_eq!(state.items().len(), 0);
    state.apply(ScreenEvent::Sample(later()));
    assert_eq!((state.items().len(), selected(&state)), (1, "no_service".to_owned()));
    press(&mut state, "a");
    assert_eq!(state.items().len(), 3);
    press(&mut state, "a");
    assert_eq!(state.items().len(), 1);
}

#[test]
fn restart_resets_the_drop_baseline() {
    let mut state = start();
    press(&mut state, "<");
    let young = Sample { up: Some(Duration::from_secs(1)), drops: drops(&[("checksum", 41)]), ..later() };
    state.apply(ScreenEvent::Sample(young));
    assert_eq!(selected(&state), "checksum");
    assert!(state.rates.drops.is_empty(), "rates need a second sample");
}
