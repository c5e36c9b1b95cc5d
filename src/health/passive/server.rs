//! A real server in the view of its handshakes.

use super::cause::PassingChecks;
use super::ejection::Ejection;
use super::events::{PassiveEffect, PassiveServerStatus, PassiveState, PassiveView, ServerSample};
use super::figures::{Figures, PassiveFinding};
use super::history::HandshakeHistory;
use super::judgement::PassiveVerdict;
use crate::time::Span;
use std::net::IpAddr;

/// Verdicts in a row that end a suspicion.
const CALM: u8 = 5;

/// A real server of a service. Times are in milliseconds of the machine's clock.
#[derive(Debug)]
pub(super) struct ServerWatch {
    pub(super) address: IpAddr,
    history: HandshakeHistory,
    /// Of the last sample.
    figures: Figures,
    pub(super) checks: PassingChecks,
    suspicion: Option<Suspicion>,
    pub(super) ejection: Ejection,
    /// The figures that led to the last ejection.
    ejected_for: PassiveFinding,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    finding: PassiveFinding,
    since: u64,
    /// Verdicts in a row that say nothing against the server.
    calm: u8,
}

impl Suspicion {
    /// The suspicion after a further verdict against the server.
    fn after(self, finding: PassiveFinding, now: u64) -> Self {
        match (self.finding.others, finding.others) {
            (None, Some(_)) => Self { finding, since: now, calm: 0 },
            // The others no longer get enough connections to compare.
            (Some(_), None) => Self { calm: 0, ..self },
            _ => Self { finding, calm: 0, ..self },
        }
    }
}

/// Change of a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SuspicionChange {
    Suspected(PassiveFinding),
    Warned(PassiveFinding),
    Cleared,
}

impl ServerWatch {
    pub(super) fn new(sample: &ServerSample) -> Self {
        Self {
            address: sample.server,
            history: HandshakeHistory::new(sample.id, sample.handshakes),
            figures: Figures::default(),
            checks: PassingChecks::default(),
            suspicion: None,
            ejection: Ejection::default(),
            ejected_for: PassiveFinding::default(),
        }
    }

    /// Takes a sample. Returns the figures of the window.
    pub(super) fn record(&mut self, sample: &ServerSample, elapsed: usize, now: u64) -> Figures {
        let completed = self.history.record(sample.id, sample.handshakes, elapsed);
        self.ejection.advance(completed, self.suspicion.is_some(), now);
        (self.figures, self.checks) = (self.history.figures(), sample.checks);
        self.figures
    }

    /// Takes a verdict on the latest figures. Of an ejected server there is none: it gets no connections.
    pub(super) fn observe(&mut self, verdict: PassiveVerdict, now: u64) -> Option<SuspicionChange> {
        let (figures, checks) = (self.figures, self.checks);
        let finding = match verdict {
            _ if self.ejection.is_out() => return None,
            PassiveVerdict::Fine => return self.calm_down(),
            PassiveVerdict::Alone => PassiveFinding { figures, others: None, checks },
            PassiveVerdict::Suspect(others) => PassiveFinding { figures, others: Some(others), checks },
        };
        let before = self.suspicion;
        let after = before.map_or(Suspicion { finding, since: now, calm: 0 }, |of| of.after(finding, now));
        self.suspicion = Some(after);
        if before.is_some_and(|of| of.since == after.since) {
            return None;
        }
        let is_compared = finding.others.is_some();
        let change = if is_compared { SuspicionChange::Suspected } else { SuspicionChange::Warned };
        Some(change(finding))
    }

    fn calm_down(&mut self) -> Option<SuspicionChange> {
        let suspicion = self.suspicion.as_mut()?;
        suspicion.calm += 1;
        if suspicion.calm < CALM {
            return None;
        }
        self.suspicion = None;
        Some(SuspicionChange::Cleared)
    }

    /// Ejects the server for its present figures. Returns them, and the duration in milliseconds.
    pub(super) fn eject(&mut self, now: u64) -> (PassiveFinding, u64) {
        self.ejected_for = self.suspicion.map(|of| of.finding).unwrap_or_default();
        (self.ejected_for, self.ejection.eject(now))
    }

    /// Ends an ejection and the suspicion that led to it.
    pub(super) fn bring_back(&mut self, now: u64) {
        self.ejection.bring_back(now);
        self.suspicion = None;
    }

