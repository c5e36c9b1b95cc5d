//! The worker threads: start, requests, stop.

pub mod backend;
mod seed;
pub mod spare;
pub mod status;
pub mod steering_set;
pub mod watchdog;

use crate::flow::{Flow, FlowEntry, V4Key, WideKey};
use crate::forward::{Forwarder, Journal, ShadowAccess, Snapshot};
use crate::io::{HandedPorts, PortInfo, Ports};
use crate::model::Wait;
use crate::schedule::{Loads, Templates};
use crate::shadow::{ShadowClock, ShadowReader};
use crate::stats::WorkerCounters;
use crate::sys::Sleeper;
use crate::worker::hand_over::HandOver;
use crate::worker::refused::RefusedFrames;
use crate::worker::{ConnectionListing, ReplySender, Shared, Worker, WorkerRequest, latency_histogram};
use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;
use nix::unistd::gettid;
pub use seed::random_seed;
use spare::{SpareOf, SpareTables};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Timeout of a worker's reply: many times its longest sleep.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for a worker to drop its reply channel after the reply.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(100);
/// Connections per request of a listing.
const CHUNK: usize = 4096;
/// Timeout for a worker to take a table: several of its sleeps.
const TABLE_TIMEOUT: Duration = Duration::from_millis(100);

/// Shared state and parameters of all workers.
pub struct WorkerSettings {
    /// Services and servers.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Loads of all servers.
    pub loads: Arc<Loads>,
    /// Templates of persistent services.
    pub templates: Arc<Templates>,
    /// Number of server ids that counters cover.
    pub servers: usize,
    /// Capacity of the connection tables of all workers together, and again of those for
    /// wildcard-port services.
    pub connections: usize,
    /// Wait strategy.
    pub wait: Wait,
    /// Tick 0.
    pub epoch: Instant,
    /// The tables that keep the workers' connections, if any do.
    pub shadow: Option<ShadowTables>,
    /// Tables that are there already.
    pub spare: SpareTables,
}

/// The shadow tables, for look-ups.
#[derive(Clone)]
pub struct ShadowTables {
    /// Connections with compact keys.
    pub compact: ShadowReader<V4Key>,
    /// Connections with wide keys.
    pub wide: ShadowReader<WideKey>,
    /// Converts deadlines.
    pub clock: ShadowClock,
}

/// The journals of all workers, for the thread that reads them.
pub struct WorkerJournals {
    /// By worker.
    pub journals: Vec<Journal>,
    /// Woken by each event, if the thread sleeps.
    pub sleeper: Arc<Sleeper>,
}

/// The running workers.
pub struct Workers {
    handles: Vec<WorkerHandle>,
    /// Capacity of a table.
    connections: usize,
    stop: Arc<AtomicBool>,
    /// Wakes them.
    waker: Option<HandOver>,
    /// Frames that the control thread answers.
    pub refused: Arc<RefusedFrames>,
    /// Their journals, if there are shadow tables.
    pub journals: Option<WorkerJournals>,
    /// Tables of wide keys that are there already.
    spare: SpareOf<WideKey>,
}

/// Everything that is left of a worker. Dropping it frees memory and closes sockets, which takes milliseconds.
pub struct StoppedWorker {
    /// Sockets that another process can go on with.
    pub ports: Option<HandedPorts>,
    /// Tables, and sockets that are to be closed.
    _rest: Box<dyn Send>,
}

impl StoppedWorker {
    fn of<P: Ports + 'static>(worker: Worker<P>) -> Self {
        let (ports, forwarder) = worker.into_parts();
        match ports.into_handed() {
            Ok(ports) => Self { ports: Some(ports), _rest: Box::new(forwarder) },
            Err(ports) => Self { ports: None, _rest: Box::new((ports, forwarder)) },
        }
    }
}

/// One running worker.
pub struct WorkerHandle {
    /// Core that it is pinned to; `None` if the system refused.
    pub core: Option<usize>,
    /// Its (interface, queue) pairs.
    pub ports: Vec<PortInfo>,
    /// Its counters.
    pub counters: Arc<WorkerCounters>,
    /// Thread id of gettid(2).
    pub thread_id: i32,
    client: WorkerClient,
    /// True once it has the flow table of wildcard-port services.
    has_wide_table: bool,
    /// `None` once it was stopped.
    thread: Option<JoinHandle<io::Result<StoppedWorker>>>,
}

