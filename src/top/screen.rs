//! Terminal and main loop of the screen.

use super::clock::Clock;
use super::director::DirectorApi;
use super::draw::draw;
use super::event::{ScreenAction, ScreenEvent};
use super::keys::KeyPress;
use super::sampler::Sampler;
use super::signals::Signals;
use super::state::ScreenState;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

/// Longest wait for a key before answers and signals are checked.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs the screen until the user quits.
pub(super) fn run(
    mut state: ScreenState,
    director: impl DirectorApi + Send + 'static,
    clock: Clock,
) -> io::Result<()> {
    let signals = Signals::take()?;
    let sampler = Sampler::start(director, state.interval, clock)?;
    let mut screen = Screen::open()?;
    let ended =
        main_loop(&mut screen.0, &mut state, &EventSources { sampler: &sampler, signals: &signals, clock });
    if let Ok(Ended::SamplerPanicked) = ended {
        sampler.join();
    }
    drop(screen);
    ended.map(drop)
}

/// Reason of the end of the main loop.
enum Ended {
    /// A key, a signal, or a closed terminal.
    Quit,
    /// The sampling thread panicked.
    SamplerPanicked,
}

/// Set by a panic of any thread, which leaves the alternate screen: no frame may be drawn afterwards.
static RESTORED: AtomicBool = AtomicBool::new(false);
/// Upper bound of the time to draw a frame.
const FRAME_TIME: Duration = Duration::from_millis(50);

/// The terminal in raw mode and on its alternate screen, restored on drop and on a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        let screen = ratatui::try_init().map(Self).inspect_err(|_| drop(ratatui::try_restore()))?;
        let restore = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            RESTORED.store(true, SeqCst);
            std::thread::sleep(FRAME_TIME);
            restore(panic);
        }));
        Ok(screen)
    }
}

impl Drop for Screen {
    /// Leaves the alternate screen unless a panic has done it: a second time would move the cursor over the panic's
    /// message.
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        if !RESTORED.load(SeqCst) {
            let _ = ratatui::try_restore(); // fails if the terminal is closed
        }
    }
}

/// Sources of events besides the keyboard.
struct EventSources<'a> {
    sampler: &'a Sampler,
    signals: &'a Signals,
    clock: Clock,
}

fn main_loop(
    terminal: &mut DefaultTerminal,
    state: &mut ScreenState,
    sources: &EventSources<'_>,
) -> io::Result<Ended> {
    let EventSources { sampler, signals, clock } = *sources;
    let mut shown = None;
    loop {
        state.apply(ScreenEvent::Time(clock.now()));
        // Ages are shown in whole seconds.
        let second = Some(state.now.as_secs());
        if std::mem::replace(&mut shown, second) != second && !RESTORED.load(SeqCst) {
            terminal.draw(|frame| draw(frame, state))?;
        }
        if !wait()? || signals.arrived() {
            return Ok(Ended::Quit);
        }
        while event::poll(Duration::ZERO)? {
            shown = None;
            match key_press(&event::read()?).and_then(|key| state.apply(ScreenEvent::Key(key))) {
                Some(ScreenAction::Quit) => return Ok(Ended::Quit),
                Some(ScreenAction::Drain(drain)) => drop(sampler.drains.send(drain)),
                None => {}
            }
        }
        match sampler.events.try_recv() {
            Ok(event) => {
                state.apply(event);
                shown = None;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(Ended::SamplerPanicked),
        }
    }
}

/// Waits for input, at most [`POLL_INTERVAL`]. Returns false if the terminal is closed, which crossterm does not
/// report: it would read the end of input forever.
fn wait() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut input = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut input, PollTimeout::from(POLL_INTERVAL.as_millis() as u16)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let seen = input[0].revents().unwrap_or(PollFlags::empty());
    Ok(!seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
}

/// Returns the key of an input; other inputs, such as a resize, only need a new frame.
fn key_press(input: &Input) -> Option<KeyPress> {
    match input {
        Input::Key(event) => KeyPress::of(*event),
        _ => None,
    }
}
