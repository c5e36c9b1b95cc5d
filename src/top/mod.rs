//! `directrix top`: a live screen of a director.
//!
//! | file | content |
//! |---|---|
//! | `director`, `rates` | requests to a director, and rates from two samples |
//! | `state`, `event`, `keys` | the state of the screen, changed by keys and answers; no input or output |
//! | `table`, `services`, `workers`, `drops`, `row_id` | rows and columns of each view |
//! | `draw`, `number` | a state as lines of text; no input or output |
//! | `sampler`, `screen`, `signals`, `clock` | the sampling thread, and the loop over keys and answers |
#![forbid(unsafe_code)]

mod clock;
mod director;
mod draw;
mod drops;
mod event;
mod keys;
mod number;
mod rates;
mod row_id;
mod sampler;
mod screen;
mod services;
mod signals;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod workers;

use crate::model::Diagnostic;
use clock::Clock;
use director::{RemoteDirector, Sample};
use event::ScreenEvent;
use keys::KeyPress;
use state::ScreenState;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

/// Width of [`once`] without a terminal: room for every column.
const WIDE: u16 = 120;

/// Runs the screen for the director at `socket`, refreshed every `interval`, until the user quits.
///
/// # Errors
/// No terminal, or no director answers; before the first frame, except when the terminal closes.
pub fn live(socket: &Path, interval: Duration) -> Result<(), Diagnostic> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        let what = "keys and screen need a terminal";
        return Err(Diagnostic::invalid_argument(what).remedy("use --once for one frame of text"));
    }
    let director = RemoteDirector::new(socket)?;
    let clock = Clock::start();
    let first = Sample::take(&director, clock)?;
    let state = ScreenState::new(&socket.display().to_string(), interval, first);
    screen::run(state, director, clock)
        .map_err(|error| Diagnostic::io("the terminal or stdout cannot be used", &error))
}

/// Returns all views as text, from two samples `interval` apart.
///
/// # Errors
/// No director answers, or the process has no file descriptor left.
pub fn once(socket: &Path, interval: Duration) -> Result<String, Diagnostic> {
    let director = RemoteDirector::new(socket)?;
    let clock = Clock::start();
    let first = Sample::take(&director, clock)?;
    let mut state = ScreenState::new(&socket.display().to_string(), interval, first);
    std::thread::sleep(interval);
    state.apply(ScreenEvent::Sample(Sample::take(&director, clock)?));
    state.apply(ScreenEvent::Key(KeyPress::Char('a'))); // all drop reasons
    let size = io::stdout().is_terminal().then(ratatui::crossterm::terminal::size);
    let width = size.and_then(Result::ok).map_or(WIDE, |(width, _)| width);
    Ok(draw::text(&state, width.into()))
}
