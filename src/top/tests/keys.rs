//! What keys and answers make of the state.

use super::super::state::{Id, Mode, View};
use super::super::{Drain, Event, Key, Order, Sample, State};
use super::fixtures::{drops, later, sample};
use std::time::Duration;

fn start() -> State {
    State::new("/run/directrix/control.sock", Duration::from_secs(1), sample())
}

/// Presses a key for each sign: ^ v < > for the arrows, ! for Enter, ~ for Esc.
fn press(state: &mut State, keys: &str) -> Option<Order> {
    let mut order = None;
    for sign in keys.chars() {
        let key = match sign {
            '^' => Key::Up,
            'v' => Key::Down,
            '<' => Key::Left,
            '>' => Key::Right,
            '!' => Key::Enter,
            '~' => Key::Escape,
            sign => Key::Char(sign),
        };
        order = state.apply(Event::Key(key));
    }
    order
}

/// The selected line: the address or name alone.
fn selected(state: &State) -> String {
    let items = state.items();
    match items[state.place_in(&items)].id().unwrap() {
        Id::Service(service) => service.to_string(),
        Id::Server(_, server) => server.to_string(),
        Id::Worker(number) => number.to_string(),
        Id::Drop(reason) => reason,
    }
}

#[test]
fn arrows_go_from_line_to_line_and_stop_at_the_ends() {
    let mut state = start();
    let mut passed = vec![selected(&state)];
    for _ in 0..6 {
        press(&mut state, "v");
        passed.push(selected(&state));
    }
    let web = ["TCP 192.0.2.10:80", "10.0.0.1:80", "10.0.0.2:80"];
    let secure = ["TCP 192.0.2.10:443", "10.0.0.1:443", "10.0.0.2:443", "10.0.0.2:443"];
    assert_eq!(passed, [&web[..], &secure[..]].concat());
    state.apply(Event::Key(Key::PageUp));
    assert_eq!(selected(&state), "TCP 192.0.2.10:80");
    state.apply(Event::Key(Key::End));
    press(&mut state, "^");
    assert_eq!(selected(&state), "10.0.0.1:443");
}

#[test]
fn views_turn_both_ways_and_keep_their_lines() {
    let mut state = start();
    press(&mut state, "vv>");
    assert_eq!(state.view, View::Workers);
    press(&mut state, "v");
    assert_eq!(selected(&state), "1", "queues are passed over");
    press(&mut state, ">>");
    assert_eq!((state.view, selected(&state)), (View::Services, "10.0.0.2:80".to_owned()));
    press(&mut state, "<<");
    assert_eq!((state.view, selected(&state)), (View::Workers, "1".to_owned()));
}

#[test]
fn the_selected_line_is_followed_when_the_order_changes() {
    let mut state = start();
    press(&mut state, "v");
    assert_eq!(selected(&state), "10.0.0.1:80");
    press(&mut state, "sss");
    let items = state.items();
    assert_eq!((selected(&state), state.place_in(&items)), ("10.0.0.1:80".to_owned(), 4));
    press(&mut state, "r");
    let items = state.items();
    assert_eq!((selected(&state), state.place_in(&items)), ("10.0.0.1:80".to_owned(), 2));
}

#[test]
fn a_line_that_is_gone_leaves_its_place_to_the_next() {
    let mut state = start();
    press(&mut state, "v");
    let mut without = later();
    without.services.services[0].servers.remove(0);
    state.apply(Event::Sample(without));
    assert_eq!(selected(&state), "10.0.0.2:80");
    state.apply(Event::Sample(Sample { services: Default::default(), ..later() }));
    assert_eq!(state.items().len(), 0);
    assert_eq!(press(&mut state, "v^!d"), None, "nothing is selected, nothing happens");
}

#[test]
fn a_service_is_zoomed_into_from_each_of_its_lines() {
    for keys in ["!", "vv!", "z"] {
        let mut state = start();
        press(&mut state, keys);
        assert_eq!(state.items().len(), 3, "{keys}");
        press(&mut state, "~");
        assert_eq!(state.items().len(), 6, "{keys}");
    }
}

#[test]
fn a_zoomed_service_that_is_removed_gives_way_to_all() {
    let mut state = start();
    press(&mut state, "!");
    let mut without = later();
    without.services.services.remove(0);
    state.apply(Event::Sample(without));
    assert_eq!(state.zoom, None);
    assert_eq!(state.note.as_deref(), Some("TCP 192.0.2.10:80 is no longer a service of this director"));
}

