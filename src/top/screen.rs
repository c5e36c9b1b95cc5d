//! The terminal: drawn on, and given back as it was.

use super::sampler::{Clock, Sampler};
use super::signals::Signals;
use super::{Director, Event, Failure, Key, Order, State, draw};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input};
use std::io;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

/// How long a key waits at most behind an answer or a signal, and they behind it.
const TURN: Duration = Duration::from_millis(50);

/// Runs the screen until somebody quits.
pub(super) fn run(
    mut state: State,
    director: impl Director + Send + 'static,
    clock: Clock,
) -> Result<(), Failure> {
    let signals = Signals::take()?;
    let sampler = Sampler::start(director, state.interval, clock)?;
    let mut screen = Screen::open()?;
    let ended = look(&mut screen.0, &mut state, (&sampler, &signals), clock);
    drop(screen);
    match ended? {
        Ended::Quit => {}
        Ended::Deaf => sampler.bury(),
    }
    Ok(())
}

/// Why the screen ended.
enum Ended {
    Quit,
    /// The sampler is gone, which only a panic of it does.
    Deaf,
}

/// The terminal in raw mode and on its other page, until dropped. A panic restores it too.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        ratatui::restore();
    }
}

fn look(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    (sampler, signals): (&Sampler, &Signals),
    clock: Clock,
) -> io::Result<Ended> {
    let mut shown = None;
    loop {
        state.apply(Event::Time(clock.now()));
        // Ages are shown in whole seconds.
        let second = Some(state.now.as_secs());
        if std::mem::replace(&mut shown, second) != second {
            terminal.draw(|frame| draw(frame, state))?;
        }
        if event::poll(TURN)? {
            shown = None;
            match pressed(&event::read()?).and_then(|key| state.apply(Event::Key(key))) {
                Some(Order::Quit) => return Ok(Ended::Quit),
                Some(Order::Drain(drain)) => drop(sampler.drains.send(drain)),
                None => {}
            }
        }
        match sampler.events.try_recv() {
            Ok(event) => {
                state.apply(event);
                shown = None;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(Ended::Deaf),
        }
        if signals.arrived() {
            return Ok(Ended::Quit);
        }
    }
}

/// The key of an input. What is none, as a resize, needs only a new frame.
fn pressed(input: &Input) -> Option<Key> {
    match input {
        Input::Key(event) => Key::of(*event),
        _ => None,
    }
}
