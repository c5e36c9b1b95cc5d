//! The thread that asks the director, so that keys need not wait for its answers.

use super::{Director, Drain, Event, Sample};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time from the program's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Starts at 0.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// The running thread. It ends once the sampler is dropped and the answer under way is there.
pub(super) struct Sampler {
    /// What the director said: [`Event::Sample`], [`Event::Gone`], [`Event::Drained`].
    pub(super) events: Receiver<Event>,
    /// What to ask it for.
    pub(super) drains: Sender<Drain>,
    thread: JoinHandle<()>,
}

impl Sampler {
    /// Starts to ask `director` every `interval`, and whenever a drain has been asked for.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start(
        director: impl Director + Send + 'static,
        interval: Duration,
        clock: Clock,
    ) -> io::Result<Self> {
        let (sender, events) = channel();
        let (drains, orders) = channel();
        let ask = move || {
            keep_asking(&director, (&sender, &orders), interval, clock);
        };
        let thread = std::thread::Builder::new().name("sampler".into()).spawn(ask)?;
        Ok(Self { events, drains, thread })
    }

    /// Panics as the thread did, if it did.
    pub(super) fn bury(self) {
        drop(self.drains);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Runs until an end of the channels is gone.
fn keep_asking(
    director: &impl Director,
    (events, orders): (&Sender<Event>, &Receiver<Drain>),
    interval: Duration,
    clock: Clock,
) {
    let mut due = clock.now() + interval;
    loop {
        let drained = match orders.recv_timeout(due.saturating_sub(clock.now())) {
            Ok(drain) => Some(Event::Drained(drain, director.drain(&drain))),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut all = drained.into_iter().chain([ask(director, clock)]);
        if all.any(|event| events.send(event).is_err()) {
            return;
        }
        due = (due + interval).max(clock.now());
    }
}

fn ask(director: &impl Director, clock: Clock) -> Event {
    match Sample::take(director, clock) {
        Ok(sample) => Event::Sample(sample),
        Err(error) => Event::Gone(error.to_string()),
    }
}
