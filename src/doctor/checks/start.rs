//! The start itself: what `directrix run` would refuse.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::{FindingLevel, Remedy};
use crate::model::Diagnostic;

/// Reasons of a refusal, but for those about real servers.
pub(in crate::doctor) fn refused(facts: &DirectorFacts) -> Judgement {
    let refusals = facts.refusals.iter().filter(|refusal| !refusal.of_server);
    let mut faults: Vec<_> = refusals.map(|refusal| fault(&refusal.diagnostic)).collect();
    faults.extend(facts.interfaces.iter().filter(|one| !one.link.has_carrier).map(|one| {
        let effect = "nothing is claimed and no frame arrives before it comes";
        Fault::new(FindingLevel::Error, format!("{} has no carrier", one.name()), effect)
            .advice("see to the cable, the switch port, or the other end of the veth")
    }));
    faults.into()
}

/// A refusal as a finding.
pub(super) fn fault(refusal: &Diagnostic) -> Fault {
    let place = refusal.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    let effect = if refusal.cause.is_empty() { "the director does not start" } else { &refusal.cause };
    let fault = Fault::new(FindingLevel::Error, format!("{place}{}", refusal.what), effect);
    match refusal.remedy.strip_prefix("bring it up: ") {
        Some(line) => fault.command(line),
        None => Fault {
            remedy: (!refusal.remedy.is_empty()).then(|| Remedy::Advice(refusal.remedy.clone())),
            ..fault
        },
    }
}
