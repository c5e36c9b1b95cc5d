//! The running boot of the kernel, its monotonic clock, and this process within it.

use nix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

/// Number that the kernel draws at each boot (random(4), boot_id).
///
/// # Errors
/// /proc is not mounted.
pub fn boot_id() -> io::Result<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Time since the boot without suspends (CLOCK_MONOTONIC, clock_gettime(2)): the same for all processes.
#[must_use]
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from) // it exists everywhere
}

/// Start of this process in clock ticks since the boot (proc(5), starttime). With the process id it names one process.
///
/// # Errors
/// /proc is not mounted.
pub fn process_start() -> io::Result<u64> {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat());
    stat.map(|stat| stat.starttime).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_has_one_number_and_a_clock() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_ne!(boot_id().unwrap(), 0);
        let before = monotonic();
        assert!(before > Duration::ZERO && monotonic() >= before);
        let uptime: f64 =
            std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(monotonic().as_secs_f64() <= uptime + 1.0, "{uptime}");
    }

    #[test]
    fn a_process_starts_once_and_before_now() {
        let start = process_start().unwrap();
        assert_eq!(start, process_start().unwrap());
        let seconds = start as f64 / procfs::ticks_per_second() as f64;
        assert!(seconds <= monotonic().as_secs_f64() + 3600.0 * 24.0 * 365.0 && seconds > 0.0);
    }
}
