//! The terminal: drawn on, and given back as it was.

use super::sampler::{Clock, Sampler};
use super::signals::Signals;
use super::{Director, Event, Failure, Key, Order, State, draw};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
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
    if let Ok(Ended::Deaf) = ended {
        sampler.bury();
    }
    drop(screen);
    ended.map(|_| ()).map_err(Failure::from)
}

/// Why the screen ended.
enum Ended {
    /// By a key, by a signal, or because the terminal is gone.
    Quit,
    /// The sampler is gone, which only a panic of it does.
    Deaf,
}

/// A panic of any thread has left the other page, or is about to: nothing may be drawn any more.
static LEFT: AtomicBool = AtomicBool::new(false);
/// A frame that is being drawn takes less.
const LAST_FRAME: Duration = Duration::from_millis(50);

/// The terminal in raw mode and on its other page, until dropped. A panic restores it too.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        let screen = ratatui::try_init().map(Self).inspect_err(|_| drop(ratatui::try_restore()))?;
        let leave = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            LEFT.store(true, SeqCst);
            std::thread::sleep(LAST_FRAME);
            leave(panic);
        }));
        Ok(screen)
    }
}

impl Drop for Screen {
    /// A panic's hook has left the other page already: to do it twice would take the cursor back
    /// over what the hook has written.
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        if !LEFT.load(SeqCst) {
            let _ = ratatui::try_restore(); // fails if the terminal is gone
        }
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
        if std::mem::replace(&mut shown, second) != second && !LEFT.load(SeqCst) {
            terminal.draw(|frame| draw(frame, state))?;
        }
        if !wait()? || signals.arrived() {
            return Ok(Ended::Quit);
        }
        while event::poll(Duration::ZERO)? {
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
    }
}

/// Waits for input, for [`TURN`] at most; false if the terminal is gone. Crossterm does not tell
/// that: it would read the end of the input for ever.
fn wait() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut input = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut input, PollTimeout::from(TURN.as_millis() as u16)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let seen = input[0].revents().unwrap_or(PollFlags::empty());
    Ok(!seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
}

/// The key of an input. What is none, as a resize, needs only a new frame.
fn pressed(input: &Input) -> Option<Key> {
    match input {
        Input::Key(event) => Key::of(*event),
        _ => None,
    }
}