    pub(super) fn view(&self, now: u64) -> PassiveView {
        let (figures, status) = (self.figures, self.status(now));
        PassiveView { effect: self.effect(), figures, status, flood: None }
    }

    fn effect(&self) -> PassiveEffect {
        if self.ejection.is_out() {
            PassiveEffect::Ejected
        } else if self.ejection.probation_since().is_some() {
            PassiveEffect::Probation
        } else {
            PassiveEffect::None
        }
    }

    /// The status, if there is something to say.
    pub(super) fn status(&self, now: u64) -> Option<PassiveServerStatus> {
        let (state, since, until) = match (self.ejection.times_of_out(), self.suspicion) {
            (Some((since, until)), _) => (PassiveState::Ejected, since, Some(until)),
            (None, Some(of)) if of.finding.others.is_some() => (PassiveState::Suspected, of.since, None),
            (None, Some(of)) => (PassiveState::Warned, of.since, None),
            (None, None) => (PassiveState::Probation, self.ejection.probation_since()?, None),
        };
        let finding = match self.suspicion {
            Some(of) if state != PassiveState::Ejected => of.finding,
            _ => self.ejected_for,
        };
        let left = until.map(|until| span(until.saturating_sub(now)));
        Some(PassiveServerStatus { server: self.address, state, since: span(now - since), left, finding })
    }
}

/// A span of so many milliseconds.
pub(super) fn span(ms: u64) -> Span {
    Span::from_millis(u32::try_from(ms).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ServerId, Weight};
    use crate::stats::Handshakes;
    use SuspicionChange::{Cleared, Suspected, Warned};

    const FIGURES: Figures = Figures { opened: 40, failed: 40, repeated: 40 };

    fn watch() -> ServerWatch {
        let mut watch = ServerWatch::new(&ServerSample {
            server: "192.0.2.7".parse().unwrap(),
            id: ServerId(0),
            weight: Weight(1),
            out: false,
            held: false,
            checks: PassingChecks::None,
            handshakes: Handshakes::default(),
        });
        watch.figures = FIGURES;
        watch
    }

    fn finding(others: Option<u16>) -> PassiveFinding {
        PassiveFinding { figures: FIGURES, others, checks: PassingChecks::None }
    }

    #[test]
    fn a_suspicion_is_reported_when_it_begins_grows_and_ends() {
        use PassiveVerdict::{Alone, Fine, Suspect};
        let (mut watch, fine) = (watch(), [(Fine, None); 4]);
        let mut verdicts = vec![
            (Fine, None),
            (Alone, Some(Warned(finding(None)))),
            (Alone, None),
            (Suspect(9), Some(Suspected(finding(Some(9))))),
            (Suspect(20), None),
            (Alone, None),
        ];
        verdicts.extend(fine);
        verdicts.push((Suspect(0), None));
        verdicts.extend(fine);
        verdicts.push((Fine, Some(Cleared)));
        verdicts.push((Fine, None));
        for (at, (verdict, change)) in verdicts.into_iter().enumerate() {
            assert_eq!(watch.observe(verdict, 1000 * at as u64), change, "{at}: {verdict:?}");
        }
        assert_eq!(watch.status(99_000), None);
    }

    #[test]
    fn a_status_tells_the_figures_of_an_ejection_to_its_end() {
        let mut watch = watch();
        watch.observe(PassiveVerdict::Suspect(9), 1000);
        let state =
            |watch: &ServerWatch, now| watch.status(now).map(|of| (of.state, of.since.millis(), of.left));
        assert_eq!(state(&watch, 3000), Some((PassiveState::Suspected, 2000, None)));
        assert_eq!(watch.eject(4000), (finding(Some(9)), 30_000));
        assert_eq!(watch.observe(PassiveVerdict::Fine, 5000), None);
        assert_eq!(state(&watch, 5000), Some((PassiveState::Ejected, 1000, Some(span(29_000)))));
        watch.bring_back(34_000);
        assert_eq!(state(&watch, 35_000), Some((PassiveState::Probation, 1000, None)));
        assert_eq!(watch.status(35_000).unwrap().finding, finding(Some(9)));
        watch.ejection.advance(3, false, 36_000);
        assert_eq!((state(&watch, 36_000), watch.effect()), (None, PassiveEffect::None));
    }
}
