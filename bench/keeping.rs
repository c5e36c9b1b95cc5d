//! The keeper's part beside a worker: shadow memory, journal and sweeps, in the thread of the bench or in one of its own.

use super::{SEED, Site};
use arc_swap::ArcSwap;
use directrix::control::keeper::keeping::{KeptConnections, LoadSources};
use directrix::forward::{Journal, ShadowAccess};
use directrix::schedule::Templates;
use directrix::shadow::{ShadowClock, ShadowMemory, ShadowPlace, ShadowSession, ShadowShape};
use directrix::sys::Sleeper;
use directrix::time::{SecondTick, Span, Tick};
use std::sync::Arc;

/// Interval of sweeps, as in a director.
const SWEEP: Span = Span::from_millis(250);

/// Keeper of one worker's connections.
pub struct BenchKeeper {
    pub kept: KeptConnections,
    pub journal: Journal,
    pub sleeper: Arc<Sleeper>,
    swept_at: Tick,
    _session: ShadowSession,
}

impl BenchKeeper {
    /// A keeper with room for `connections`, and its worker's access.
    pub fn new(site: &Site, connections: usize) -> (Self, ShadowAccess) {
        let shape = ShadowShape { compact: connections, wide: connections, templates: 64 };
        let memory = ShadowMemory::create(shape, &ShadowPlace::Anonymous).expect("there is memory");
        let parts = memory.split().expect("/proc is mounted");
        let (journals, sleeper) = Journal::of_workers(1).expect("there are descriptors");
        let (clock, journal) = (ShadowClock::new(Tick(0), second(Tick(0))), journals[0].clone());
        let access = ShadowAccess {
            worker: 0,
            journal: journal.clone(),
            compact: parts.compact.reader(),
            wide: parts.wide.reader(),
            clock: clock.clone(),
        };
        let sources = LoadSources {
            loads: Arc::clone(&site.loads),
            templates: Arc::new(Templates::new(1, 0, SEED)),
            snapshot: Arc::new(ArcSwap::new(Arc::clone(&site.snapshot))),
            services: Vec::new(),
        };
        let kept = KeptConnections::new((parts.compact, parts.wide), sources, journals, clock);
        (Self { kept, journal, sleeper, swept_at: Tick(0), _session: parts.session }, access)
    }

    /// Takes the events that wait, and sweeps if that is due.
    #[inline(never)]
    pub fn keep(&mut self, now: Tick) {
        self.kept.take_events(now);
        if now.since(self.swept_at) >= SWEEP {
            self.swept_at = now;
            self.kept.renew(now, second(now));
            self.kept.sweep(now);
        }
    }
}

/// Second of the shared clock; that of tick 0 is arbitrary.
fn second(now: Tick) -> SecondTick {
    SecondTick::new(1000 + now.0 / 1000)
}