impl Workers {
    /// Starts one worker per element of `ports`, each pinned to a core of its own as far as there are cores.
    ///
    /// # Errors
    /// If the system gives no randomness, no eventfd or no thread.
    pub fn start<P: Ports + 'static>(
        ports: Vec<(P, Vec<PortInfo>)>,
        settings: &WorkerSettings,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let each = settings.connections.div_ceil(ports.len().max(1));
        let refused = Arc::new(RefusedFrames::new()?);
        let journals = match settings.shadow {
            Some(_) => Some(WorkerJournals::new(ports.len())?),
            None => None,
        };
        let mut workers = Self {
            handles: Vec::new(),
            connections: each,
            stop,
            waker: None,
            refused,
            journals,
            spare: settings.spare.wide.clone(),
        };
        let ring = HandOver::ring(ports.len())?;
        workers.waker = ring.first().cloned();
        for (number, ((ports, info), hand_over)) in ports.into_iter().zip(ring).enumerate() {
            let core = cores.get(number % cores.len().max(1)).copied();
            let handle = WorkerHandle::start(
                ports,
                info,
                WorkerStart {
                    number,
                    settings,
                    connections: each,
                    core,
                    stop: &workers.stop,
                    refused: &workers.refused,
                    hand_over,
                    shadow: workers.shadow_of(number, settings),
                },
            )?;
            workers.handles.push(handle);
        }
        Ok(workers)
    }

    /// Returns a worker's access to the shadow tables.
    fn shadow_of(&self, worker: usize, settings: &WorkerSettings) -> Option<ShadowAccess> {
        let journal = self.journals.as_ref()?.journals[worker].clone();
        let ShadowTables { compact, wide, clock } = settings.shadow.clone()?;
        Some(ShadowAccess { worker: worker as u8, journal, compact, wide, clock }) // fewer than 255
    }

    /// Sends each worker the flow table of IPv6 and wildcard-port services, if it has none yet.
    ///
    /// To be called before the first such service is published; without one, no table costs memory.
    ///
    /// # Errors
    /// If the system gives no randomness, or a worker is stalled. The next call sends the missing tables.
    pub fn set_wide_table(&mut self) -> io::Result<()> {
        for handle in self.handles.iter_mut().filter(|handle| !handle.has_wide_table) {
            let table = self.spare.take(self.connections)?;
            let sent = handle.client.0.send_timeout(WorkerRequest::WideTable(table), TABLE_TIMEOUT);
            sent.map_err(|_| io::Error::other("a worker does not take a table; see the log"))?;
            handle.has_wide_table = true;
        }
        Ok(())
    }

    /// Returns the workers, in order.
    #[must_use]
    pub fn handles(&self) -> &[WorkerHandle] {
        &self.handles
    }

    /// Returns true while every worker runs.
    #[must_use]
    pub fn all_running(&self) -> bool {
        self.handles.iter().all(|handle| handle.thread.as_ref().is_some_and(|thread| !thread.is_finished()))
    }

    /// Stops all workers and waits for them, as dropping does. Their counters stay.
    ///
    /// # Errors
    /// The first error of a worker.
    pub fn stop(&mut self) -> io::Result<Vec<StoppedWorker>> {
        self.stop.store(true, Relaxed);
        self.waker.iter().for_each(HandOver::wake_all);
        let threads = self.handles.iter_mut().filter_map(|handle| handle.thread.take());
        let ends: Vec<_> = threads.map(JoinHandle::join).collect();
        let end = |end: thread::Result<_>| end.map_err(|_| io::Error::other("a worker panicked"))?;
        ends.into_iter().map(end).collect()
    }
}

impl WorkerJournals {
    fn new(workers: usize) -> io::Result<Self> {
        let (journals, sleeper) = Journal::of_workers(workers)?;
        Ok(Self { journals, sleeper })
    }
}

impl Drop for Workers {
    /// Stops the workers, also after a start that failed.
    fn drop(&mut self) {
        let _ = self.stop(); // another call returns the error
    }
}

/// Parameters of one worker's start.
struct WorkerStart<'a> {
    number: usize,
    settings: &'a WorkerSettings,
    /// Capacity of its table.
    connections: usize,
    core: Option<core_affinity::CoreId>,
    stop: &'a Arc<AtomicBool>,
    refused: &'a Arc<RefusedFrames>,
    hand_over: HandOver,
    shadow: Option<ShadowAccess>,
}

