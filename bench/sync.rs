//! Cost of the journal for a worker, and of shadow table and connection sync for the keeper, for connections of five client frames.
//!
//! `cargo bench --bench sync`. Two workers on one core take turns, each with 100,000 new connections a second: one with a journal and the
//! shadow table, the other without. The keeper runs on the other core: it sleeps and gathers events as that of a director does.
//! Figures are medians of nine runs of two seconds; of the workers' rounds in a run, the slowest twentieth is left out.
#![allow(missing_docs)]

mod results;
mod traffic;

use core_affinity::CoreId;
use directrix::control::api::Stats;
use directrix::control::state::registry::Registry;
use directrix::flow::ConnState;
use directrix::forward::BATCH;
use directrix::model::{Timeouts, parse};
use directrix::sync::{
    GroupSet, MESSAGE_LEN_DEFAULT, SyncCounts, SyncDigest, SyncEnds, SyncFacts, SyncHost, SyncMachine,
    SyncRecord, SyncSettings,
};
use directrix::time::{Span, Tick};
use directrix::wire::Protocol;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use results::Results;
use std::hint::{black_box, spin_loop};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use traffic::{BenchKeeper, Lives, Pipeline, Site};

const RUNS: usize = 9;
const PER_MS: u32 = 100;
/// Time in which a batch of connections opens.
const ROUND: Duration = Duration::from_micros(1000 * BATCH as u64 / PER_MS as u64);
const RUN: usize = 2_000_000 / ROUND.as_micros() as usize;
/// A second sweep of all tables is under way by then.
const WARM_UP: usize = 2 * RUN;
/// Room for four seconds of connections.
const FLOWS: u32 = 4000 * PER_MS;
/// As in a director.
const GATHER: Duration = Duration::from_millis(2);
const SWEEP_MS: u16 = 250;
const SERVERS: u16 = 10;

/// The keeper's work beside the table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// Connections are not synced.
    Off,
    /// Records are written into messages.
    Messages,
    /// Each message is sent to a UDP socket of this host.
    Datagrams,
}

impl Telling {
    const ALL: [Self; 3] = [Self::Off, Self::Messages, Self::Datagrams];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "shadow table",
            Self::Messages => "shadow table, sync messages",
            Self::Datagrams => "shadow table, sync messages sent",
        }
    }
}

fn main() {
    let mut results = Results::new("sync");
    let families = ["192.0.2.", "2001:db8::"];
    let times: Vec<_> = (0..RUNS).map(|_| families.map(encoding)).collect();
    for (at, name) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let ns = median(times.iter().map(|run| run[at]));
        results.add(&format!("{name} record into a message"), "ns per record", ns);
        results.add(&format!("{name} records into messages"), "records per second", 1e9 / ns);
    }
    refresh(&mut results);
    for telling in Telling::ALL {
        paired(telling, &mut results);
    }
    results.write();
}

/// Time of the sync machine for a record, in ns.
fn encoding(family: &str) -> f64 {
    const RECORDS: u32 = 1_000_000;
    let (mut machine, mut host) = (machine(), Receiver::default());
    let address = |last: u8| format!("{family}{last}").parse::<IpAddr>().expect("an address");
    let record = |port: u32| {
        let ends = [(1, port as u16), (80, 80), (10, 80)].map(|(last, port)| (address(last), port).into());
        let ends = SyncEnds::new(ends[0], ends[1], ends[2]).expect("one family");
        SyncRecord::connection(Protocol::Tcp, ends, ConnState::Established, &Timeouts::default())
    };
    let records: Vec<_> = (0..1000).map(record).collect();
    let start = Instant::now();
    for _ in 0..RECORDS / 1000 {
        records.iter().for_each(|record| machine.push(black_box(record), Tick(0), &mut host));
    }
    let ns = start.elapsed().as_nanos() as f64 / f64::from(RECORDS);
    machine.flush(&mut host);
    assert_eq!(machine.sender().records(), u64::from(RECORDS));
    ns
}

/// Time of a worker for one connection that stands, in each minute: the sweeps with the refresh pass, less those without.
fn refresh(results: &mut Results) {
    const STANDING: u32 = 1_000_000;
    let site = || Site::new(SERVERS);
    let mut pair = [Pipeline::empty(STANDING, &site()).shadowed(), Pipeline::empty(STANDING, &site())];
    pair.iter_mut().for_each(|pipeline| pipeline.establish(STANDING));
    let mut minute = || {
        let mut times = [Duration::ZERO; 2];
        for _ in 0..60_000 / u32::from(SWEEP_MS) {
            for (pipeline, time) in pair.iter_mut().zip(&mut times) {
                pipeline.now = pipeline.now.after(Span::from_millis(SWEEP_MS.into()));
                let start = Instant::now();
                pipeline.sweep();
                *time += start.elapsed();
                pipeline.keep();
            }
        }
        let [with, without] = times.map(|time| time.as_nanos() as f64 / f64::from(STANDING));
        with - without
    };
    minute(); // its first sweep makes up for all time before
    let ns = median((0..RUNS).map(|_| minute()));
    results.add("worker's part of a connection that stands", "ns per minute", ns);
}

