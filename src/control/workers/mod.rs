//! The worker threads: started, asked, stopped.

pub mod backend;
pub mod status;
pub mod steering_set;
pub mod watchdog;

use crate::flow::{Flow, FlowEntry, FlowTable};
use crate::forward::{Forwarder, Snapshot};
use crate::hash::Seed;
use crate::io::{PortInfo, Ports};
use crate::model::Wait;
use crate::schedule::{Loads, Templates};
use crate::stats::WorkerCounters;
use crate::worker::{ConnectionListing, ReplySender, Shared, Worker, WorkerRequest, latency_histogram};
use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;
use nix::unistd::gettid;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long control waits for a worker's answer: several of its naps.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a worker takes at most to let go of a way back when it has answered.
const LETTING_GO: Duration = Duration::from_millis(100);
/// Connections that are fetched from a worker at a time.
const LISTING: usize = 4096;
/// How long a table may take to be handed over: several naps of a worker.
const HANDING_OVER: Duration = Duration::from_millis(100);

/// Everything that all workers share, and how each is made.
pub struct WorkerSettings {
    /// Services and servers.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Loads of all servers.
    pub loads: Arc<Loads>,
    /// Where the clients of persistent services are bound to.
    pub templates: Arc<Templates>,
    /// Server places that counters need.
    pub servers: usize,
    /// Capacity of the connection tables of all workers together, and again of those for
    /// wildcard-port services.
    pub connections: usize,
    /// How workers wait.
    pub wait: Wait,
    /// Tick 0.
    pub epoch: Instant,
}

/// The running workers.
pub struct Workers {
    handles: Vec<WorkerHandle>,
    /// Capacity of a table.
    connections: usize,
    stop: Arc<AtomicBool>,
}

/// One running worker.
pub struct WorkerHandle {
    /// The core that it is pinned to; `None` if the system refused.
    pub core: Option<usize>,
    /// What it receives from.
    pub ports: Vec<PortInfo>,
    /// What it counts.
    pub counters: Arc<WorkerCounters>,
    /// Its thread's id, by gettid(2).
    pub thread_id: i32,
    line: WorkerClient,
    /// Whether it has a table for wildcard-port services.
    has_wildcard_table: bool,
    thread: JoinHandle<io::Result<()>>,
}

impl Workers {
    /// Starts one worker for each member of `ports`, each on a core of its own as far as they go.
    ///
    /// # Errors
    /// If the system gives no randomness or no thread.
    pub fn start<P: Ports + 'static>(
        ports: Vec<(P, Vec<PortInfo>)>,
        settings: &WorkerSettings,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let each = settings.connections.div_ceil(ports.len().max(1));
        let mut workers = Self { handles: Vec::new(), connections: each, stop };
        for (number, (ports, info)) in ports.into_iter().enumerate() {
            let core = cores.get(number % cores.len().max(1)).copied();
            let handle = WorkerHandle::start(number, ports, info, (settings, each, core, &workers.stop))?;
            workers.handles.push(handle);
        }
        Ok(workers)
    }

    /// Gives each worker the table for connections of wildcard-port services that it does not have yet:
    /// who has no such service pays nothing for it. To be called before the first one is published.
    ///
    /// # Errors
    /// If the system gives no randomness, or a worker takes nothing. What is missing is handed over by
    /// the next call.
    pub fn set_wildcard_table(&mut self) -> io::Result<()> {
        for handle in self.handles.iter_mut().filter(|handle| !handle.has_wildcard_table) {
            let table = FlowTable::new(self.connections, random_seed()?);
            let handed = handle.line.0.send_timeout(WorkerRequest::WildcardTable(table), HANDING_OVER);
            handed.map_err(|_| io::Error::other("a worker does not take a table; see the log"))?;
            handle.has_wildcard_table = true;
        }
        Ok(())
    }

    /// The workers, in order.
    #[must_use]
    pub fn handles(&self) -> &[WorkerHandle] {
        &self.handles
    }

    /// True while every worker runs.
    #[must_use]
    pub fn all_running(&self) -> bool {
        self.handles.iter().all(|handle| !handle.thread.is_finished())
    }

    /// Ends all workers and waits for them. Dropping the crew does the same.
    ///
    /// # Errors
    /// The first error that a worker ended with.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Relaxed);
        let ends: Vec<_> = self.handles.drain(..).map(|handle| handle.thread.join()).collect();
        let panicked = |_| Err(io::Error::other("a worker panicked"));
        ends.into_iter().try_for_each(|end| end.unwrap_or_else(panicked))
    }
}

impl Drop for Workers {
    /// A crew that could not be completed, or that nobody came to stop, leaves no worker behind.
    fn drop(&mut self) {
        let _ = self.end(); // whoever wants to know calls `stop`
    }
}

