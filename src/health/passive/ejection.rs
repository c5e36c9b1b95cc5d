//! Ejection of a suspected server: for a time, then on probation.

/// Duration of the first ejection, in milliseconds. Each further one is longer by as much.
const EJECTION_MS: u64 = 30_000;
/// Most of these durations.
const TIMES_MAX: u8 = 10;
/// Time without a suspicion after which the next ejection is shorter by one duration, in milliseconds.
const CLEAN_MS: u64 = 60_000;
/// Completed handshakes that end a probation.
const PROBATION: u32 = 3;

/// Ejections of a server. Times are in milliseconds of the machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ejection {
    phase: EjectionPhase,
    /// Ejections that count for the duration of the next one.
    times: u8,
    /// Start of the present minute without a suspicion.
    clean_since: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum EjectionPhase {
    /// It gets connections.
    #[default]
    In,
    /// It gets none.
    Out { since: u64, until: u64 },
    /// It gets a small share until clients have completed so many handshakes.
    Probation { since: u64, left: u32 },
}

impl Ejection {
    /// Ejects the server. Returns the duration in milliseconds.
    pub(super) fn eject(&mut self, now: u64) -> u64 {
        self.times = (self.times + 1).min(TIMES_MAX);
        let duration = EJECTION_MS * u64::from(self.times);
        self.phase = EjectionPhase::Out { since: now, until: now + duration };
        duration
    }

    /// Ends the ejection.
    pub(super) fn bring_back(&mut self, now: u64) {
        self.phase = EjectionPhase::Probation { since: now, left: PROBATION };
        self.clean_since = now;
    }

    /// Passes on to `now`. `completed`: handshakes since the last time.
    pub(super) fn advance(&mut self, completed: u32, is_suspected: bool, now: u64) {
        if let EjectionPhase::Probation { since, left } = self.phase {
            let left = left.saturating_sub(completed);
            self.phase = if left == 0 { EjectionPhase::In } else { EjectionPhase::Probation { since, left } };
        }
        if self.is_out() || is_suspected || self.times == 0 {
            self.clean_since = now;
        } else if now - self.clean_since >= CLEAN_MS {
            (self.times, self.clean_since) = (self.times - 1, now);
        }
    }

    pub(super) fn is_out(&self) -> bool {
        matches!(self.phase, EjectionPhase::Out { .. })
    }

    /// True if its time is over.
    pub(super) fn is_over(&self, now: u64) -> bool {
        matches!(self.phase, EjectionPhase::Out { until, .. } if now >= until)
    }

    /// The start of a probation in progress.
    pub(super) fn probation_since(&self) -> Option<u64> {
        match self.phase {
            EjectionPhase::Probation { since, .. } => Some(since),
            EjectionPhase::In | EjectionPhase::Out { .. } => None,
        }
    }

    /// The start and the end of an ejection in progress.
    pub(super) fn times_of_out(&self) -> Option<(u64, u64)> {
        match self.phase {
            EjectionPhase::Out { since, until } => Some((since, until)),
            EjectionPhase::In | EjectionPhase::Probation { .. } => None,
        }
    }
}

/// Servers and weight of a service that are out of use, and the limits of that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capacity {
    servers: usize,
    ejected: usize,
    /// Servers that get connections.
    in_use: usize,
    weight: u64,
    weight_out: u64,
}

impl Capacity {
    /// Counts a server. `out`: it gets no new connections for another reason.
    pub(super) fn count(&mut self, weight: u16, out: bool, ejected: bool) {
        self.servers += 1;
        self.ejected += usize::from(ejected);
        self.in_use += usize::from(!out && !ejected && weight > 0);
        self.weight += u64::from(weight);
        self.weight_out += if out || ejected { weight.into() } else { 0 };
    }

    /// Takes a server that gets connections out of use, if the limits allow it: one ejected server or a fifth of all, one
    /// other server in use, and no more than the panic share of the weight out of use.
    pub(super) fn take(&mut self, weight: u16, panic: u8) -> bool {
        let mut after = *self;
        after.ejected += 1;
        after.in_use -= 1;
        after.weight_out += u64::from(weight);
        let allowed = after.ejected <= (self.servers / 5).max(1) && after.is_sound(panic);
        if allowed {
            *self = after;
        }
        allowed
    }

    /// True if servers are in use, and no more than the panic share of the weight is out of use.
    pub(super) fn is_sound(&self, panic: u8) -> bool {
        self.in_use > 0 && (panic == 0 || self.weight_out * 100 <= u64::from(panic) * self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejections_grow_and_shrink_by_half_a_minute() {
        let (mut ejection, mut now) = (Ejection::default(), 0);
        for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10] {
            assert_eq!(ejection.eject(now), times * 30_000);
            assert!(!ejection.is_over(now + times * 30_000 - 1) && ejection.is_over(now + times * 30_000));
            now += times * 30_000;
            ejection.bring_back(now);
        }
        for second in 0..300 {
            ejection.advance(u32::from(second == 0) * 3, false, now + second * 1000 + 1000);
        }
        assert_eq!(ejection.eject(now), 180_000, "five clean minutes");
    }

    #[test]
    fn three_completed_handshakes_end_a_probation() {
        let mut ejection = Ejection::default();
        ejection.eject(0);
        ejection.advance(9, true, 1000);
        assert!(ejection.is_out(), "those of connections before it prove nothing");
        ejection.bring_back(30_000);
        for (completed, probation) in [(0, true), (2, true), (0, true), (1, false)] {
            ejection.advance(completed, false, 31_000);
            assert_eq!(ejection.probation_since().is_some(), probation);
        }
    }

    /// Servers of weight 1 that may be ejected one after the other.
    fn ejectable(servers: usize, out: usize, panic: u8) -> usize {
        let mut capacity = Capacity::default();
        (0..servers).for_each(|server| capacity.count(1, server < out, false));
        (0..servers - out).take_while(|_| capacity.take(1, panic)).count()
    }

    #[test]
    fn one_server_or_a_fifth_may_be_out() {
        for (servers, out, panic, expected) in [
            (1, 0, 0, 0),
            (2, 0, 50, 1),
            (2, 0, 0, 1),
            (3, 0, 50, 1),
            (3, 1, 50, 0),
            (3, 1, 0, 1),
            (3, 2, 0, 0),
            (10, 0, 50, 2),
            (10, 4, 50, 1),
            (10, 5, 50, 0),
            (100, 0, 10, 10),
            (2, 0, 40, 0),
        ] {
            assert_eq!(ejectable(servers, out, panic), expected, "{servers}, {out} out, {panic} %");
        }
    }

    #[test]
    fn servers_of_weight_zero_do_not_take_over() {
        let mut capacity = Capacity::default();
        capacity.count(5, false, false);
        capacity.count(0, false, false);
        assert!(!capacity.take(5, 0));
    }
}
