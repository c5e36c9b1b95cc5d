//! Time that a worker does not get: clocks and idle states, the hypervisor, control groups.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::files::list;
use crate::doctor::finding::FindingLevel;

/// Microseconds to wake a core that are felt.
const WAKE: u32 = 50;
/// Percent of the time on other guests from which it is told.
const STOLEN: f64 = 1.0;

/// Frequency governor and idle states.
pub(in crate::doctor) fn power(facts: &DirectorFacts) -> Judgement {
    let (cores, mut faults) = (&facts.host.cores, Vec::new());
    if cores.saving.is_none() && cores.idle.is_none() {
        return Judgement::Moot;
    }
    let workers = facts.running.as_ref().map_or(&cores.online, |running| &running.cores);
    let saving: Vec<_> = cores.saving.iter().flat_map(|saving| saving.intersection(workers)).collect();
    if !saving.is_empty() {
        let what = format!("the frequency governor of the cores {} is \"powersave\"", list(saving));
        let effect = "the first frames after a silence meet a slow core";
        let line = "for file in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > $file; done";
        faults.push(Fault::new(FindingLevel::Hint, what, effect).command(line));
    }
    let deep = cores.idle.as_ref().filter(|state| state.microseconds >= WAKE && !facts.wanted.is_busy);
    faults.extend(deep.map(|state| {
        let (name, time) = (&state.name, state.microseconds);
        let what = format!("a core sleeps as deep as {name}, from which it takes {time} µs to wake");
        let effect = "the first frame after a silence is that much late: its worker sleeps as well";
        let advice = "cpupower idle-set --disable-by-latency 50, or the profile network-latency of tuned; or wait = \"busy\"";
        Fault::new(FindingLevel::Hint, what, effect).advice(advice)
    }));
    faults.into()
}

/// Time that other guests had.
pub(in crate::doctor) fn stolen(facts: &DirectorFacts) -> Judgement {
    let Some(percent) = facts.host.cores.stolen else { return Judgement::Moot };
    (percent >= STOLEN)
        .then(|| {
            let what = format!(
                "the hypervisor gave {percent:.1} % of this machine's time to others since its start (steal)"
            );
            let effect = "a worker stands still meanwhile, and frames are lost in bursts";
            Fault::new(FindingLevel::Hint, what, effect)
                .advice("give the machine cores of its own at the hypervisor")
        })
        .into()
}

/// Limit of the running director's control group.
pub(in crate::doctor) fn quota(facts: &DirectorFacts) -> Judgement {
    let Some(running) = &facts.running else { return Judgement::Moot };
    running
        .quota
        .map(|quota| {
            let what = format!("the director may use {} % of one core", quota.percent);
            let effect = format!(
                "beyond it the kernel stops all workers for the rest of a period; it did so {} times since the start",
                quota.throttled
            );
            let level = if quota.throttled > 0 { FindingLevel::Warn } else { FindingLevel::Hint };
            Fault::new(level, what, effect).advice("CPUQuota= empty in the unit (systemctl edit directrix), or no CPU limit of the container")
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::core_facts::IdleState;
    use crate::doctor::running_facts::{CpuQuota, RunningFacts};
    use crate::doctor::sample;
    use FindingLevel::{Hint, Warn};
    use std::collections::BTreeSet;

    #[test]
    fn saving_cores_count_where_workers_run() {
        let mut facts = sample::sound();
        facts.host.cores.online = (0..4).collect();
        assert_eq!(power(&facts), Judgement::Moot, "nothing is known of them");
        facts.host.cores.saving = Some(BTreeSet::new());
        assert_eq!(sample::level(power(&facts)), None);
        facts.host.cores.saving = Some(BTreeSet::from([2]));
        assert_eq!(sample::level(power(&facts)), Some(Hint));
        facts.running = Some(RunningFacts { cores: BTreeSet::from([0]), ..RunningFacts::default() });
        assert_eq!(sample::level(power(&facts)), None);
    }

    #[test]
    fn deep_sleep_matters_to_workers_that_sleep() {
        let mut facts = sample::sound();
        facts.host.cores.idle = Some(IdleState { name: "C1".into(), microseconds: 2 });
        assert_eq!(sample::level(power(&facts)), None);
        facts.host.cores.idle = Some(IdleState { name: "C6".into(), microseconds: 133 });
        assert_eq!(sample::level(power(&facts)), Some(Hint));
        facts.wanted.is_busy = true;
        assert_eq!(sample::level(power(&facts)), None);
    }

    #[test]
    fn stolen_time_counts_from_a_hundredth() {
        let mut facts = sample::sound();
        for (percent, wanted) in [(0.9, None), (1.0, Some(Hint)), (40.0, Some(Hint))] {
            facts.host.cores.stolen = Some(percent);
            assert_eq!(sample::level(stolen(&facts)), wanted, "{percent}");
        }
        facts.host.cores.stolen = None;
        assert_eq!(stolen(&facts), Judgement::Moot);
    }

    #[test]
    fn a_limit_that_has_stopped_the_director_is_a_warning() {
        let mut facts = sample::sound();
        assert_eq!(quota(&facts), Judgement::Moot);
        facts.running = Some(RunningFacts::default());
        assert_eq!(sample::level(quota(&facts)), None);
        for (throttled, wanted) in [(0, Hint), (3, Warn)] {
            let quota_ = Some(CpuQuota { percent: 50, throttled });
            facts.running = Some(RunningFacts { quota: quota_, ..RunningFacts::default() });
            assert_eq!(sample::level(quota(&facts)), Some(wanted));
        }
    }
}
