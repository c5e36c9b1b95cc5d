//! Who works on which core, and how busy cores are.

use super::trial::PerFrame;
use crate::lab::LabError;
use crate::lab::runner::execute;
use crate::lab::topology::Step;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

/// Who works where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The generator, and what a veth does in its sender's name: for the AF_XDP and AF_PACKET
    /// DUTs that is all of the kernel's receiving.
    pub generator: usize,
    /// The DUT, and with it the sink, which a veth runs in its sender's name too.
    pub forwarder: usize,
    /// The control threads of directors: a third core if there is one, else the generator's.
    pub control: usize,
}

impl Cores {
    /// Chooses among the cores that this process may use.
    ///
    /// # Errors
    /// [`LabError::Input`] if there is only one.
    pub fn choose() -> Result<Self, LabError> {
        let ids: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        match ids[..] {
            [] | [_] => Err(LabError::Input(
                "the bench needs two cores, one for the generator and one for the DUT".into(),
            )),
            [generator, forwarder] => Ok(Self { generator, forwarder, control: generator }),
            [generator, forwarder, control, ..] => Ok(Self { generator, forwarder, control }),
        }
    }
}

/// Pins the calling thread to `core`, where it goes before others; so do the processes that it starts.
pub(super) fn seat(core: usize) -> Result<(), LabError> {
    move_to(core, gettid().as_raw())?;
    prefer(gettid().as_raw());
    Ok(())
}

/// Moves a thread or a process's main thread to `core`.
pub(super) fn move_to(core: usize, thread: i32) -> Result<(), LabError> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(thread), &set))
        .map_err(|error| LabError::io(format!("cannot pin thread {thread} to core {core}"), &error.into()))
}

/// Lets a thread go before others on its core: what runs there beside the bench would show as loss.
/// Where that is not allowed, the bench is noisier.
pub(super) fn prefer(thread: i32) {
    let _ = execute(&Step::new(&format!("renice -n -20 -p {thread}")));
}

/// The standing of a session among others (sched(7), "The autogroup feature"): where the kernel groups
/// processes by session, priorities count within a session only.
pub(super) struct Standing {
    file: String,
    before: String,
}

impl Standing {
    /// Raises that of the session that `process` belongs to, where there is such a thing. Dropping the
    /// result gives it its old one back.
    pub(super) fn raise(process: u32) -> Option<Self> {
        let file = format!("/proc/{process}/autogroup");
        // "/autogroup-17 nice 0"
        let text = std::fs::read_to_string(&file).ok()?;
        let before = text.split_whitespace().last()?.to_owned();
        std::fs::write(&file, "-20").ok()?;
        Some(Self { file, before })
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // With the session's last process it is gone.
        let _ = std::fs::write(&self.file, &self.before);
    }
}

/// Clock ticks of each core since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks(Vec<[u64; 2]>);

impl Ticks {
    pub(super) fn now() -> Result<Self, LabError> {
        let text =
            std::fs::read_to_string("/proc/stat").map_err(|error| LabError::io("/proc/stat", &error))?;
        Ok(Self::read(&text))
    }

    /// The lines `cpuN` of proc(5)'s `stat`: idle and iowait are the fourth and fifth field, and guest
    /// time, from the ninth on, is in user time already.
    fn read(text: &str) -> Self {
        let lines =
            text.lines().filter_map(|line| line.strip_prefix("cpu")).filter(|line| !line.starts_with(' '));
        let core = |line: &str| {
            let fields: Vec<u64> =
                line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
            let total: u64 = fields.iter().sum();
            let idle: u64 = fields.iter().skip(3).take(2).sum();
            [total - idle, total]
        };
        Self(lines.map(core).collect())
    }

    /// Busy share of each core since `before`, 0.0..=1.0.
    pub(super) fn busy_since(&self, before: &Self) -> Vec<f64> {
        let share = |(now, before): (&[u64; 2], &[u64; 2])| {
            let [busy, total] = [0, 1].map(|field| now[field].saturating_sub(before[field]) as f64);
            if total > 0.0 { busy / total } else { 0.0 }
        };
        self.0.iter().zip(&before.0).map(share).collect()
    }
}

/// Cycles and instructions of one core, kernel and user, whoever runs there.
pub(super) struct Cycles {
    cycles: Counter,
    instructions: Counter,
}

impl Cycles {
    /// Starts to count; `None` where the machine does not.
    pub(super) fn start(core: usize) -> Option<Self> {
        let counter = |event| {
            let mut counter =
                Builder::new(event).any_pid().one_cpu(core).include_kernel().include_hv().build().ok()?;
            counter.enable().ok()?;
            Some(counter)
        };
        Some(Self { cycles: counter(Hardware::CPU_CYCLES)?, instructions: counter(Hardware::INSTRUCTIONS)? })
    }

    /// What has been counted so far: cycles, instructions.
    pub(super) fn count(mut self) -> Option<[u64; 2]> {
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
    fn busy_is_what_is_neither_idle_nor_waiting() {
        let before =
            Ticks::read("cpu  9 9 9 9\ncpu0 10 0 10 100 5 0 5 0 7 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n");
        let after =
            Ticks::read("cpu  9 9 9 9\ncpu0 30 0 20 130 5 0 45 0 9 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n");
        assert_eq!(before.0, [[25, 130], [6, 8]]);
        assert_eq!(after.busy_since(&before), [0.7, 0.0]);
    }
}
