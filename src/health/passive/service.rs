//! A service in the view of its handshakes: verdicts on its servers, ejections within their limits.

use super::ejection::Capacity;
use super::events::{PassiveReport, PassiveServiceStatus, ServerSample, ServiceSample};
use super::figures::{Figures, FloodFinding};
use super::judgement::{PassiveVerdict, ServiceJudgement};
use super::server::{ServerWatch, SuspicionChange, span};
use crate::model::{PassiveMode, ServiceIdentity};
use std::collections::HashMap;
use std::net::IpAddr;

/// A service. Its servers are those of the latest sample, in that order.
#[derive(Debug, Default)]
pub(super) struct ServiceWatch {
    /// While handshakes fail with most servers.
    pub(super) flood: Option<FloodFinding>,
    pub(super) servers: Vec<ServerWatch>,
}

/// A sample with its time.
pub(super) struct Moment<'a> {
    pub(super) sample: &'a ServiceSample,
    /// Whole seconds since the last sample.
    pub(super) elapsed: usize,
    /// In milliseconds of the machine's clock.
    pub(super) now: u64,
}

impl ServiceWatch {
    pub(super) fn sample(&mut self, moment: &Moment<'_>, reports: &mut Vec<PassiveReport>) {
        let Moment { sample, elapsed, now } = *moment;
        self.align(sample);
        let each = self.servers.iter_mut().zip(&sample.servers);
        let figures: Vec<_> = each.map(|(watch, of)| watch.record(of, elapsed, now)).collect();
        let judgement = ServiceJudgement::of(&figures);
        self.set_flood(judgement.flood, &figures, sample.service, reports);
        for (watch, verdict) in self.servers.iter_mut().zip(&judgement.verdicts) {
            let change = watch.observe(*verdict, now);
            reports.extend(change.map(|change| report(change, sample.service, watch.address)));
        }
        self.bring_back(moment, reports);
        if sample.mode == PassiveMode::Eject {
            self.eject(&judgement.verdicts, &figures, moment, reports);
        }
    }

    /// Takes the servers of a sample. The known ones keep their state.
    fn align(&mut self, sample: &ServiceSample) {
        let addresses = sample.servers.iter().map(|of| of.server);
        if self.servers.iter().map(|watch| watch.address).eq(addresses) {
            return;
        }
        let mut before: HashMap<IpAddr, ServerWatch> =
            self.servers.drain(..).map(|watch| (watch.address, watch)).collect();
        let watch = |of: &ServerSample| before.remove(&of.server).unwrap_or_else(|| ServerWatch::new(of));
        self.servers = sample.servers.iter().map(watch).collect();
    }

    fn set_flood(
        &mut self,
        on: bool,
        figures: &[Figures],
        service: ServiceIdentity,
        reports: &mut Vec<PassiveReport>,
    ) {
        let checks = self.servers.iter().map(|watch| watch.checks);
        let finding = FloodFinding::of(figures.iter().copied().zip(checks));
        if std::mem::replace(&mut self.flood, on.then_some(finding)).is_some() != on {
            reports.push(PassiveReport::Flood { service, on, finding });
        }
    }

    /// Ends the ejections whose time is over, and all of them if the service cannot do without these servers, or does not
    /// eject any more.
    fn bring_back(&mut self, moment: &Moment<'_>, reports: &mut Vec<PassiveReport>) {
        let Moment { sample: &ServiceSample { service, mode, panic, .. }, now, .. } = *moment;
        let all = mode != PassiveMode::Eject || !self.capacity(moment.sample).is_sound(panic);
        let each = self.servers.iter_mut().zip(&moment.sample.servers);
        for (watch, of) in each.filter(|(watch, _)| watch.ejection.is_out()) {
            if all || of.held || watch.ejection.is_over(now) {
                watch.bring_back(now);
                reports.push(PassiveReport::Returned { service, server: watch.address });
            }
        }
    }

    /// Ejects suspects, the worst first.
    fn eject(
        &mut self,
        verdicts: &[PassiveVerdict],
        figures: &[Figures],
        moment: &Moment<'_>,
        reports: &mut Vec<PassiveReport>,
    ) {
        let Moment { sample, now, .. } = *moment;
        let is_suspect = |at: &usize| {
            let (of, is_out) = (&sample.servers[*at], self.servers[*at].ejection.is_out());
            let may_be = !of.out && !of.held && !is_out && of.weight.0 > 0;
            may_be && matches!(verdicts[*at], PassiveVerdict::Suspect(_))
        };
        let mut suspects: Vec<_> = (0..self.servers.len()).filter(is_suspect).collect();
        suspects.sort_by_key(|at| std::cmp::Reverse(figures[*at].failed_share()));
        let mut capacity = self.capacity(sample);
        for at in suspects {
            if capacity.take(sample.servers[at].weight.0, sample.panic) {
                let watch = &mut self.servers[at];
                let (service, server, (finding, ms)) = (sample.service, watch.address, watch.eject(now));
                reports.push(PassiveReport::Ejected { service, server, finding, span: span(ms) });
            }
        }
    }

    fn capacity(&self, sample: &ServiceSample) -> Capacity {
        let mut capacity = Capacity::default();
        for (watch, of) in self.servers.iter().zip(&sample.servers) {
            capacity.count(of.weight.0, of.out, watch.ejection.is_out());
        }
        capacity
    }

    /// The status, if there is something to say.
    pub(super) fn status(&self, service: ServiceIdentity, now: u64) -> Option<PassiveServiceStatus> {
        let servers: Vec<_> = self.servers.iter().filter_map(|watch| watch.status(now)).collect();
        (self.flood.is_some() || !servers.is_empty()).then_some(PassiveServiceStatus {
            service,
            flood: self.flood,
            servers,
        })
    }
}

fn report(change: SuspicionChange, service: ServiceIdentity, server: IpAddr) -> PassiveReport {
    match change {
        SuspicionChange::Suspected(finding) => PassiveReport::Suspected { service, server, finding },
        SuspicionChange::Warned(finding) => PassiveReport::Warned { service, server, finding },
        SuspicionChange::Cleared => PassiveReport::Cleared { service, server },
    }
}
