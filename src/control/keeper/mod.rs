//! The keeper: the thread that writes the shadow table.
//!
//! It takes the events of the workers' journals a few milliseconds after the first of them, so that a worker wakes it once for many.
//! At the start it checks the entries of the process before, in stretches between which it takes events too.

mod book;
pub mod counters;
pub mod former;
pub mod keeping;
pub mod memory;
mod moving;
mod received;
pub mod sync_report;
pub mod syncing;
mod templates;

use crate::control::keeper::counters::KeeperCounters;
use crate::control::keeper::former::FormerConnections;
use crate::control::keeper::keeping::{KeptConnections, LoadSources};
use crate::control::keeper::syncing::{SyncHandle, Syncing};
use crate::control::workers::{ShadowTables, WorkerSettings, Workers};
use crate::flow::{V4Key, WideKey};
use crate::model::ServiceId;
use crate::shadow::{ShadowClock, ShadowSession, ShadowWriter};
use crate::sys::Sleeper;
use crate::sys::boot::monotonic;
use crate::time::{SecondTick, Tick};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time from the first event of a round until all that wait are taken.
const GATHER: Duration = Duration::from_millis(2);
/// Interval of sweeps, each of an eighth of the tables.
const SWEEP: Duration = Duration::from_millis(250);
/// Sweeps between two copies of all templates: five seconds.
const TEMPLATES_EVERY: u32 = 20;
/// Buckets checked in one stretch: about 2 ms.
const STRETCH: usize = 1 << 15;

/// Parameters of the keeper.
pub struct KeeperSettings<'a> {
    /// The workers' loads, templates and snapshots.
    pub workers: &'a WorkerSettings,
    /// Services of the real servers, by [`crate::model::ServerId`].
    pub services: Vec<Option<ServiceId>>,
    /// Tables of connections.
    pub writers: (ShadowWriter<V4Key>, ShadowWriter<WideKey>),
    /// Table of persistence templates.
    pub templates: ShadowWriter<WideKey>,
    /// This process as their writer.
    pub session: ShadowSession,
    /// Tables of the process before whose entries are to be moved.
    pub former: Option<FormerConnections>,
}

/// The running keeper. Dropping it stops the thread, which takes the last events before.
pub struct Keeper {
    /// Its counters.
    pub counters: Arc<KeeperCounters>,
    /// Connection sync.
    pub sync: SyncHandle,
    stop: Arc<AtomicBool>,
    sleeper: Arc<Sleeper>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(settings: KeeperSettings<'_>, running: &Workers) -> io::Result<Self> {
        let KeeperSettings { workers, services, writers: (compact, wide), templates, session, former } =
            settings;
        let (Some(journals), Some(ShadowTables { clock, .. })) = (&running.journals, &workers.shadow) else {
            return Err(io::Error::other("the workers have no journals"));
        };
        let stop = Arc::<AtomicBool>::default();
        let sources = LoadSources {
            loads: Arc::clone(&workers.loads),
            templates: Arc::clone(&workers.templates),
            snapshot: Arc::clone(&workers.snapshot),
            services,
        };
        let kept = KeptConnections::new((compact, wide), sources, journals.journals.clone(), clock.clone())
            .with_templates(templates)
            .with_former(former);
        let counters = Arc::clone(kept.counters());
        let sleeper = Arc::clone(&journals.sleeper);
        let (syncing, sync) = Syncing::new(&sleeper);
        let keeping = Keeping {
            kept,
            syncing,
            sleeper: Arc::clone(&sleeper),
            stop: Arc::clone(&stop),
            epoch: workers.epoch,
            swept_at: Instant::now(),
            sweeps: 0,
            session,
        };
        keeping.session.renew(monotonic());
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            keeping.run().end(monotonic());
        })?;
        Ok(Self { counters, sync, stop, sleeper, thread: Some(thread) })
    }

    /// True once all entries of the process before were checked.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.counters.is_recovered.get() == 1
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Keeper {
    /// Stops the thread, as dropping does.
    pub fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        self.sleeper.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has been reported
        }
    }
}

/// Clock of the shadow table for a process whose tick 0 is `epoch`.
#[must_use]
pub fn clock(epoch: Instant) -> ShadowClock {
    let now = Tick::from_instant(Instant::now(), epoch);
    ShadowClock::new(now, SecondTick::from_monotonic(monotonic()))
}

/// The loop of the thread.
struct Keeping {
    kept: KeptConnections,
    syncing: Syncing,
    sleeper: Arc<Sleeper>,
    stop: Arc<AtomicBool>,
    epoch: Instant,
    swept_at: Instant,
    /// Sweeps so far.
    sweeps: u32,
    session: ShadowSession,
}

impl Keeping {
    /// Runs until the thread is to stop.
    fn run(mut self) -> ShadowSession {
        self.recover();
        while !self.is_stopped() {
            if self.sleep() {
                std::thread::sleep(GATHER);
                self.kept.take_events(self.now());
            }
            let now = self.now();
            self.syncing.turn(&mut self.kept, now);
            self.sweep_if_due();
        }
        let now = self.now();
        self.kept.take_events(now);
        self.kept.keep_templates(now);
        self.syncing.end(&mut self.kept, now);
        self.session
    }

    /// Checks all entries of the process before.
    fn recover(&mut self) {
        let begin = Instant::now();
        while !self.is_stopped() && !self.kept.recover(STRETCH, self.now()) {
            self.kept.take_events(self.now());
        }
        let counters = self.kept.counters();
        counters.is_recovered.set(1);
        let (kept, refused, ms) = (
            counters.kept.get(),
            counters.refused.get() + counters.damaged.get(),
            begin.elapsed().as_millis(),
        );
        if kept + refused > 0 {
            tracing::info!(
                kept,
                expired = counters.expired.get(),
                refused,
                ms,
                "connections of the process before"
            );
        }
    }

    /// Sleeps until there is an event, a sweep is due, or the thread is to stop. Returns true if there is an event.
    fn sleep(&self) -> bool {
        self.sleeper.announce();
        if self.kept.has_event() || self.syncing.has_order() || self.is_stopped() {
            self.sleeper.wake_up();
            return self.kept.has_event();
        }
        let pause = SWEEP.saturating_sub(self.swept_at.elapsed());
        self.syncing.sleep(&self.sleeper, pause, self.now());
        self.sleeper.wake_up();
        self.kept.has_event()
    }

    fn sweep_if_due(&mut self) {
        if self.swept_at.elapsed() < SWEEP {
            return;
        }
        self.swept_at = Instant::now();
        self.session.renew(monotonic());
        let now = self.now();
        self.kept.renew(now, SecondTick::from_monotonic(monotonic()));
        self.kept.sweep(now);
        self.sweeps = self.sweeps.wrapping_add(1);
        if self.sweeps.is_multiple_of(TEMPLATES_EVERY) {
            self.kept.keep_templates(now);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn now(&self) -> Tick {
        Tick::from_instant(Instant::now(), self.epoch)
    }
}