#[test]
fn a_drain_is_ordered_only_by_yes() {
    let mut state = start();
    let drain = Drain {
        service: state.sample.services.services[0].address,
        server: "10.0.0.2:80".parse().unwrap(),
        deadline: None,
    };
    assert_eq!(press(&mut state, "vvd"), None);
    assert_eq!(state.mode, Mode::Ask(drain));
    for keys in ["x", "q", "!", "v"] {
        assert_eq!(press(&mut state, keys), None, "{keys}");
        assert_eq!(state.mode, Mode::Ask(drain), "{keys}");
    }
    for no in ["n", "~"] {
        assert_eq!((press(&mut state, no), state.mode), (None, Mode::Look));
        press(&mut state, "d");
    }
    assert_eq!((press(&mut state, "y"), state.mode), (Some(Order::Drain(drain)), Mode::Look));
    state.apply(Event::Drained(drain, Ok(())));
    assert_eq!(
        state.note.as_deref(),
        Some("10.0.0.2:80 gets no new connections, and is removed once it has none")
    );
    press(&mut state, "v");
    assert_eq!(state.note, None, "the next key clears it");
}

#[test]
fn a_deadline_is_typed_at_the_question() {
    let mut state = start();
    let asked = |state: &State| match state.mode {
        Mode::Ask(drain) => drain.deadline,
        mode => panic!("{mode:?}"),
    };
    press(&mut state, "vd");
    // b is for Backspace. 2,147,483 s are the longest that a director takes.
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
            let key = if key == 'b' { Key::Backspace } else { Key::Char(key) };
            assert_eq!(state.apply(Event::Key(key)), None);
        }
        assert_eq!(asked(&state), deadline, "{keys}");
    }
    let Some(Order::Drain(drain)) = press(&mut state, "y") else { panic!("no order") };
    assert_eq!(drain.deadline, Some(90));
    state.apply(Event::Drained(drain, Ok(())));
    let note = "10.0.0.1:80 gets no new connections, and is removed once it has none, in 90 s at the latest";
    assert_eq!(state.note.as_deref(), Some(note));
    press(&mut state, "7d");
    assert_eq!(asked(&state), None, "the next question begins anew");
}

#[test]
fn a_drain_that_is_refused_says_why() {
    let mut state = start();
    let Some(Order::Drain(drain)) = press(&mut state, "vdy") else { panic!("no order") };
    state.apply(Event::Drained(drain, Err("it is drained already".into())));
    assert_eq!(state.note.as_deref(), Some("10.0.0.1:80 is not drained: it is drained already"));
}

#[test]
fn only_real_servers_can_be_drained() {
    for keys in ["d", ">d", ">>d"] {
        let mut state = start();
        press(&mut state, keys);
        assert_eq!(state.mode, Mode::Look, "{keys}");
        assert!(state.note.unwrap().starts_with("select a real server first"), "{keys}");
    }
}

#[test]
fn quitting_is_possible_from_everywhere() {
    assert_eq!(press(&mut start(), "q"), Some(Order::Quit));
    assert_eq!(press(&mut start(), "?q"), None, "any key leaves the help");
    assert_eq!(press(&mut start(), "?qq"), Some(Order::Quit));
    for keys in ["", "?", "vd"] {
        let mut state = start();
        press(&mut state, keys);
        assert_eq!(state.apply(Event::Key(Key::Interrupt)), Some(Order::Quit), "{keys}");
    }
}

#[test]
fn a_director_that_is_gone_is_noticed_and_so_is_its_return() {
    let mut state = start();
    assert!(!state.is_late());
    state.apply(Event::Time(Duration::from_secs(9)));
    assert!(state.is_late());
    assert_eq!(state.age(), Duration::from_secs(4));
    state.apply(Event::Gone("no director is running".into()));
    assert_eq!(state.gone.as_deref(), Some("no director is running"));
    state.apply(Event::Sample(Sample { at: Duration::from_secs(10), ..later() }));
    assert_eq!((state.gone.clone(), state.is_late()), (None, false));
    assert_eq!(state.rates.workers[&0].received, 5000.0, "over all the time between");
}

#[test]
fn drop_reasons_are_those_that_moved_since_the_screen_began() {
    let mut state = start();
    press(&mut state, "<");
    assert_eq!(state.items().len(), 0);
    state.apply(Event::Sample(later()));
    assert_eq!((state.items().len(), selected(&state)), (1, "no_service".to_owned()));
    press(&mut state, "a");
    assert_eq!(state.items().len(), 3);
    press(&mut state, "a");
    assert_eq!(state.items().len(), 1);
}

#[test]
fn all_drops_of_a_new_run_are_new() {
    let mut state = start();
    press(&mut state, "<");
    let young = Sample { up: Some(Duration::from_secs(1)), drops: drops(&[("checksum", 41)]), ..later() };
    state.apply(Event::Sample(young));
    assert_eq!(selected(&state), "checksum");
    assert!(state.rates.drops.is_empty(), "rates need a second sample");
}