impl WorkerHandle {
    fn start<P: Ports + 'static>(ports: P, info: Vec<PortInfo>, start: WorkerStart<'_>) -> io::Result<Self> {
        let WorkerStart { number, settings, connections, core, stop, refused, hand_over, shadow: access } =
            start;
        let counters = Arc::new(WorkerCounters::new(settings.servers, info.len()));
        let shared = Shared {
            snapshot: Arc::clone(&settings.snapshot),
            counters: Arc::clone(&counters),
            stop: Arc::clone(stop),
            epoch: settings.epoch,
            hand_over,
            refused: Arc::clone(refused),
        };
        let mut forwarder = Forwarder::with_table(
            settings.spare.compact.take(connections)?,
            random_seed()?,
            Arc::clone(&settings.loads),
            Arc::clone(&settings.templates),
            Arc::clone(&counters),
        );
        access.into_iter().for_each(|access| forwarder.set_shadow(access));
        let (requests, inbox) = bounded(1);
        let (pinned, is_pinned) = bounded(1);
        let wait = settings.wait;
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let is_pinned = core.is_some_and(core_affinity::set_for_current);
            let _ = pinned.send((is_pinned, gettid().as_raw())); // received below
            let mut worker = Worker::new(ports, forwarder, shared, inbox, wait);
            worker.run()?;
            Ok(StoppedWorker::of(worker))
        })?;
        let (pinned, thread_id) = is_pinned.recv().unwrap_or_default();
        let core = core.filter(|_| pinned).map(|core| core.id);
        tracing::debug!(worker = number, core, connections, ?wait, "worker started");
        let client = WorkerClient(requests);
        Ok(Self {
            core,
            ports: info,
            counters,
            thread_id,
            client,
            has_wide_table: false,
            thread: Some(thread),
        })
    }

    /// Returns a client of the worker, for any thread.
    #[must_use]
    pub fn client(&self) -> WorkerClient {
        self.client.clone()
    }
}

/// Sends requests to one worker. A call blocks for at most a few seconds.
#[derive(Clone)]
pub struct WorkerClient(Sender<WorkerRequest>);

/// Keeps a reply channel alive until the worker has dropped it, so that the worker never frees memory.
struct ReplyGuard<T>(ReplySender<T>);

impl<T> ReplyGuard<T> {
    fn new() -> (Self, Receiver<T>) {
        let (reply, replies) = bounded(1);
        (Self(Arc::new(reply)), replies)
    }
}

impl<T> Drop for ReplyGuard<T> {
    /// Waits until the worker has dropped its reference, right after its reply.
    fn drop(&mut self) {
        let deadline = Instant::now() + RELEASE_TIMEOUT;
        while Arc::strong_count(&self.0) > 1 && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

impl WorkerClient {
    /// Creates a client of the worker that receives `requests`.
    #[must_use]
    pub fn new(requests: Sender<WorkerRequest>) -> Self {
        Self(requests)
    }

    /// Calls `each` for every connection of this worker until it breaks; returns false if the worker does not answer.
    ///
    /// The table is read in chunks; connections that open or end meanwhile may be missing.
    pub fn connections(&self, mut each: impl FnMut(&FlowEntry<Flow>) -> ControlFlow<()>) -> bool {
        let (guard, replies) = ReplyGuard::new();
        let (entries, reply) = (Vec::with_capacity(CHUNK), Arc::clone(&guard.0));
        let mut listing = ConnectionListing { from: Some(0), entries, reply };
        while listing.from.is_some() {
            listing.entries.clear();
            let Some(filled) = self.send(WorkerRequest::Connections(listing), &replies) else { return false };
            if filled.entries.iter().try_for_each(&mut each).is_break() {
                break;
            }
            listing = filled;
        }
        true
    }

    /// Returns the worker's latency histogram in ns; `None` if it does not answer.
    #[must_use]
    pub fn latency(&self) -> Option<Box<Histogram<u64>>> {
        let (guard, replies) = ReplyGuard::new();
        self.send(WorkerRequest::Latency(Box::new(latency_histogram()), Arc::clone(&guard.0)), &replies)
    }

    fn send<T>(&self, request: WorkerRequest, replies: &Receiver<T>) -> Option<T> {
        self.0.send_timeout(request, REPLY_TIMEOUT).ok()?;
        replies.recv_timeout(REPLY_TIMEOUT).ok()
    }
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
            shadow: None,
            spare: SpareTables::default(),
        };
        let ports = (0..workers).map(|_| (MemoryPorts::new(MemoryShape::default()).0, Vec::new()));
        Workers::start(ports.collect(), &settings).unwrap()
    }

    #[test]
    fn drop_stops_every_worker() {
        let workers = workers(2);
        assert!(workers.all_running());
        let counters: Vec<_> = workers.handles().iter().map(|handle| Arc::clone(&handle.counters)).collect();
        drop(workers);
        assert!(counters.iter().all(|counters| Arc::strong_count(counters) == 1));
    }
}
