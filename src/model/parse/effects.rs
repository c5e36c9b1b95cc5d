//! The keys of `[[service]]` about the effects of health.

use super::readers::{boolean, choice};
use super::section::Section;
use crate::model::{HealthEffects, OnDown};

/// Reads the effects of health on a service.
pub(super) fn read(section: &Section<'_, '_>) -> HealthEffects {
    let usual = HealthEffects::default();
    HealthEffects {
        on_down: section.get("on_down", choice(&OnDown::ALL)).unwrap_or_default(),
        inhibit_on_failure: section.get("inhibit_on_failure", boolean).unwrap_or(usual.inhibit_on_failure),
        alpha: section.get("alpha", boolean).unwrap_or(usual.alpha),
    }
}
