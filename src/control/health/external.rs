//! Results that programs of the operator report.

use crate::control::api::checks::CheckReport;
use crate::health::{LocalError, ProbeFailure, ProbeOutcome};
use crate::model::ExternalCheck;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const NONE: LocalError =
    LocalError::Setup("no result has been reported: let your program run `directrix health report`");
const OLD: LocalError =
    LocalError::Setup("the last result is older than max_age: see whether your program still reports");

/// The latest report on each server, by the name of the check.
#[derive(Debug, Default)]
pub(super) struct ExternalReports(HashMap<(IpAddr, String), (CheckReport, Instant)>);

impl ExternalReports {
    pub(super) fn insert(&mut self, report: CheckReport, now: Instant) {
        self.0.insert((report.server, report.name.clone()), (report, now));
    }

    /// Judges the latest report on a server.
    ///
    /// # Errors
    /// The outcome of the probe.
    pub(super) fn judge(
        &self,
        check: &ExternalCheck,
        server: IpAddr,
        now: Instant,
    ) -> Result<(), ProbeOutcome> {
        let (report, at) = self.0.get(&(server, check.name.clone())).ok_or(ProbeOutcome::Unknown(NONE))?;
        let max_age = Duration::from_millis(check.max_age.millis().into());
        match report {
            _ if now.saturating_duration_since(*at) > max_age => Err(ProbeOutcome::Unknown(OLD)),
            CheckReport { up: true, .. } => Ok(()),
            CheckReport { reason: None, .. } => Err(down("reported as down".into())),
            CheckReport { reason: Some(reason), .. } => Err(down(format!("reported as down: {reason}"))),
        }
    }

    /// Forgets reports that no check needs.
    pub(super) fn retain(&mut self, is_needed: impl Fn(IpAddr, &str) -> bool) {
        self.0.retain(|(server, name), _| is_needed(*server, name));
    }
}

fn down(what: String) -> ProbeOutcome {
    ProbeOutcome::Failed(ProbeFailure::Answer(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_report_counts_until_it_is_too_old() {
        let (mut reports, start, server) =
            (ExternalReports::default(), Instant::now(), [192, 0, 2, 7].into());
        let check = ExternalCheck { name: "db".into(), max_age: ExternalCheck::MAX_AGE };
        let report = |up, reason: Option<&str>| CheckReport {
            server,
            name: "db".into(),
            up,
            reason: reason.map(str::to_owned),
        };
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(reports.judge(&check, server, start), Err(ProbeOutcome::Unknown(NONE)));
        reports.insert(report(false, Some("it lags")), start);
        assert_eq!(reports.judge(&check, server, later(60)), Err(down("reported as down: it lags".into())));
        assert_eq!(reports.judge(&check, server, later(61)), Err(ProbeOutcome::Unknown(OLD)));
        reports.insert(report(true, None), later(61));
        assert_eq!(reports.judge(&check, server, later(61)), Ok(()));
        assert_eq!(reports.judge(&check, [192, 0, 2, 8].into(), later(61)), Err(ProbeOutcome::Unknown(NONE)));
        reports.retain(|_, name| name != "db");
        assert_eq!(reports.judge(&check, server, later(61)), Err(ProbeOutcome::Unknown(NONE)));
    }
}
