//! Sampling thread: requests to the director, so that keys do not wait for its answers.

use super::clock::Clock;
use super::director::{DirectorApi, DrainRequest, Sample};
use super::event::ScreenEvent;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Handle of the sampling thread, which ends with the handle once a pending answer has arrived.
pub(super) struct Sampler {
    /// [`ScreenEvent::Sample`], [`ScreenEvent::NoAnswer`] and [`ScreenEvent::Drained`].
    pub(super) events: Receiver<ScreenEvent>,
    /// Drain requests to send.
    pub(super) drains: Sender<DrainRequest>,
    thread: JoinHandle<()>,
}

impl Sampler {
    /// Starts a thread that takes a sample every `interval`, and after each drain request.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start(
        director: impl DirectorApi + Send + 'static,
        interval: Duration,
        clock: Clock,
    ) -> io::Result<Self> {
        let (sender, events) = channel();
        let (drains, requests) = channel();
        let channels = SamplerChannels { events: sender, requests };
        let thread = std::thread::Builder::new()
            .name("sampler".into())
            .spawn(move || sample_loop(&director, &channels, interval, clock))?;
        Ok(Self { events, drains, thread })
    }

    /// Joins the thread and resumes its panic.
    pub(super) fn join(self) {
        drop(self.drains);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Ends of the channels in the sampling thread.
struct SamplerChannels {
    events: Sender<ScreenEvent>,
    requests: Receiver<DrainRequest>,
}

/// Takes samples until a channel is closed.
fn sample_loop(director: &impl DirectorApi, channels: &SamplerChannels, interval: Duration, clock: Clock) {
    let mut due = clock.now() + interval;
    loop {
        let drained = match channels.requests.recv_timeout(due.saturating_sub(clock.now())) {
            Ok(drain) => Some(ScreenEvent::Drained(drain, director.drain(&drain))),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut all = drained.into_iter().chain([sample(director, clock)]);
        if all.any(|event| channels.events.send(event).is_err()) {
            return;
        }
        due = (due + interval).max(clock.now());
    }
}

fn sample(director: &impl DirectorApi, clock: Clock) -> ScreenEvent {
    match Sample::take(director, clock) {
        Ok(sample) => ScreenEvent::Sample(sample),
        Err(error) => ScreenEvent::NoAnswer(error.to_string()),
    }
}
