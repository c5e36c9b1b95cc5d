//! The probe programs for checks of the VIP: attached at the start, as nothing may be attached later, and idle until a check
//! needs them.

use super::Director;
use crate::control::health::{AttachedProber, VipProber, in_flight_max};
use crate::control::host::resolve::ResolvedHost;
use crate::model::{Config, Diagnostic, Rules, Subject, VirtualService};
use std::sync::Arc;

/// Attaches the probe programs.
///
/// # Errors
/// If the kernel refuses and a service has a check of the VIP, with the line of the first one. Without such a check the
/// refusal is kept for the first that comes.
pub(super) fn open_prober(config: &Config, host: &ResolvedHost) -> Result<AttachedProber, Diagnostic> {
    let servers = config.services.iter().flat_map(|service| &service.servers);
    let rips = servers.map(|server| server.address);
    let opened = VipProber::open(host.server_side(), rips, in_flight_max());
    let refusal = match opened {
        Ok(prober) => return Ok(Ok(Arc::new(prober))),
        Err(refusal) => Diagnostic { what: format!("checks of the VIP: {}", refusal.what), ..refusal },
    };
    let Some(first) = config.services.iter().position(VirtualService::probes_vip) else {
        return Ok(Err(refusal));
    };
    Err(match config.places.services.get(first) {
        Some(place) => refusal.at(place.clone()),
        None => refusal,
    })
}

impl Director {
    /// Refuses rules with a check of the VIP if the probe programs are not attached.
    pub(super) fn check_prober(&self, rules: &Rules) -> Result<(), Diagnostic> {
        let first = rules.services.iter().find(|service| service.probes_vip());
        match (first, &self.vip_prober) {
            (Some(service), Err(refusal)) => {
                Err(refusal.clone().about([Subject::ServiceSettings(service.identity)]))
            }
            _ => Ok(()),
        }
    }

    /// Lets the probe programs translate while a service has a check of the VIP.
    pub(super) fn switch_prober(&self) {
        let Ok(prober) = &self.vip_prober else { return };
        let on = self.registry.services.iter().any(|service| service.rule().probes_vip());
        if let Err(error) = prober.translate(on) {
            tracing::error!(%error, "the probe programs cannot be switched: checks of the VIP find nothing out");
        }
    }
}
