//! One trial with an external generator.

use super::counters::InterfaceCounters;
use super::interface::DutInterface;
use super::plan::DevicePlan;
use crate::bench_wire::cores::{Cores, CpuTimes};
use crate::bench_wire::dut::{self, DutSetup, RunningDut};
use crate::bench_wire::namespace::Namespace;
use crate::bench_wire::testbed::{ScratchDirectory, causes_of_loss};
use crate::bench_wire::trial::{Dut, Traffic, TrafficKind};
use crate::bench_wire::veth_pair::statistics;
use crate::lab::state::StateDirectory;
use crate::lab::{Console, Interrupt};
use crate::model::Diagnostic;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time limit for the first frames. The user may have to start the generator, and a NIC may need seconds for its link
/// after an XDP program was attached or detached.
const FRAMES_WITHIN: Duration = Duration::from_secs(20);
/// Time without frames after which the console asks for the generator.
const NOTICE_AFTER: Duration = Duration::from_secs(1);
/// Frames within [`SLICE`] that prove a running generator. Other traffic on a network is less.
const RUNNING_FRAMES: u64 = 20;
/// Interval of counting frames before a trial.
const SLICE: Duration = Duration::from_millis(100);
/// Time from the first frames to the start of counting.
const WARM_UP: Duration = Duration::from_millis(200);

/// Outcome of one trial.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceOutcome {
    /// Duration of counting.
    pub elapsed: Duration,
    /// Frames received by the interface.
    pub received: u64,
    /// Frames sent by the interface.
    pub forwarded: u64,
    /// Frames received but not sent, by cause: as in [`super::super::trial::TrialOutcome::losses`].
    pub losses: BTreeMap<String, u64>,
    /// Frames not received: [`InterfaceCounters::before`].
    pub before: BTreeMap<String, u64>,
    /// Busy share of each core, 0.0..=1.0, by core number.
    pub cores: Vec<f64>,
}

impl DeviceOutcome {
    /// Received frames a second.
    #[must_use]
    pub fn received_rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    /// Sent frames a second.
    #[must_use]
    pub fn forwarded_rate(&self) -> f64 {
        self.forwarded as f64 / self.elapsed.as_secs_f64()
    }
}

/// Environment of the trials, without the interface. Dropping it removes the DUTs' files.
pub(super) struct DeviceTestbed {
    directory: ScratchDirectory,
    namespace: Namespace,
    cores: Cores,
    exe: PathBuf,
    interrupt: Interrupt,
    traffic: Traffic,
    duration: Duration,
}

impl DeviceTestbed {
    /// Prepares trials by `plan`, with the directrix binary `exe`.
    pub(super) fn new(plan: &DevicePlan, exe: PathBuf, interrupt: Interrupt) -> Result<Self, Diagnostic> {
        let cores = Cores::choose()?;
        let directory = StateDirectory::of(&format!("bench{}", std::process::id()))?;
        directory.create()?;
        // DUTs use the numbers of flows and servers only; the external generator decides on the frames.
        let (kind, frame_len) = (TrafficKind::default(), 60);
        let traffic = Traffic { flows: plan.flows, servers: plan.servers, frame_len, kind };
        let duration = Duration::from_secs_f64(plan.seconds);
        let (directory, namespace) = (ScratchDirectory(directory), Namespace::here());
        Ok(Self { directory, namespace, cores, exe, interrupt, traffic, duration })
    }

    /// Core of DUTs that are processes.
    pub(super) fn core(&self) -> usize {
        self.cores.dut
    }

    /// Starts `dut`, waits for frames, counts, and ends the DUT.
    ///
    /// # Errors
    /// [`Diagnostic`] if the DUT fails, no frames arrive, or a signal has arrived.
    pub(super) fn trial(
        &self,
        dut: Dut,
        interface: &DutInterface,
        console: &Console,
    ) -> Result<DeviceOutcome, Diagnostic> {
        self.interrupt.check()?;
        let mut running = self.start(dut, interface)?;
        self.wait_for_frames(&interface.interface.name, console)?;
        self.interrupt.sleep(WARM_UP)?;
        let before = self.read(dut, &*running, interface)?;
        self.interrupt.sleep(self.duration)?;
        let now = self.read(dut, &*running, interface)?;
        running.check()?;
        let outcome = now.since(&before);
        if outcome.received == 0 {
            return Err(no_traffic(&interface.interface.name, "during a trial"));
        }
        Ok(outcome)
    }

