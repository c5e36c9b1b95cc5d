//! One DUT on the interface for a while.

use super::counters::InterfaceCounters;
use super::interface::DutInterface;
use super::plan::DevicePlan;
use crate::bench_wire::cores::{Cores, CpuTimes};
use crate::bench_wire::dut::{self, DutSetup, RunningDut};
use crate::bench_wire::namespace::Namespace;
use crate::bench_wire::port_pair::statistics;
use crate::bench_wire::testbed::{ScratchDirectory, causes_of_loss};
use crate::bench_wire::trial::{Dut, Traffic, TrafficKind};
use crate::lab::state::Directory;
use crate::lab::{Console, Interrupt, LabError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long frames may take: a person may start the generator now, and a device may take seconds until
/// its link is up again after an XDP program has come or gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// From then on the user is told.
const HURRY: Duration = Duration::from_secs(1);
/// A generator is at work if so many frames arrive ...
const SOME: u64 = 20;
/// ... within this. What else there is on a network, is less.
const SLICE: Duration = Duration::from_millis(100);
/// From the first frames to the first that count.
const WARM_UP: Duration = Duration::from_millis(200);

/// What came out of one trial.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceOutcome {
    /// How long it was counted.
    pub elapsed: Duration,
    /// Frames that the interface received.
    pub received: u64,
    /// Frames that it sent.
    pub forwarded: u64,
    /// Received, but not sent, by cause: as in [`super::super::trial::TrialOutcome::losses`].
    pub losses: BTreeMap<String, u64>,
    /// Not even received: [`InterfaceCounters::before`].
    pub before: BTreeMap<String, u64>,
    /// Busy share of each core, 0.0..=1.0, by core number.
    pub cores: Vec<f64>,
}

impl DeviceOutcome {
    /// Frames a second that the interface received.
    #[must_use]
    pub fn received_rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    /// Frames a second that it sent.
    #[must_use]
    pub fn forwarded_rate(&self) -> f64 {
        self.forwarded as f64 / self.elapsed.as_secs_f64()
    }
}

/// What trials need beside the interface. Dropping it removes the DUTs' files.
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
    /// For trials by `plan` with DUTs of the binary `exe`.
    pub(super) fn new(plan: &DevicePlan, exe: PathBuf, interrupt: Interrupt) -> Result<Self, LabError> {
        let cores = Cores::choose()?;
        let directory = Directory::of(&format!("bench{}", std::process::id()))?;
        directory.create()?;
        // Frames are the generator's own affair; DUTs know how many flows and servers there are.
        let (kind, frame_len) = (TrafficKind::default(), 60);
        let traffic = Traffic { flows: plan.flows, servers: plan.servers, frame_len, kind };
        let duration = Duration::from_secs_f64(plan.seconds);
        let (directory, namespace) = (ScratchDirectory(directory), Namespace::here());
        Ok(Self { directory, namespace, cores, exe, interrupt, traffic, duration })
    }

    /// Where DUTs work that are processes.
    pub(super) fn core(&self) -> usize {
        self.cores.dut
    }

    /// Starts `dut`, waits for frames, counts, and ends it.
    ///
    /// # Errors
    /// [`LabError`] if it does not work, nobody sends, or a signal has arrived.
    pub(super) fn trial(
        &self,
        dut: Dut,
        arm: &DutInterface,
        console: &Console,
    ) -> Result<DeviceOutcome, LabError> {
        self.interrupt.check()?;
        let mut forwarder = self.start(dut, arm)?;
        self.wait_for_frames(&arm.interface.name, console)?;
        self.interrupt.sleep(WARM_UP)?;
        let before = self.look(dut, &*forwarder, arm)?;
        self.interrupt.sleep(self.duration)?;
        let now = self.look(dut, &*forwarder, arm)?;
        forwarder.check()?;
        let forwarded = now.since(&before);
        if forwarded.received == 0 {
            return Err(silence(&arm.interface.name, "in the middle of a trial"));
        }
        Ok(forwarded)
    }

    fn start(&self, dut: Dut, arm: &DutInterface) -> Result<Box<dyn RunningDut>, LabError> {
        let Self { cores, traffic, exe, interrupt, .. } = self;
        let directory = &self.directory.0.path("");
        let (cores, traffic, keys, name) = (*cores, *traffic, &[], "");
        let spec = dut::DutSpec { dut, traffic, cores, name, directory, exe, keys, interrupt };
        let (interface, station) = (arm.interface.clone(), Some(arm.station));
        dut::start(&DutSetup { spec: &spec, namespace: &self.namespace, interface, station })
    }

    /// Tells `console` if it takes long.
    fn wait_for_frames(&self, interface: &str, console: &Console) -> Result<(), LabError> {
        let arriving = || {
            let before = InterfaceCounters::read(interface)?.received;
            std::thread::sleep(SLICE);
            let now = InterfaceCounters::read(interface)?.received;
            Ok((now.saturating_sub(before) >= SOME).then_some(()))
        };
        if self.interrupt.wait(HURRY, arriving)?.is_some() {
            return Ok(());
        }
        console.say(&format!("waiting for frames at {interface}: start the generator"));
        let late = || silence(interface, &format!("within {} s", PATIENCE.as_secs()));
        self.interrupt.wait(PATIENCE, arriving)?.ok_or_else(late)
    }

    fn look(&self, dut: Dut, forwarder: &dyn RunningDut, arm: &DutInterface) -> Result<Moment, LabError> {
        let name = &arm.interface.name;
        let (counters, at, ticks) = (InterfaceCounters::read(name)?, Instant::now(), CpuTimes::now()?);
        let mut losses = forwarder.losses()?;
        if dut == Dut::L2fwd {
            // Its sockets tell nobody; a veth's driver does.
            let full = statistics(&self.namespace, name)?.remove("rx_queue_0_drops");
            losses.insert("ring_full".into(), full.unwrap_or_default());
        }
        losses.extend(counters.after.clone());
        Ok(Moment { at, counters, ticks, losses })
    }
}

/// All counts at one moment.
struct Moment {
    at: Instant,
    counters: InterfaceCounters,
    ticks: CpuTimes,
    losses: BTreeMap<String, u64>,
}

impl Moment {
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

fn silence(interface: &str, when: &str) -> LabError {
    LabError::Failed(format!(
        "no traffic: hardly a frame has arrived at {interface} {when}; start a generator on another machine \
         that sends to this interface's MAC address without a pause"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: Instant, [received, sent, full, missed]: [u64; 4]) -> Moment {
        let before = BTreeMap::from([("missed".to_owned(), missed)]);
        let counters = InterfaceCounters { received, sent, before, after: BTreeMap::new() };
        let losses = BTreeMap::from([("ring_full".to_owned(), full)]);
        Moment { at, counters, ticks: CpuTimes::default(), losses }
    }

    #[test]
    fn what_was_received_was_sent_or_lost() {
        let start = Instant::now();
        let (then, now) = (moment(start, [100, 50, 7, 3]), moment(start, [1100, 850, 157, 8]));
        let now = Moment { at: start + Duration::from_millis(500), ..now };
        let found = now.since(&then);
        assert_eq!((found.received, found.forwarded), (1000, 800));
        assert!((found.received_rate() - 2000.0).abs() < 1e-6, "{found:?}");
        assert!((found.forwarded_rate() - 1600.0).abs() < 1e-6, "{found:?}");
        let losses = [("ring_full".to_owned(), 150), ("elsewhere".to_owned(), 50)];
        assert_eq!(found.losses, losses.into());
        assert_eq!(found.before, [("missed".to_owned(), 5)].into());
    }
}
