//! Verdict: whether this director can take traffic, and the first reason against it.

use std::fmt;

/// A reason against taking traffic, the most lasting one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unready {
    /// The director stops.
    Stopping,
    /// A worker makes no rounds.
    WorkerStalled,
    /// An interface has no carrier.
    NoCarrier,
    /// The kernel redirects another set of services to the workers than it should.
    SteeringRefused,
    /// A VIP is being probed, or a real server resolved, for the first time.
    Starting,
    /// A health check has had no result yet.
    AwaitingHealth,
    /// The connections of another director have not all come yet.
    AwaitingSync,
    /// No service has an available real server.
    NoServers,
}

impl Unready {
    /// The reason as a clause.
    #[must_use]
    pub fn clause(self) -> &'static str {
        match self {
            Self::Stopping => "the director stops",
            Self::WorkerStalled => "a worker is stalled",
            Self::NoCarrier => "an interface has no carrier",
            Self::SteeringRefused => "the kernel refuses the present services",
            Self::Starting => "VIPs are being probed or real servers resolved",
            Self::AwaitingHealth => "health checks have had no result yet",
            Self::AwaitingSync => "the connections of another director have not all come yet",
            Self::NoServers => "no service has an available real server",
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.clause())
    }
}

/// Everything that readiness depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadyConditions {
    /// The director has been told to stop.
    pub stopping: bool,
    /// A worker makes no rounds.
    pub stalled: bool,
    /// An interface has no carrier.
    pub no_carrier: bool,
    /// The kernel has refused the latest steering set.
    pub steering_refused: bool,
    /// A VIP is being probed, or a real server resolved.
    pub unsettled: bool,
    /// A health check has had no result yet.
    pub awaiting_health: bool,
    /// The connections of another director have not all come yet.
    pub awaiting_sync: bool,
    /// No service has an available real server, and that counts.
    pub no_servers: bool,
}

/// The readiness of a director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficReadiness {
    reason: Option<Unready>,
    /// Whether VIPs, real servers and health checks have settled once. Later ones do not count: a service that is added
    /// withdraws no other.
    started: bool,
}

impl Default for TrafficReadiness {
    fn default() -> Self {
        Self { reason: Some(Unready::Starting), started: false }
    }
}

impl TrafficReadiness {
    /// Readiness of a process that goes on from one that was ready.
    #[must_use]
    pub fn carried_on() -> Self {
        Self { reason: None, started: true }
    }

    /// True once all that is needed at the start is there.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// The reason against taking traffic; `None` if ready.
    #[must_use]
    pub fn reason(&self) -> Option<Unready> {
        self.reason
    }

    /// Follows the conditions. Returns true if the reason is another one.
    pub fn update(&mut self, conditions: &ReadyConditions) -> bool {
        let ReadyConditions { unsettled, awaiting_health, awaiting_sync, .. } = *conditions;
        self.started |= !unsettled && !awaiting_health && !awaiting_sync;
        let reason = self.verdict(conditions);
        std::mem::replace(&mut self.reason, reason) != reason
    }

    fn verdict(&self, conditions: &ReadyConditions) -> Option<Unready> {
        let &ReadyConditions { stopping, stalled, no_carrier, steering_refused, .. } = conditions;
        let reasons = [
            (stopping, Unready::Stopping),
            (stalled, Unready::WorkerStalled),
            (no_carrier, Unready::NoCarrier),
            (steering_refused, Unready::SteeringRefused),
            (!self.started && conditions.unsettled, Unready::Starting),
            (!self.started && conditions.awaiting_health, Unready::AwaitingHealth),
            (!self.started, Unready::AwaitingSync),
            (conditions.no_servers, Unready::NoServers),
        ];
        reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: ReadyConditions = ReadyConditions {
        stopping: false,
        stalled: false,
        no_carrier: false,
        steering_refused: false,
        unsettled: false,
        awaiting_health: false,
        awaiting_sync: false,
        no_servers: false,
    };

    fn started() -> TrafficReadiness {
        let mut readiness = TrafficReadiness::default();
        assert!(readiness.update(&GOOD));
        assert_eq!(readiness.reason(), None);
        readiness
    }

    #[test]
    fn a_start_is_over_once_all_has_settled() {
        let mut readiness = TrafficReadiness::default();
        let mut after = |unsettled, awaiting_health| {
            readiness.update(&ReadyConditions { unsettled, awaiting_health, ..GOOD });
            readiness.reason()
        };
        assert_eq!(after(true, true), Some(Unready::Starting));
        assert_eq!(after(false, true), Some(Unready::AwaitingHealth));
        assert_eq!(after(true, false), Some(Unready::Starting));
        readiness.update(&ReadyConditions { awaiting_sync: true, ..GOOD });
        assert_eq!(readiness.reason(), Some(Unready::AwaitingSync));
        let mut after = |unsettled, awaiting_health| {
            readiness.update(&ReadyConditions { unsettled, awaiting_health, ..GOOD });
            readiness.reason()
        };
        assert_eq!(after(false, false), None);
        assert_eq!(after(true, true), None, "a service that is added later");
    }

    #[test]
    fn each_fault_withdraws_and_its_end_restores() {
        let faults = [
            (ReadyConditions { stopping: true, ..GOOD }, Unready::Stopping),
            (ReadyConditions { stalled: true, ..GOOD }, Unready::WorkerStalled),
            (ReadyConditions { no_carrier: true, ..GOOD }, Unready::NoCarrier),
            (ReadyConditions { steering_refused: true, ..GOOD }, Unready::SteeringRefused),
            (ReadyConditions { no_servers: true, ..GOOD }, Unready::NoServers),
        ];
        for (conditions, reason) in faults {
            let mut readiness = started();
            assert!(readiness.update(&conditions) && !readiness.update(&conditions));
            assert_eq!(readiness.reason(), Some(reason));
            assert!(readiness.update(&GOOD) && readiness.reason().is_none());
        }
    }

    #[test]
    fn the_gravest_of_several_faults_is_named() {
        let mut readiness = started();
        let mut conditions = ReadyConditions { no_servers: true, no_carrier: true, ..GOOD };
        readiness.update(&conditions);
        assert_eq!(readiness.reason(), Some(Unready::NoCarrier));
        conditions.stopping = true;
        readiness.update(&conditions);
        assert_eq!(readiness.reason(), Some(Unready::Stopping));
    }
}
