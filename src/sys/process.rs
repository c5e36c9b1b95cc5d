//! Resource usage of this process, from /proc/self (proc(5)).

use procfs::process::{LimitValue, Process, Stat};
use procfs::{ProcResult, WithCurrentSystemInfo};

/// The process as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// CPU time of all threads, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// File descriptors that may be open at most; `None` without a limit.
    pub open_files_max: Option<u64>,
    /// Start time in seconds since 1970; `None` if the boot time is unknown.
    pub started: Option<f64>,
}

impl ProcessUsage {
    /// The usage of this process now; `None` without /proc.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::read().ok()
    }

    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let started = procfs::boot_time_secs().ok();
        Ok(Self {
            cpu_seconds: cpu_seconds(&stat),
            resident_bytes: stat.rss_bytes().get(),
            virtual_bytes: stat.vsize,
            open_files: process.fd_count()? as u64,
            open_files_max: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(limit) => Some(limit),
                LimitValue::Unlimited => None,
            },
            started: started.map(|boot| boot as f64 + seconds(stat.starttime)),
        })
    }
}

/// CPU time of a thread of this process, user and system, in seconds; `None` once it has ended.
#[must_use]
pub fn thread_cpu_seconds(thread: i32) -> Option<f64> {
    let task = Process::myself().ok()?.task_from_tid(thread).ok()?;
    Some(cpu_seconds(&task.stat().ok()?))
}

fn cpu_seconds(stat: &Stat) -> f64 {
    seconds(stat.utime + stat.stime)
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    #[test]
    fn this_process_is_measured() {
        let before = ProcessUsage::now().unwrap();
        let _open = std::fs::File::open("/dev/null").unwrap();
        let thread = nix::unistd::gettid().as_raw();
        let start = Instant::now();
        while thread_cpu_seconds(thread).unwrap() < 0.05 {
            assert!(start.elapsed() < Duration::from_secs(60), "no CPU time is counted");
        }
        let now = ProcessUsage::now().unwrap();
        assert!(now.cpu_seconds >= 0.05 && now.cpu_seconds >= before.cpu_seconds, "{now:?}");
        assert!(now.resident_bytes > 1 << 20 && now.virtual_bytes > now.resident_bytes, "{now:?}");
        assert!(now.open_files > 2, "{now:?}");
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - now.started.unwrap();
        assert!((-5.0..3600.0).contains(&age), "{age} s");
        assert_eq!(thread_cpu_seconds(i32::MAX), None);
    }
}
