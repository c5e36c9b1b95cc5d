//! A testbed of veth pairs, one for each DUT.
//!
//! ```text
//!   namespace NAME-DUT-gen                  namespace NAME-DUT-fwd
//!   generator ──▶ gen0 ═══════ veth, one queue ═══════ eth0 ──▶ DUT
//!        sink ◀── gen0 ═════════════════════════════════ eth0 ◀────────┘
//! ```
//!
//! Real servers exist only as MAC addresses. A veth receives on the core that sends. Frames of the generator are
//! therefore received, steered and copied to AF_XDP and AF_PACKET sockets on the generator's core, and the sink
//! counts on the DUT's core. DUTs in the kernel consist of receive processing only; it is moved to the DUT's core by
//! threaded NAPI. Generator and DUT run at the highest priority, if permitted.
//!
//! Causes of loss, besides the drop reasons of directrix:
//!
//! - `interface_full`: eth0's queue of 256 frames was full, because its receiver was too slow.
//! - `return_full`: the queue of gen0 was full.
//! - `ring_full` of l2fwd: its receive or fill ring.
//! - `elsewhere`: the rest.

use super::cores::{Cores, CpuTimes, CycleCounters, SessionPriority, per_frame};
use super::dut::DutSpec;
use super::sink::Arrivals;
use super::trial::{Dut, Offered, Testbed, Traffic, TrialOutcome};
use super::veth_pair::VethPair;
use crate::forward::BATCH;
use crate::io::xdp::RING_LEN;
use crate::lab::Interrupt;
use crate::lab::runner::check_root;
use crate::lab::state::StateDirectory;
use crate::model::Diagnostic;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Description of the testbed for a report.
#[must_use]
pub fn setting() -> String {
    format!(
        "veth pairs of one queue in network namespaces, native XDP; AF_XDP in copy mode with rings of {RING_LEN}; \
         one worker, busy waiting, batches of {BATCH}"
    )
}

/// Programs that every run needs, independent of the DUTs.
pub const PROGRAMS: &[&str] = &["cat", "ethtool", "ip", "setsid", "sh", "tee"];

/// Time after resuming a DUT: pending timers and table sweeps finish.
const WARM_UP: Duration = Duration::from_millis(100);
/// Time without arrivals after which frames count as lost. Longer than directrix's interval of counting losses.
const QUIET: Duration = Duration::from_millis(100);
/// Time within which a worker reads the kernel's loss counters (every 10 ms).
const LOSSES_READ: Duration = Duration::from_millis(25);

/// Options of a veth testbed.
#[derive(Clone, Debug)]
pub struct TestbedOptions {
    /// Prefix of the namespaces and name of the state directory: see [`crate::lab::options::check_name`].
    pub name: String,
    /// The directrix binary.
    pub exe: PathBuf,
    /// Cores of generator, DUT and control threads.
    pub cores: Cores,
    /// Keys of the directors' `[director]` table, added or replaced, as TOML.
    pub director: Vec<(String, String)>,
    /// Ends the bench early on a signal.
    pub interrupt: Interrupt,
}

impl TestbedOptions {
    /// Options for a bench called `name` with the binary `exe`, on the first cores of this process.
    ///
    /// # Errors
    /// `InvalidArgument` if there is only one core.
    pub fn new(
        name: impl Into<String>,
        exe: impl Into<PathBuf>,
        interrupt: Interrupt,
    ) -> Result<Self, Diagnostic> {
        let cores = Cores::choose()?;
        Ok(Self { name: name.into(), exe: exe.into(), cores, director: Vec::new(), interrupt })
    }
}

/// A testbed of veth pairs, one for each DUT. Dropping it removes it.
pub struct VethTestbed {
    // Dropped before `directory`, which its processes use.
    veth_pairs: BTreeMap<Dut, VethPair>,
    directory: ScratchDirectory,
    options: TestbedOptions,
    selected: Option<Dut>,
    _priority: Option<SessionPriority>,
}

/// State directory that is removed on drop.
pub(super) struct ScratchDirectory(pub(super) StateDirectory);

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("directrix lab bench: {error}");
        }
    }
}

impl VethTestbed {
    /// Builds a veth pair for each of `duts` and starts the DUTs, suspended.
    ///
    /// # Errors
    /// `InvalidArgument` if the caller is not root, the name is taken, or the traffic is invalid;
    /// `System`; `Interrupted`. In each case everything is removed.
    pub fn up(options: TestbedOptions, duts: &[Dut], traffic: Traffic) -> Result<Self, Diagnostic> {
        check_root()?;
        let directory = StateDirectory::of(&options.name)?;
        directory.create()?;
        let (veth_pairs, directory) = (BTreeMap::new(), ScratchDirectory(directory));
        let _priority = SessionPriority::raise(std::process::id());
        let mut veth = Self { veth_pairs, directory, options, selected: None, _priority };
        for dut in duts {
            veth.options.interrupt.check()?;
            let veth_pair = veth.build(*dut, traffic)?;
            veth_pair.running.suspend();
            veth.veth_pairs.insert(*dut, veth_pair);
        }
        Ok(veth)
    }

