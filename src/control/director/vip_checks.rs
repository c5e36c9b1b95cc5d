//! The probe programs for checks of the VIP: attached at the start, as nothing may be attached later.

use super::Director;
use crate::control::health::{VipProber, in_flight_max};
use crate::control::host::resolve::ResolvedHost;
use crate::model::{Config, Diagnostic, DiagnosticKind, Rules, Subject, VirtualService};
use std::sync::Arc;

/// Attaches the probe programs if a service has a check of the VIP.
///
/// # Errors
/// If the kernel refuses, with the line of the first service that needs them.
pub(super) fn open_prober(
    config: &Config,
    host: &ResolvedHost,
) -> Result<Option<Arc<VipProber>>, Diagnostic> {
    let Some(first) = config.services.iter().position(VirtualService::probes_vip) else { return Ok(None) };
    let probed = config.services.iter().filter(|service| service.probes_vip());
    let rips = probed.flat_map(|service| service.servers.iter().map(|server| server.address));
    let opened = VipProber::open(host.server_side(), rips, in_flight_max());
    let place = config.places.services.get(first).cloned();
    opened.map(|prober| Some(Arc::new(prober))).map_err(|refusal| {
        let refusal = Diagnostic { what: format!("checks of the VIP: {}", refusal.what), ..refusal };
        match place {
            Some(place) => refusal.at(place),
            None => refusal,
        }
    })
}

impl Director {
    /// Refuses rules with a check of the VIP if the probe programs are not attached.
    pub(super) fn check_prober(&self, rules: &Rules) -> Result<(), Diagnostic> {
        let first = rules.services.iter().find(|service| service.probes_vip());
        match first {
            Some(service) if self.vip_prober.is_none() => {
                let identity = service.identity;
                let what = format!("the first check of the VIP, of the service {identity}");
                Err(Diagnostic::new(DiagnosticKind::InvalidRules, what)
                    .cause(
                        "the probe programs are attached at the start only, and only if a check needs them",
                    )
                    .remedy("restart the director, or write target = \"rip\"")
                    .about([Subject::ServiceSettings(identity)]))
            }
            _ => Ok(()),
        }
    }
}
