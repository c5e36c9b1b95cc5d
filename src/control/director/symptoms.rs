//! Symptoms: counters that indicate a wrong set-up rather than load, logged with the remedy.

use crate::control::api::overview::Warning;
use crate::control::state::registry::{Reachability, Registry};
use crate::control::workers::Workers;
use crate::stats::{DropReason, WorkerCounters};
use crate::wire::MacAddr;
use std::time::{Duration, Instant};

/// Time that the warning of a symptom lasts after its count has grown.
const RECENT: Duration = Duration::from_secs(600);

/// A count, summed over all workers, that is a log event when it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symptom {
    /// Frames dropped in a loop.
    Looped,
    /// Frames dropped because their TTL expired, more than traceroute sends.
    Exceeded,
    /// Connections with unfinished checksums.
    Unfinished,
    /// Frames lost for a reason that has a [`remedy`].
    Lost(DropReason),
}

/// When a growing count is a log event.
struct LogPolicy {
    /// Least growth; above 1, the growth between two checks.
    least: u64,
    /// Least time between two log events.
    repeat: Duration,
}

/// A symptom, its count so far and its last log event.
#[derive(Debug)]
struct TrackedSymptom {
    symptom: Symptom,
    /// The count at the last check.
    count: u64,
    /// The count at the last log event.
    logged: u64,
    /// Time of the last log event.
    at: Option<Instant>,
    /// Time of the last check that found the count grown.
    grown: Option<Instant>,
}

/// Compares the workers' counters with those of the last check.
#[derive(Debug)]
pub(super) struct Symptoms {
    all: Vec<TrackedSymptom>,
}

/// The context of a symptom's log events.
pub(super) struct SymptomContext<'a> {
    /// Name of the interface that frames arrive on.
    pub(super) interface: &'a str,
    pub(super) registry: &'a Registry,
    pub(super) workers: &'a Workers,
}

impl Symptoms {
    /// Creates every symptom with a count of 0.
    pub(super) fn new() -> Self {
        let lost = DropReason::ALL.iter().copied().filter(|reason| remedy(*reason, "").is_some());
        let symptoms = [Symptom::Looped, Symptom::Exceeded, Symptom::Unfinished];
        let all = symptoms.into_iter().chain(lost.map(Symptom::Lost));
        Self { all: all.map(TrackedSymptom::new).collect() }
    }

    /// Logs the events that are due.
    pub(super) fn check(&mut self, scene: &SymptomContext<'_>, now: Instant) {
        for watched in &mut self.all {
            if let Some(growth) = watched.due(watched.symptom.total(scene.workers), now) {
                watched.symptom.log(growth, scene);
            }
        }
    }

    /// Returns a warning for each symptom whose count has grown in the last ten minutes.
    pub(super) fn warnings(&self, interface: &str, now: Instant) -> impl Iterator<Item = Warning> {
        let recent = self.all.iter().filter(move |watched| watched.is_recent(now));
        recent.map(move |watched| watched.symptom.warning(watched.count, interface))
    }
}

impl TrackedSymptom {
    fn new(symptom: Symptom) -> Self {
        Self { symptom, count: 0, logged: 0, at: None, grown: None }
    }

    /// Takes the count so far. Returns its growth if a log event is due.
    fn due(&mut self, count: u64, now: Instant) -> Option<u64> {
        let LogPolicy { least, repeat } = self.symptom.pace();
        let latest = count.saturating_sub(std::mem::replace(&mut self.count, count));
        if latest >= least {
            self.grown = Some(now);
        }
        let growth = if least > 1 { latest } else { count.saturating_sub(self.logged) };
        let is_early = self.at.is_some_and(|at| now.duration_since(at) < repeat);
        if growth < least || is_early {
            return None;
        }
        (self.logged, self.at) = (count, Some(now));
        Some(growth)
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.grown.is_some_and(|grown| now.duration_since(grown) < RECENT)
    }
}

impl Symptom {
    fn pace(self) -> LogPolicy {
        match self {
            Self::Looped => LogPolicy { least: 1, repeat: Duration::from_secs(60) },
            Self::Exceeded => LogPolicy { least: 100, repeat: Duration::from_secs(60) },
            Self::Unfinished => LogPolicy { least: 1, repeat: Duration::MAX },
            Self::Lost(_) => LogPolicy { least: 1, repeat: Duration::from_secs(600) },
        }
    }

    fn total(self, workers: &Workers) -> u64 {
        workers.handles().iter().map(|handle| self.count(&handle.counters)).sum()
    }

    fn count(self, counters: &WorkerCounters) -> u64 {
        match self {
            Self::Looped => counters.drops(DropReason::Looped).get(),
            Self::Exceeded => counters.drops(DropReason::TtlExceeded).get(),
            Self::Unfinished => counters.unfinished.get(),
            Self::Lost(reason) => counters.drops(reason).get(),
        }
    }

    /// `count` is the number of frames since the start.
    fn warning(self, count: u64, interface: &str) -> Warning {
        let frames = if count == 1 { "1 frame".to_owned() } else { format!("{count} frames") };
        match self {
            Self::Looped => Warning::new(
                "loop",
                format!("{frames} dropped in a loop: see the log for the station that sends them back"),
            ),
            Self::Exceeded => Warning::new(
                "ttl-exceeded",
                format!("{frames} dropped because the TTL expired: see the log for what may be wrong"),
            ),
            Self::Unfinished => Warning::new(
                "unfinished-checksums",
                format!(
                    "unfinished TCP, UDP or SCTP checksums arrive on {interface}, and real servers drop the frames: at \
                     the sender, ethtool -K PEER tx off; or here, backend = \"packet\""
                ),
            ),
            Self::Lost(reason) => {
                let (name, remedy) = (reason.name(), remedy(reason, interface).unwrap_or_default());
                Warning::new("frames-lost", format!("{frames} lost as {name}: {remedy}"))
            }
        }
    }

