//! `directrix top`: a live screen of what a director does.
//!
//! | file | holds |
//! |---|---|
//! | `director`, `rates` | what is asked of a director, and what two answers say per second |
//! | `state`, `keys` | pure: the screen's state, and what a key or an answer makes of it |
//! | `table`, `services`, `workers`, `drops` | the lines of each view, in order |
//! | `draw`, `number` | pure: a state as lines of text |
//! | `sampler`, `screen`, `signals` | the thread that asks, and the loop over keys and answers |
#![forbid(unsafe_code)]

mod director;
mod draw;
mod drops;
mod keys;
mod number;
mod rates;
mod sampler;
mod screen;
mod services;
mod signals;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod workers;

use crate::control::client::ClientError;
use director::{Director, Drain, Remote, Sample};
use draw::draw;
use keys::Key;
use sampler::Clock;
use state::{Event, Order, State};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

/// Columns of [`once`] where nobody looks at a terminal: room for every column.
const WIDE: u16 = 120;

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The director did not answer at the start.
    #[error(transparent)]
    Director(#[from] ClientError),
    /// Keys and screen need a terminal.
    #[error("keys and screen need a terminal; use --once for one frame of text")]
    NoTerminal,
    /// The terminal or the process cannot.
    #[error("the terminal or stdout cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// Shows the director at `socket` until somebody quits, asking it every `interval`.
///
/// # Errors
/// [`Failure`], before anything is drawn but for a terminal that goes away.
pub fn live(socket: &Path, interval: Duration) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failure::NoTerminal);
    }
    let director = Remote::new(socket)?;
    let clock = Clock::start();
    let first = Sample::take(&director, clock)?;
    let state = State::new(&socket.display().to_string(), interval, first);
    screen::run(state, director, clock)
}

/// One frame as text, every view below the other: two samples `interval` apart.
///
/// # Errors
/// [`Failure::Director`], [`Failure::Terminal`] if the process has no descriptor left.
pub fn once(socket: &Path, interval: Duration) -> Result<String, Failure> {
    let director = Remote::new(socket)?;
    let clock = Clock::start();
    let first = Sample::take(&director, clock)?;
    let mut state = State::new(&socket.display().to_string(), interval, first);
    std::thread::sleep(interval);
    state.apply(Event::Sample(Sample::take(&director, clock)?));
    state.apply(Event::Key(Key::Char('a'))); // drops in full
    let size = io::stdout().is_terminal().then(ratatui::crossterm::terminal::size);
    let width = size.and_then(Result::ok).map_or(WIDE, |(width, _)| width);
    Ok(draw::text(&state, width.into()))
}
