//! The veth pairs of a bench with everybody on them.
//!
//! ```text
//!   namespace NAME-DUT-gen                  namespace NAME-DUT-fwd
//!   generator ──▶ gen0 ═══════ veth, one queue ═══════ eth0 ──▶ DUT
//!        sink ◀── gen0 ═════════════════════════════════ eth0 ◀────────┘
//! ```
//!
//! Real servers exist by their MAC addresses only. A veth does a frame's receiving on the core that
//! sends it: what the generator sends is received, steered and copied to AF_XDP and AF_PACKET
//! sockets on the generator's core, and what a DUT sends is counted by the sink on
//! the DUT's. The DUTs in the kernel, which are nothing but receiving, get it moved to the
//! DUT's core (threaded NAPI). Both go before other work on their cores, where that is allowed.
//!
//! Causes of loss, beside directrix's drop reasons: `interface_full`, eth0's queue of 256
//! frames, whose receiver did not keep up; `return_full`, that of gen0; `ring_full` for the bare
//! forwarder, its receive or its fill ring; `elsewhere`, the rest.

use super::cores::{Cores, Cycles, Standing, Ticks, per_frame};
use super::dut::Plan;
use super::port_pair::PortPair;
use super::sink::Arrivals;
use super::trial::{Dut, Offered, Outcome, Testbed, Traffic};
use crate::forward::BATCH;
use crate::io::xdp::RING_LEN;
use crate::lab::runner::check_root;
use crate::lab::state::Directory;
use crate::lab::{Interrupt, LabError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The way of a frame, for the reader of a report.
#[must_use]
pub fn setting() -> String {
    format!(
        "veth pairs of one queue in network namespaces, native XDP; AF_XDP in copy mode with rings of {RING_LEN}; \
         one worker, busy waiting, batches of {BATCH}"
    )
}

/// Programs that pairs and DUTs are made with, whichever DUTs take part.
pub const PROGRAMS: &[&str] = &["cat", "ethtool", "ip", "setsid", "sh", "tee"];

/// After a DUT has been woken, so that what piled up meanwhile (timers, sweeps of its table) is over.
const WARM_UP: Duration = Duration::from_millis(100);
/// Frames still under way arrive within this. Longer than directrix takes to note its losses.
const QUIET: Duration = Duration::from_millis(100);
/// How often a director's worker notes what the kernel has lost, and some.
const NOTED: Duration = Duration::from_millis(25);

/// How a bench is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Prefix of the namespaces and name of the state directory: see [`crate::lab::options::check_name`].
    pub name: String,
    /// The directrix binary.
    pub exe: PathBuf,
    /// Who works where.
    pub cores: Cores,
    /// Keys of the directors' `[director]` table, added or replaced, as TOML.
    pub director: Vec<(String, String)>,
    /// What ends the bench early.
    pub interrupt: Interrupt,
}

impl Options {
    /// The bench called `name`, run by the binary `exe` on the first cores there are.
    ///
    /// # Errors
    /// [`LabError::Input`] if there is only one core.
    pub fn new(
        name: impl Into<String>,
        exe: impl Into<PathBuf>,
        interrupt: Interrupt,
    ) -> Result<Self, LabError> {
        let cores = Cores::choose()?;
        Ok(Self { name: name.into(), exe: exe.into(), cores, director: Vec::new(), interrupt })
    }
}

/// A testbed of veth pairs, one for each DUT. Dropping it takes everything down.
pub struct Veth {
    // Before `directory`, which its processes use.
    port_pairs: BTreeMap<Dut, PortPair>,
    directory: Scratch,
    options: Options,
    selected: Option<Dut>,
    _standing: Option<Standing>,
}

/// The state directory, removed in the end.
pub(super) struct Scratch(pub(super) Directory);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("directrix lab bench: {error}");
        }
    }
}

impl Veth {
    /// Builds a pair for each of `duts` and starts them; all are suspended then.
    ///
    /// # Errors
    /// [`LabError::Input`] if the caller is not root, the name is taken, or the traffic cannot be;
    /// [`LabError::Failed`]; [`LabError::Interrupted`]. Nothing is left behind.
    pub fn up(options: Options, duts: &[Dut], traffic: Traffic) -> Result<Self, LabError> {
        check_root()?;
        let directory = Directory::of(&options.name)?;
        directory.create()?;
        let (port_pairs, directory) = (BTreeMap::new(), Scratch(directory));
        let _standing = Standing::raise(std::process::id());
        let mut veth = Self { port_pairs, directory, options, selected: None, _standing };
        for dut in duts {
            veth.options.interrupt.check()?;
            let port_pair = veth.build(*dut, traffic)?;
            port_pair.forwarder.suspend();
            veth.port_pairs.insert(*dut, port_pair);
        }
        Ok(veth)
    }