    fn start(&self, dut: Dut, interface: &DutInterface) -> Result<Box<dyn RunningDut>, Diagnostic> {
        let Self { cores, traffic, exe, interrupt, .. } = self;
        let directory = &self.directory.0.path("");
        let (cores, traffic, keys, name) = (*cores, *traffic, &[], "");
        let spec = dut::DutSpec { dut, traffic, cores, name, directory, exe, keys, interrupt };
        let station = Some(interface.station);
        let interface = interface.interface.clone();
        dut::start(&DutSetup { spec: &spec, namespace: &self.namespace, interface, station })
    }

    /// Waits for a running generator. Prints a notice to `console` after [`NOTICE_AFTER`].
    fn wait_for_frames(&self, interface: &str, console: &Console) -> Result<(), Diagnostic> {
        let arriving = || {
            let before = InterfaceCounters::read(interface)?.received;
            std::thread::sleep(SLICE);
            let now = InterfaceCounters::read(interface)?.received;
            Ok((now.saturating_sub(before) >= RUNNING_FRAMES).then_some(()))
        };
        if self.interrupt.wait(NOTICE_AFTER, arriving)?.is_some() {
            return Ok(());
        }
        console.print(&format!("waiting for frames at {interface}: start the generator"));
        let arrived = self.interrupt.wait(FRAMES_WITHIN, arriving)?;
        arrived.ok_or_else(|| no_traffic(interface, &format!("within {} s", FRAMES_WITHIN.as_secs())))
    }

    fn read(
        &self,
        dut: Dut,
        running: &dyn RunningDut,
        interface: &DutInterface,
    ) -> Result<InterfaceReading, Diagnostic> {
        let name = &interface.interface.name;
        let (counters, at, ticks) = (InterfaceCounters::read(name)?, Instant::now(), CpuTimes::now()?);
        let mut losses = running.losses()?;
        if dut == Dut::L2fwd {
            // l2fwd does not count; a veth's driver does.
            let full = statistics(&self.namespace, name)?.remove("rx_queue_0_drops");
            losses.insert("ring_full".into(), full.unwrap_or_default());
        }
        losses.extend(counters.after.clone());
        Ok(InterfaceReading { at, counters, ticks, losses })
    }
}

/// All counts at one moment.
struct InterfaceReading {
    at: Instant,
    counters: InterfaceCounters,
    ticks: CpuTimes,
    losses: BTreeMap<String, u64>,
}

impl InterfaceReading {
    fn since(&self, before: &Self) -> DeviceOutcome {
        let (now, then) = (&self.counters, &before.counters);
        let received = now.received.saturating_sub(then.received);
        let forwarded = now.sent.saturating_sub(then.sent);
        DeviceOutcome {
            elapsed: self.at - before.at,
            received,
            forwarded,
            losses: causes_of_loss(&self.losses, &before.losses, received.saturating_sub(forwarded)),
            before: causes_of_loss(&now.before, &then.before, 0),
            cores: self.ticks.busy_since(&before.ticks),
        }
    }
}

fn no_traffic(interface: &str, when: &str) -> Diagnostic {
    Diagnostic::system("no traffic")
        .cause(format!("too few frames have arrived at {interface} {when}"))
        .remedy(
            "start a generator on another machine that sends continuously to this interface's MAC address",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, [received, sent, full, missed]: [u64; 4]) -> InterfaceReading {
        let before = BTreeMap::from([("missed".to_owned(), missed)]);
        let counters = InterfaceCounters { received, sent, before, after: BTreeMap::new() };
        let losses = BTreeMap::from([("ring_full".to_owned(), full)]);
        InterfaceReading { at, counters, ticks: CpuTimes::default(), losses }
    }

    #[test]
    fn received_frames_are_sent_or_lost() {
        let start = Instant::now();
        let (then, now) = (reading(start, [100, 50, 7, 3]), reading(start, [1100, 850, 157, 8]));
        let now = InterfaceReading { at: start + Duration::from_millis(500), ..now };
        let found = now.since(&then);
        assert_eq!((found.received, found.forwarded), (1000, 800));
        assert!((found.received_rate() - 2000.0).abs() < 1e-6, "{found:?}");
        assert!((found.forwarded_rate() - 1600.0).abs() < 1e-6, "{found:?}");
        let losses = [("ring_full".to_owned(), 150), ("elsewhere".to_owned(), 50)];
        assert_eq!(found.losses, losses.into());
        assert_eq!(found.before, [("missed".to_owned(), 5)].into());
    }
}