    /// Frames at the sink of `dut` since the testbed was built.
    ///
    /// # Errors
    /// `InvalidArgument` if it was not brought up; `System`.
    pub fn arrivals(&self, dut: Dut) -> Result<Arrivals, Diagnostic> {
        self.veth_pairs.get(&dut).ok_or_else(|| absent(dut))?.sink.arrivals()
    }

    fn build(&self, dut: Dut, traffic: Traffic) -> Result<VethPair, Diagnostic> {
        let TestbedOptions { name, exe, cores, director: keys, interrupt } = &self.options;
        let (cores, directory) = (*cores, &self.directory.0.path(""));
        VethPair::up(&DutSpec { dut, traffic, cores, name, directory, exe, keys, interrupt })
    }

    /// Suspends the selected DUT and resumes `dut`.
    fn select(&mut self, dut: Dut) -> Result<&mut VethPair, Diagnostic> {
        self.options.interrupt.check()?;
        if self.selected != Some(dut) {
            if let Some(veth_pair) = self.selected.take().and_then(|before| self.veth_pairs.get(&before)) {
                veth_pair.running.suspend();
            }
            let veth_pair = self.veth_pairs.get(&dut).ok_or_else(|| absent(dut))?;
            veth_pair.running.resume();
            self.selected = Some(dut);
            self.options.interrupt.sleep(WARM_UP)?;
        }
        let veth_pair = self.veth_pairs.get_mut(&dut).ok_or_else(|| absent(dut))?;
        veth_pair.running.check()?;
        Ok(veth_pair)
    }
}

fn absent(dut: Dut) -> Diagnostic {
    Diagnostic::invalid_argument(format!("{} was not brought up for this bench", dut.name()))
}

impl Testbed for VethTestbed {
    fn prime(&mut self, dut: Dut) -> Result<(), Diagnostic> {
        let (core, interrupt) = (self.options.cores.generator, self.options.interrupt.clone());
        self.select(dut)?.prime(core, &interrupt)
    }

    fn trial(&mut self, dut: Dut, offered: Offered, duration: Duration) -> Result<TrialOutcome, Diagnostic> {
        let (cores, interrupt) = (self.options.cores, self.options.interrupt.clone());
        let veth_pair = self.select(dut)?;
        let (losses, arrivals) = (veth_pair.losses()?, veth_pair.sink.arrivals()?);
        let (ticks, cycles) = (CpuTimes::now()?, CycleCounters::start(cores.dut));
        let VethPair { generator, tester, .. } = veth_pair;
        let sent = tester.enter(Some(cores.generator), || generator.run(offered, duration, &interrupt))?;
        let (busy, counted) = (CpuTimes::now()?.busy_since(&ticks), cycles.and_then(CycleCounters::read));
        veth_pair.sink.wait_for(sent.frames, &arrivals, QUIET)?;
        interrupt.sleep(LOSSES_READ)?;
        veth_pair.running.check()?;
        let arrived = veth_pair.sink.arrivals()?.since(&arrivals);
        Ok(TrialOutcome {
            elapsed: sent.elapsed,
            sent: sent.frames,
            delivered: arrived.delivered,
            losses: causes_of_loss(
                &veth_pair.losses()?,
                &losses,
                sent.frames.saturating_sub(arrived.delivered),
            ),
            latency: arrived.latency(),
            cores: busy,
            counters: counted.and_then(|counted| per_frame(counted, arrived.delivered)),
        })
    }
}

/// Causes of `lost` frames: differences of the counts `now` and `before`, without zeros. Frames without a known cause
/// are `elsewhere`.
pub(super) fn causes_of_loss(
    now: &BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
    lost: u64,
) -> BTreeMap<String, u64> {
    let mut causes = now.clone();
    for (cause, count) in &mut causes {
        *count = count.saturating_sub(before.get(cause).copied().unwrap_or_default());
    }
    causes.retain(|_, count| *count > 0);
    let elsewhere = lost.saturating_sub(causes.values().sum());
    if elsewhere > 0 {
        causes.insert("elsewhere".into(), elsewhere);
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect()
    }

    #[test]
    fn losses_without_a_cause_are_elsewhere() {
        let before = counts(&[("ring_full", 5), ("checksum", 2)]);
        let now = counts(&[("ring_full", 8), ("checksum", 2), ("no_server", 1)]);
        assert_eq!(
            causes_of_loss(&now, &before, 10),
            counts(&[("ring_full", 3), ("no_server", 1), ("elsewhere", 6)])
        );
        assert_eq!(causes_of_loss(&now, &before, 4), counts(&[("ring_full", 3), ("no_server", 1)]));
        assert_eq!(causes_of_loss(&before, &before, 0), counts(&[]));
    }
}
