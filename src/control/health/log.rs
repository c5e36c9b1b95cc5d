//! Log events of health checks.

use super::certificate::ExpiryChange;
use crate::health::passive::PassiveReport;
use crate::health::{CheckKey, CheckState, HealthReport};

/// Logs a report. That a server is out or in follows from its checks and from panic, and is no event of its own.
pub(in crate::control) fn log_report(report: &HealthReport) {
    match report {
        HealthReport::Check { key, state: CheckState::Down, cause, downs } => {
            let reason = cause.as_ref().map(|cause| cause.sentence(key)).unwrap_or_default();
            let cause = cause.as_ref().map(|cause| cause.name());
            tracing::warn!(server = %key.server, check = %key, cause, reason, downs, "health check is down");
        }
        HealthReport::Check { key, .. } => {
            tracing::info!(server = %key.server, check = %key, "health check is up");
        }
        HealthReport::Server { .. } => {}
        HealthReport::Weight { service, server, weight, .. } => {
            let weight = weight.map(|weight| weight.0);
            tracing::info!(%service, %server, weight, "health checks change the weight of the real server");
        }
        HealthReport::Panic { service, on: true, down, total } => {
            tracing::error!(%service, down, total, "too much weight is down: health is ignored in the service");
        }
        HealthReport::Panic { service, down, total, .. } => {
            tracing::info!(%service, down, total, "health counts again in the service");
        }
        HealthReport::Freeze { on: true, failing, up } => {
            tracing::error!(failing, up, "nearly all health checks fail at once: no server goes down");
        }
        HealthReport::Freeze { failing, up, .. } => {
            tracing::info!(failing, up, "health checks count again");
        }
        HealthReport::Blind { key, error: Some(error) } => {
            tracing::warn!(server = %key.server, check = %key, %error, "health check finds nothing out");
        }
        HealthReport::Blind { key, error: None } => {
            tracing::info!(server = %key.server, check = %key, "health check has results again");
        }
    }
}

/// Logs that a certificate expires soon, or no longer.
pub(super) fn log_certificate(key: &CheckKey, ExpiryChange { days, is_soon }: ExpiryChange) {
    if is_soon {
        tracing::warn!(server = %key.server, check = %key, days, "certificate expires soon");
    } else {
        tracing::info!(server = %key.server, check = %key, days, "certificate is renewed");
    }
}

/// Logs a report of passive health.
pub(in crate::control) fn log_passive(report: &PassiveReport) {
    match report {
        PassiveReport::Suspected { service, server, finding } => {
            let reason = finding.sentence(*server);
            tracing::warn!(%service, %server, reason, "clients cannot complete their handshakes with the real server");
        }
        PassiveReport::Warned { service, server, finding } => {
            let reason = finding.sentence(*server);
            tracing::warn!(%service, %server, reason, "handshakes with the only real server in use fail");
        }
        PassiveReport::Cleared { service, server } => {
            tracing::info!(%service, %server, "handshakes with the real server no longer fail");
        }
        PassiveReport::Ejected { service, server, finding, span } => {
            let (seconds, reason) = (span.secs(), finding.sentence(*server));
            tracing::warn!(%service, %server, seconds, reason, "the real server is ejected: no new connections for it");
        }
        PassiveReport::Returned { service, server } => {
            tracing::info!(%service, %server, "the real server is tried again after its ejection");
        }
        PassiveReport::Flood { service, on: true, finding } => {
            let (opened, failed, reason) = (finding.opened, finding.failed, finding.sentence());
            tracing::warn!(%service, opened, failed, reason, "handshakes with most real servers fail: passive health is off");
        }
        PassiveReport::Flood { service, .. } => {
            tracing::info!(%service, "handshakes with most real servers no longer fail");
        }
    }
}