    /// Logs the event; `frames` is the growth of the count.
    fn log(self, frames: u64, scene: &SymptomContext<'_>) {
        let interface = scene.interface;
        match self {
            Self::Looped => log_loop(frames, scene),
            Self::Exceeded => tracing::warn!(
                %interface, frames,
                "frames dropped because their TTL expired: more than traceroute sends; several directors may \
                 have each other as real servers: look for a real server that runs directrix or IPVS"
            ),
            Self::Unfinished => tracing::error!(
                %interface,
                "unfinished TCP, UDP or SCTP checksums arrive, and real servers will drop the frames: the sender leaves \
                 checksums to a network card that it does not have; there: ethtool -K INTERFACE tx off; or here: \
                 backend = \"packet\""
            ),
            Self::Lost(reason) => {
                let remedy = remedy(reason, interface).unwrap_or_default();
                tracing::error!(
                    reason = reason.name(),
                    frames,
                    interface,
                    remedy,
                    "frames for a service are lost"
                );
            }
        }
    }
}

fn log_loop(frames: u64, scene: &SymptomContext<'_>) {
    let interface = scene.interface;
    let mut counters = scene.workers.handles().iter().map(|handle| &handle.counters);
    let Some(mac) = counters.find_map(|counters| MacAddr::from_bits(counters.looped_from.get())) else {
        return tracing::error!(
            %interface, frames,
            "frames dropped in a loop: the network returns frames that this director has sent; look for a \
             loop in the switches"
        );
    };
    let mut servers = scene.registry.services.iter().flat_map(|service| &service.servers);
    let server = servers.find(|server| server.reachability == Reachability::Reachable(mac));
    match server.map(|server| server.config.address) {
        Some(rip) => tracing::error!(
            %interface, frames, %rip, %mac,
            "frames dropped in a loop: this real server sends the service's frames back, as a director does; \
             take it out of the service, or stop directrix or IPVS there"
        ),
        None => tracing::error!(
            %interface, frames, %mac,
            "frames dropped in a loop: several directors have each other as real servers, and this station closes \
             the circle; stop directrix or IPVS there, or take the director out of the service that it has as real server"
        ),
    }
}

/// Returns the remedy for a loss that the set-up causes; `None` for all other reasons.
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

    /// Count and second of each due check.
    fn due<const N: usize>(symptom: Symptom, samples: [(u64, u64); N]) -> [Option<u64>; N] {
        let (mut watched, start) = (TrackedSymptom::new(symptom), Instant::now());
        samples.map(|(count, second)| watched.due(count, start + Duration::from_secs(second)))
    }

    #[test]
    fn a_loop_is_an_event_at_once_and_then_once_a_minute() {
        let samples = [(0, 0), (3, 2), (900, 4), (903, 61), (903, 62), (903, 200)];
        assert_eq!(due(Symptom::Looped, samples), [None, Some(3), None, None, Some(900), None]);
    }

    #[test]
    fn warning_of_one_frame_is_in_the_singular() {
        let text = |count| Symptom::Lost(DropReason::CutByDriver).warning(count, "eth0").text;
        assert!(text(1).starts_with("1 frame lost as "), "{}", text(1));
        assert!(text(2).starts_with("2 frames lost as "), "{}", text(2));
    }

    #[test]
    fn traceroute_is_no_event_and_a_circle_is() {
        let samples = [(30, 0), (129, 0), (229, 0), (999, 0), (1999, 60)];
        assert_eq!(due(Symptom::Exceeded, samples), [None, None, Some(100), None, Some(1000)]);
    }

    #[test]
    fn unfinished_checksums_are_an_event_once() {
        assert_eq!(due(Symptom::Unfinished, [(0, 0), (1, 2), (9, 99_999)]), [None, Some(1), None]);
    }

    #[test]
    fn a_loss_is_an_event_at_once_and_then_every_ten_minutes() {
        let samples = [(0, 0), (3, 2), (5, 4), (9, 603), (9, 5000)];
        let lost = Symptom::Lost(DropReason::CutByDriver);
        assert_eq!(due(lost, samples), [None, Some(3), None, Some(6), None]);
    }

    #[test]
    fn a_symptom_is_warned_of_for_ten_minutes_after_it_was_seen() {
        let (mut symptoms, start) = (Symptoms::new(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let unfinished = |watched: &&mut TrackedSymptom| watched.symptom == Symptom::Unfinished;
        for (count, second) in [(1, 0), (7, 100), (7, 102)] {
            let mut watched = symptoms.all.iter_mut();
            watched.find(unfinished).unwrap().due(count, at(second));
        }
        let warnings = |second| symptoms.warnings("eth7", at(second)).collect::<Vec<_>>();
        assert_eq!(warnings(102), warnings(699));
        assert_eq!(warnings(699).len(), 1);
        let text = &warnings(699)[0].text;
        assert!(text.contains("on eth7") && text.contains("ethtool -K PEER tx off"), "{text}");
        assert_eq!(warnings(700), [], "an old symptom may be repaired");
    }

    #[test]
    fn each_loss_of_the_set_up_has_a_remedy() {
        let lost = |watched: &TrackedSymptom| match watched.symptom {
            Symptom::Lost(reason) => Some(reason),
            _ => None,
        };
        let reasons: Vec<_> = Symptoms::new().all.iter().filter_map(lost).collect();
        assert!(reasons.contains(&DropReason::CutByDriver));
        for reason in reasons {
            assert!(remedy(reason, "eth7").unwrap().contains("eth7"), "{reason:?}");
        }
    }
}