impl WorkerHandle {
    fn start<P: Ports + 'static>(
        number: usize,
        ports: P,
        info: Vec<PortInfo>,
        (settings, connections, core, stop): (
            &WorkerSettings,
            usize,
            Option<core_affinity::CoreId>,
            &Arc<AtomicBool>,
        ),
    ) -> io::Result<Self> {
        let counters = Arc::new(WorkerCounters::new(settings.servers, info.len()));
        let shared = Shared {
            snapshot: Arc::clone(&settings.snapshot),
            counters: Arc::clone(&counters),
            stop: Arc::clone(stop),
            epoch: settings.epoch,
        };
        let forwarder = Forwarder::new(
            connections,
            random_seed()?,
            Arc::clone(&settings.loads),
            Arc::clone(&settings.templates),
            Arc::clone(&counters),
        );
        let (requests, inbox) = bounded(1);
        let (pinned, is_pinned) = bounded(1);
        let wait = settings.wait;
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let is_pinned = core.is_some_and(core_affinity::set_for_current);
            let _ = pinned.send((is_pinned, gettid().as_raw())); // received below
            Worker::new(ports, forwarder, shared, inbox, wait).run()
        })?;
        let (pinned, thread_id) = is_pinned.recv().unwrap_or_default();
        let core = core.filter(|_| pinned).map(|core| core.id);
        tracing::debug!(worker = number, core, connections, ?wait, "worker started");
        let line = WorkerClient(requests);
        Ok(Self { core, ports: info, counters, thread_id, line, has_wildcard_table: false, thread })
    }

    /// A line to the worker that can be used from any thread.
    #[must_use]
    pub fn client(&self) -> WorkerClient {
        self.line.clone()
    }
}

/// Asks one worker what only it can tell. Its calls block for at most a few seconds.
#[derive(Clone)]
pub struct WorkerClient(Sender<WorkerRequest>);

/// Control's handle on an answer's way back.
struct ReplyGuard<T>(ReplySender<T>);

impl<T> ReplyGuard<T> {
    fn new() -> (Self, Receiver<T>) {
        let (reply, answers) = bounded(1);
        (Self(Arc::new(reply)), answers)
    }
}

impl<T> Drop for ReplyGuard<T> {
    /// Waits until the worker has let go, which it does right after it has answered.
    fn drop(&mut self) {
        let deadline = Instant::now() + LETTING_GO;
        while Arc::strong_count(&self.0) > 1 && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

impl WorkerClient {
    /// A line to the worker that receives `requests`.
    #[must_use]
    pub fn new(requests: Sender<WorkerRequest>) -> Self {
        Self(requests)
    }

    /// Calls `each` for every connection of this worker, a stretch of the table at a time, until
    /// it breaks off.
    ///
    /// Connections that open or end meanwhile may be missed. Returns false if the worker
    /// does not answer.
    pub fn connections(&self, mut each: impl FnMut(&FlowEntry<Flow>) -> ControlFlow<()>) -> bool {
        let (way_back, answers) = ReplyGuard::new();
        let (entries, reply) = (Vec::with_capacity(LISTING), Arc::clone(&way_back.0));
        let mut listing = ConnectionListing { from: Some(0), entries, reply };
        while listing.from.is_some() {
            listing.entries.clear();
            let Some(filled) = self.ask(WorkerRequest::Connections(listing), &answers) else { return false };
            if filled.entries.iter().try_for_each(&mut each).is_break() {
                break;
            }
            listing = filled;
        }
        true
    }

    /// The worker's latency histogram, in ns. `None` if it does not answer.
    #[must_use]
    pub fn latency(&self) -> Option<Box<Histogram<u64>>> {
        let (way_back, answers) = ReplyGuard::new();
        self.ask(WorkerRequest::Latency(Box::new(latency_histogram()), Arc::clone(&way_back.0)), &answers)
    }

    fn ask<T>(&self, request: WorkerRequest, answers: &Receiver<T>) -> Option<T> {
        self.0.send_timeout(request, PATIENCE).ok()?;
        answers.recv_timeout(PATIENCE).ok()
    }
}

/// A secret of its own for each table.
///
/// # Errors
/// If the system gives no randomness.
pub fn random_seed() -> io::Result<Seed> {
    let mut words = [0; 4];
    for word in &mut words {
        *word = getrandom::u64().map_err(io::Error::other)?;
    }
    Ok(Seed(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::{MemoryPorts, MemoryShape};

    fn workers(workers: usize) -> Workers {
        let settings = WorkerSettings {
            snapshot: Arc::default(),
            loads: Arc::new(Loads::new(0)),
            templates: Arc::new(Templates::new(0, 0, random_seed().unwrap())),
            servers: 0,
            connections: 1024,
            wait: Wait::Adaptive,
            epoch: Instant::now(),
        };
        let ports = (0..workers).map(|_| (MemoryPorts::new(MemoryShape::default()).0, Vec::new()));
        Workers::start(ports.collect(), &settings).unwrap()
    }

    #[test]
    fn no_worker_outlives_its_crew() {
        let workers = workers(2);
        assert!(workers.all_running());
        let counters: Vec<_> = workers.handles().iter().map(|handle| Arc::clone(&handle.counters)).collect();
        drop(workers);
        assert!(counters.iter().all(|counters| Arc::strong_count(counters) == 1));
    }
}