/// State that worker and keeper share.
#[derive(Default)]
struct Shared {
    /// Virtual time.
    now: AtomicU32,
    stop: AtomicBool,
    /// Processor time of the keeper in ns, after its last turn.
    keeper_ns: AtomicU64,
    /// Records sent.
    records: AtomicU64,
}

/// Figures of a run, each for one connection.
struct Run {
    with: f64,
    without: f64,
    keeper: f64,
    records: f64,
}

fn paired(telling: Telling, results: &mut Results) {
    let mut workers = Workers::new();
    let (keeper, shared) = (workers.with.0.take_keeper().expect("it is shadowed"), Shared::default());
    let journal = keeper.journal.clone();
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (runs, lost) = std::thread::scope(|scope| {
        let (shared, core) = (&shared, cores.last().copied());
        scope.spawn(move || KeeperThread::new(keeper, telling).run(shared, core));
        cores.first().map(|core| core_affinity::set_for_current(*core));
        let mut start = Instant::now();
        workers.rounds(WARM_UP, shared, &mut start);
        let lost_before = journal.lost();
        let runs: Vec<_> = (0..RUNS).map(|_| workers.run(shared, &mut start)).collect();
        shared.stop.store(true, Relaxed);
        (runs, journal.lost() - lost_before)
    });
    let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    let name = telling.name();
    let journal_ns = of(|run| run.with - run.without);
    results.add(&format!("{name}: worker without"), "ns per connection", of(|run| run.without));
    results.add(&format!("{name}: worker with"), "ns per connection", of(|run| run.with));
    results.add(&format!("{name}: worker's part"), "ns per connection", journal_ns);
    // 100,000 connections a second: 1,000 ns a connection are a tenth of a core.
    let share = journal_ns * f64::from(PER_MS) * 1000.0 / 1e7;
    results.add(&format!("{name}: worker's part of 100,000 a second"), "% of a core", share);
    results.add(&format!("{name}: keeper"), "ns per connection", of(|run| run.keeper));
    results.add(&format!("{name}: records"), "records per connection", of(|run| run.records));
    results.add(&format!("{name}: lost events"), "events", lost as f64);
    let opened = u64::from(workers.with.1.opened());
    // Of 500 connections, the refresh pass meets one while it is established.
    let most = 2 * opened + opened / 100;
    assert!(shared.records.load(Relaxed) <= most, "a short connection has two records");
}

/// The two workers with their connections.
struct Workers {
    with: (Pipeline, Lives),
    without: (Pipeline, Lives),
}

impl Workers {
    fn new() -> Self {
        let site = || Site::new(SERVERS);
        let with = (Pipeline::empty(FLOWS, &site()).shadowed(), Lives::new(PER_MS));
        Self { with, without: (Pipeline::empty(FLOWS, &site()), Lives::new(PER_MS)) }
    }

    /// Opens a batch of connections in each worker in every [`ROUND`] from `start` on; returns the times of the rounds in ns.
    fn rounds(&mut self, rounds: usize, shared: &Shared, start: &mut Instant) -> [Vec<u64>; 2] {
        let mut times = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
        for number in 0..rounds {
            while Instant::now() < *start {
                spin_loop();
            }
            // A round that was late is not made up for: its events would come all at once.
            *start = Instant::now().max(*start) + ROUND;
            let mut with = || {
                let time = round(&mut self.with);
                shared.now.store(self.with.0.now.0, Relaxed);
                time
            };
            let mut without = || round(&mut self.without);
            let (with, without) = if number % 2 == 0 {
                let with = with();
                (with, without())
            } else {
                let without = without();
                (with(), without)
            };
            times[0].push(with);
            times[1].push(without);
        }
        times
    }

    fn run(&mut self, shared: &Shared, start: &mut Instant) -> Run {
        let connections = (RUN * BATCH) as f64;
        let read = || [&shared.keeper_ns, &shared.records].map(|of| of.load(Relaxed));
        let before = read();
        let [with, without] = self.rounds(RUN, shared, start).map(|times| trimmed(times) / BATCH as f64);
        let after = read();
        let [keeper, records] = [0, 1].map(|at| (after[at] - before[at]) as f64 / connections);
        Run { with, without, keeper, records }
    }
}