    /// What the sink of `dut` has seen since the beginning.
    ///
    /// # Errors
    /// [`LabError::Input`] if it was not brought up; [`LabError::Failed`].
    pub fn arrivals(&self, dut: Dut) -> Result<Arrivals, LabError> {
        self.port_pairs.get(&dut).ok_or_else(|| absent(dut))?.sink.arrivals()
    }

    fn build(&self, dut: Dut, traffic: Traffic) -> Result<PortPair, LabError> {
        let Options { name, exe, cores, director: keys, interrupt } = &self.options;
        let (cores, directory) = (*cores, &self.directory.0.path(""));
        PortPair::up(&Plan { dut, traffic, cores, name, directory, exe, keys, interrupt })
    }

    /// Suspends whoever was on trial and wakes `dut`.
    fn select(&mut self, dut: Dut) -> Result<&mut PortPair, LabError> {
        self.options.interrupt.check()?;
        if self.selected != Some(dut) {
            if let Some(port_pair) = self.selected.take().and_then(|before| self.port_pairs.get(&before)) {
                port_pair.forwarder.suspend();
            }
            let port_pair = self.port_pairs.get(&dut).ok_or_else(|| absent(dut))?;
            port_pair.forwarder.resume();
            self.selected = Some(dut);
            self.options.interrupt.sleep(WARM_UP)?;
        }
        let port_pair = self.port_pairs.get_mut(&dut).ok_or_else(|| absent(dut))?;
        port_pair.forwarder.check()?;
        Ok(port_pair)
    }
}

fn absent(dut: Dut) -> LabError {
    LabError::Input(format!("{} was not brought up for this bench", dut.name()))
}

impl Testbed for Veth {
    fn prime(&mut self, dut: Dut) -> Result<(), LabError> {
        let (core, interrupt) = (self.options.cores.generator, self.options.interrupt.clone());
        self.select(dut)?.prime(core, &interrupt)
    }

    fn trial(&mut self, dut: Dut, offered: Offered, duration: Duration) -> Result<Outcome, LabError> {
        let (cores, interrupt) = (self.options.cores, self.options.interrupt.clone());
        let port_pair = self.select(dut)?;
        let (losses, arrivals) = (port_pair.losses()?, port_pair.sink.arrivals()?);
        let (ticks, cycles) = (Ticks::now()?, Cycles::start(cores.forwarder));
        let PortPair { generator, outside, .. } = port_pair;
        let sent = outside.enter(Some(cores.generator), || generator.run(offered, duration, &interrupt))?;
        let (busy, counted) = (Ticks::now()?.busy_since(&ticks), cycles.and_then(Cycles::count));
        port_pair.sink.settle(sent.frames, &arrivals, QUIET)?;
        interrupt.sleep(NOTED)?;
        port_pair.forwarder.check()?;
        let arrived = port_pair.sink.arrivals()?.since(&arrivals);
        Ok(Outcome {
            elapsed: sent.elapsed,
            sent: sent.frames,
            delivered: arrived.delivered,
            losses: accounted(&port_pair.losses()?, &losses, sent.frames.saturating_sub(arrived.delivered)),
            latency: arrived.latency(),
            cores: busy,
            counters: counted.and_then(|counted| per_frame(counted, arrived.delivered)),
        })
    }
}

/// The causes of `lost` frames, from counts `now` and `before`; those that occurred only.
pub(super) fn accounted(
    now: &BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
    lost: u64,
) -> BTreeMap<String, u64> {
    let since = |(cause, count): (&String, &u64)| {
        (cause.clone(), count.saturating_sub(before.get(cause).copied().unwrap_or_default()))
    };
    let mut causes: BTreeMap<String, u64> = now.iter().map(since).filter(|(_, count)| *count > 0).collect();
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
    fn what_nobody_accounts_for_is_lost_elsewhere() {
        let before = counts(&[("ring_full", 5), ("checksum", 2)]);
        let now = counts(&[("ring_full", 8), ("checksum", 2), ("no_server", 1)]);
        assert_eq!(
            accounted(&now, &before, 10),
            counts(&[("ring_full", 3), ("no_server", 1), ("elsewhere", 6)])
        );
        assert_eq!(accounted(&now, &before, 4), counts(&[("ring_full", 3), ("no_server", 1)]));
        assert_eq!(accounted(&before, &before, 0), counts(&[]));
    }
}
