//! Assignment of threads to cores, CPU time and cycle counters.

use super::trial::PerFrame;
use crate::lab::runner::execute;
use crate::lab::step::Step;
use crate::model::Diagnostic;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

/// Cores of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Core of the generator. A veth receives on the sender's core: for AF_XDP and AF_PACKET, all receive
    /// processing of the kernel.
    pub generator: usize,
    /// Core of the DUT, and of the sink, which a veth also runs on the sender's core.
    pub dut: usize,
    /// Core of the directors' control threads: a third one if available, otherwise the generator's.
    pub control: usize,
}

impl Cores {
    /// Chooses among the cores that this process may use.
    ///
    /// # Errors
    /// `InvalidArgument` if there is only one.
    pub fn choose() -> Result<Self, Diagnostic> {
        let ids: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        match ids[..] {
            [] | [_] => Err(Diagnostic::invalid_argument(
                "the bench needs two cores, one for the generator and one for the DUT",
            )),
            [generator, dut] => Ok(Self { generator, dut, control: generator }),
            [generator, dut, control, ..] => Ok(Self { generator, dut, control }),
        }
    }
}

/// Pins the calling thread to `core` with the highest priority. Child processes inherit both.
pub(super) fn pin(core: usize) -> Result<(), Diagnostic> {
    move_to(core, gettid().as_raw())?;
    raise_priority(gettid().as_raw());
    Ok(())
}

/// Moves a thread or a process's main thread to `core`.
pub(super) fn move_to(core: usize, thread: i32) -> Result<(), Diagnostic> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(thread), &set))
        .map_err(|error| Diagnostic::io(format!("cannot pin thread {thread} to core {core}"), &error.into()))
}

/// Sets a thread's nice value to -20: other work on its core would appear as loss. Without the privilege the
/// bench is noisier.
pub(super) fn raise_priority(thread: i32) {
    let _ = execute(&Step::new(&format!("renice -n -20 -p {thread}")));
}

/// Priority of a session (sched(7), "The autogroup feature"). Where the kernel groups processes by session,
/// nice values apply only within a session.
pub(super) struct SessionPriority {
    file: String,
    before: String,
}

impl SessionPriority {
    /// Raises the priority of the session of `process`, if the kernel has autogroups. Dropping the result
    /// restores it.
    pub(super) fn raise(process: u32) -> Option<Self> {
        let file = format!("/proc/{process}/autogroup");
        // "/autogroup-17 nice 0"
        let text = std::fs::read_to_string(&file).ok()?;
        let before = text.split_whitespace().last()?.to_owned();
        std::fs::write(&file, "-20").ok()?;
        Some(Self { file, before })
    }
}

impl Drop for SessionPriority {
    fn drop(&mut self) {
        // Fails once the session's last process has ended.
        let _ = std::fs::write(&self.file, &self.before);
    }
}

/// Busy and total clock ticks of each core since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTimes(Vec<[u64; 2]>);

impl CpuTimes {
    pub(super) fn now() -> Result<Self, Diagnostic> {
        let text =
            std::fs::read_to_string("/proc/stat").map_err(|error| Diagnostic::io("/proc/stat", &error))?;
        Ok(Self::parse(&text))
    }

    /// Parses the lines `cpuN` of `/proc/stat` (proc(5)): idle and iowait are the fourth and fifth field.
    /// Guest time, from the ninth on, is part of user time.
    fn parse(text: &str) -> Self {
        let lines =
            text.lines().filter_map(|line| line.strip_prefix("cpu")).filter(|line| !line.starts_with(' '));
        Self(lines.map(busy_and_total).collect())
    }

    /// Busy share of each core since `before`, 0.0..=1.0.
    pub(super) fn busy_since(&self, before: &Self) -> Vec<f64> {
        self.0.iter().zip(&before.0).map(|(now, before)| busy_share(*now, *before)).collect()
    }
}

/// Busy and total time in the fields after `cpu`, in ticks.
fn busy_and_total(line: &str) -> [u64; 2] {
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let total: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    [total - idle, total]
}

/// Busy share of the time between two readings.
fn busy_share(now: [u64; 2], before: [u64; 2]) -> f64 {
    let [busy, total] = [0, 1].map(|field| now[field].saturating_sub(before[field]) as f64);
    if total > 0.0 { busy / total } else { 0.0 }
}

/// Hardware counters of one core, kernel and user, all processes: cycles and instructions.
pub(super) struct CycleCounters {
    cycles: Counter,
    instructions: Counter,
}

impl CycleCounters {
    /// Starts counting; `None` if the machine has no such counters.
    pub(super) fn start(core: usize) -> Option<Self> {
        let counter = |event| {
            let mut counter =
                Builder::new(event).any_pid().one_cpu(core).include_kernel().include_hv().build().ok()?;
            counter.enable().ok()?;
            Some(counter)
        };
        Some(Self { cycles: counter(Hardware::CPU_CYCLES)?, instructions: counter(Hardware::INSTRUCTIONS)? })
    }

    /// Cycles and instructions since the start.
    pub(super) fn read(mut self) -> Option<[u64; 2]> {
        Some([self.cycles.read().ok()?, self.instructions.read().ok()?])
    }
}

/// Cycles and instructions for each of `frames` frames.
pub(super) fn per_frame([cycles, instructions]: [u64; 2], frames: u64) -> Option<PerFrame> {
    let each = |count: u64| count as f64 / frames as f64;
    (frames > 0 && cycles > 0).then(|| PerFrame { cycles: each(cycles), instructions: each(instructions) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_excludes_idle_and_iowait() {
        let before =
            CpuTimes::parse("cpu  9 9 9 9\ncpu0 10 0 10 100 5 0 5 0 7 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n");
        let after = CpuTimes::parse(
            "cpu  9 9 9 9\ncpu0 30 0 20 130 5 0 45 0 9 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n",
        );
        assert_eq!(before.0, [[25, 130], [6, 8]]);
        assert_eq!(after.busy_since(&before), [0.7, 0.0]);
    }
}
