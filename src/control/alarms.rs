//! Losses that tell of a wrong set-up, not of load: logged with what to do about them.

use super::crew::Crew;
use crate::stats::DropReason;
use std::time::{Duration, Instant};

/// Time between two lines about the same reason.
const REPEAT: Duration = Duration::from_secs(600);

/// A drop reason that is logged when it counts.
struct Alarm {
    reason: DropReason,
    /// Number of frames that have been logged.
    told: u64,
    /// When the last line was written.
    at: Option<Instant>,
}

/// Reads the drop counters of all workers once a turn of the control loop.
pub(super) struct Alarms {
    /// Name of the interface that frames arrive on.
    interface: String,
    alarms: Vec<Alarm>,
}

impl Alarms {
    /// Alarms for frames that arrive on the interface called `interface`.
    pub(super) fn new(interface: &str) -> Self {
        let reasons = DropReason::ALL.iter().filter(|reason| remedy(**reason, interface).is_some());
        let alarms = reasons.map(|reason| Alarm { reason: *reason, told: 0, at: None }).collect();
        Self { interface: interface.to_owned(), alarms }
    }

    /// Logs every reason that has counted frames since its last line, at most every ten minutes.
    pub(super) fn look(&mut self, crew: &Crew, now: Instant) {
        let total = |reason: DropReason| {
            crew.members().iter().map(|member| member.counters.drops(reason).get()).sum::<u64>()
        };
        for alarm in &mut self.alarms {
            if let Some(frames) = alarm.due(total(alarm.reason), now) {
                alarm.log(frames, &self.interface);
            }
        }
    }
}

impl Alarm {
    /// Takes the count so far. Returns the number of frames since the last line if another is due.
    fn due(&mut self, count: u64, now: Instant) -> Option<u64> {
        let new = count.saturating_sub(self.told);
        let is_early = self.at.is_some_and(|at| now.duration_since(at) < REPEAT);
        if new == 0 || is_early {
            return None;
        }
        (self.told, self.at) = (count, Some(now));
        Some(new)
    }

    fn log(&self, frames: u64, interface: &str) {
        let (reason, remedy) = (self.reason.name(), remedy(self.reason, interface).unwrap_or_default());
        tracing::error!(reason, frames, interface, remedy, "frames for a service are lost");
    }
}

/// Returns what to do about a loss that the set-up causes; `None` for all other reasons.
fn remedy(reason: DropReason, interface: &str) -> Option<String> {
    match reason {
        DropReason::CutByDriver => Some(format!(
            "the driver of {interface} cuts long frames in zero-copy mode: set backend = \"packet\""
        )),
        DropReason::NotDelivered => {
            Some(format!("the kernel hands no frame of {interface} to AF_XDP: set backend = \"packet\""))
        }
        DropReason::TooLongToReceive => Some(format!(
            "switch merging off on {interface} and all interfaces below it (ethtool -K INTERFACE gro off lro off); \
             after a change of the MTU start again; or set backend = \"packet\""
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_logged_at_once_and_then_every_ten_minutes() {
        let mut alarm = Alarm { reason: DropReason::CutByDriver, told: 0, at: None };
        let start = Instant::now();
        let mut due = |count, seconds| alarm.due(count, start + Duration::from_secs(seconds));
        assert_eq!(due(0, 0), None);
        assert_eq!(due(3, 2), Some(3));
        assert_eq!(due(5, 4), None, "too early");
        assert_eq!(due(9, 603), Some(6));
        assert_eq!(due(9, 5000), None, "no more of them");
    }

    #[test]
    fn a_loss_of_the_set_up_is_logged_with_a_remedy() {
        let alarms = Alarms::new("eth7");
        assert!(alarms.alarms.iter().any(|alarm| alarm.reason == DropReason::CutByDriver));
        for Alarm { reason, .. } in &alarms.alarms {
            assert!(remedy(*reason, "eth7").unwrap().contains("eth7"), "{reason:?}");
        }
    }
}