/// Opens a batch of connections, and decides the frames that are due. Returns the time of decisions and sweep in ns.
fn round((pipeline, lives): &mut (Pipeline, Lives)) -> u64 {
    let mut time = Duration::ZERO;
    for (first, flags) in lives.round(pipeline) {
        pipeline.refill_with(first, flags);
        let start = Instant::now();
        pipeline.decide();
        time += start.elapsed();
    }
    assert!(!lives.all_open() || pipeline.forwarded() == BATCH, "every frame is forwarded");
    let start = Instant::now();
    pipeline.sweep();
    (time + start.elapsed()).as_nanos() as u64
}

/// The keeper as a thread.
struct KeeperThread {
    keeper: BenchKeeper,
    machine: SyncMachine,
    host: Receiver,
}

impl KeeperThread {
    fn new(mut keeper: BenchKeeper, telling: Telling) -> Self {
        if telling != Telling::Off {
            keeper.kept.open_book(Arc::new(registry().sync_names()), true);
        }
        let host = if telling == Telling::Datagrams { Receiver::bound() } else { Receiver::default() };
        Self { keeper, machine: machine(), host }
    }

    fn run(mut self, shared: &Shared, core: Option<CoreId>) {
        core.map(core_affinity::set_for_current);
        while !shared.stop.load(Relaxed) {
            self.sleep();
            let now = Tick(shared.now.load(Relaxed));
            self.keeper.keep(now);
            for record in self.keeper.kept.take_due() {
                self.machine.push(&record, now, &mut self.host);
            }
            self.machine.turn(now, &mut self.host);
            shared.records.store(self.machine.sender().records(), Relaxed);
            shared.keeper_ns.store(thread_time(), Relaxed);
        }
    }

    /// Sleeps until there is an event, and some milliseconds more in which others come.
    fn sleep(&self) {
        let sleeper = &self.keeper.sleeper;
        sleeper.announce();
        if !self.keeper.kept.has_event() {
            let mut entries = [PollFd::new(sleeper.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut entries, PollTimeout::from(SWEEP_MS));
        }
        sleeper.wake_up();
        std::thread::sleep(GATHER);
    }
}

/// End of the messages: dropped, or sent to a socket that nothing reads.
#[derive(Default)]
struct Receiver {
    sockets: Option<[UdpSocket; 2]>,
    digest: SyncDigest,
}

impl Receiver {
    fn bound() -> Self {
        let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("there is a loopback"));
        from.connect(to.local_addr().expect("it is bound")).expect("it is there");
        Self { sockets: Some([from, to]), ..Self::default() }
    }
}

impl SyncHost for Receiver {
    fn send(&mut self, message: &[u8]) {
        match &self.sockets {
            Some([from, _]) => drop(from.send(message)),
            None => drop(black_box(message)),
        }
    }

    fn accept(&mut self, _: IpAddr, _: &SyncRecord) {}

    fn digest(&self) -> &SyncDigest {
        &self.digest
    }

    fn counts(&self) -> SyncCounts {
        SyncCounts::default()
    }

    fn walk(&mut self, _: GroupSet, _: u64, _: usize, _: &mut Vec<SyncRecord>) -> Option<u64> {
        None
    }
}

fn machine() -> SyncMachine {
    let settings = SyncSettings {
        syncid: 7,
        len_max: MESSAGE_LEN_DEFAULT,
        sends: true,
        trust: None,
        hello_every: None,
        bulk_per_second: 1,
    };
    SyncMachine::new(settings, SyncFacts::default(), Tick(0))
}

/// The services of the bench, with the same numbers.
fn registry() -> Registry {
    let server = |last: u16| format!("[[service.server]]\naddress = \"192.168.195.{last}\"\n");
    let servers: String = (1..=SERVERS).map(server).collect();
    let text = format!(
        "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"tcp\"\naddress = \"192.168.195.150:80\"\n{servers}"
    );
    let mut registry = Registry::new(Vec::new());
    let rules = parse(Path::new("bench.toml"), &text).expect("it is right").rules();
    registry.apply(&rules, &|_| Stats::default());
    registry
}

/// Processor time of this thread in ns.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it");
    Duration::from(time).as_nanos() as u64
}

/// Mean without the slowest twentieth, which others interrupt.
fn trimmed(mut times: Vec<u64>) -> f64 {
    times.sort_unstable();
    times.truncate(times.len() * 19 / 20);
    times.iter().sum::<u64>() as f64 / times.len() as f64
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
