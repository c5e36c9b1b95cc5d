//! The keys of `[[service]]` about the effects of health.

use super::readers::{Read, boolean, choice, number, text};
use super::report::invalid;
use super::section::Section;
use crate::model::{HealthEffects, Hooks, OnDown, Quorum, RealServer, VirtualService};
use toml::de::DeValue;

/// Reads the effects of health on a service, and its panic share.
pub(super) fn read(section: &Section<'_, '_>) -> (HealthEffects, u8) {
    let has_sorry_server = section.has("sorry_server");
    let usual = HealthEffects::default();
    let effects = HealthEffects {
        on_down: section.get("on_down", choice(&OnDown::ALL)).unwrap_or_default(),
        inhibit_on_failure: section.get("inhibit_on_failure", boolean).unwrap_or(usual.inhibit_on_failure),
        alpha: section.get("alpha", boolean).unwrap_or(usual.alpha),
        quorum: quorum(section),
        hooks: Hooks {
            notify: section.get("notify", program),
            quorum_up: section.get("quorum_up", program),
            quorum_down: section.get("quorum_down", program),
        },
    };
    needs_quorum(section, effects.quorum);
    let panic = panic(section, effects.quorum_beside(has_sorry_server).is_some());
    (effects, panic)
}

fn quorum(section: &Section<'_, '_>) -> Option<Quorum> {
    let weight = section.get("quorum", number(1..=u32::MAX));
    let hysteresis = section.get("hysteresis", number(0..=u32::MAX)).unwrap_or_default();
    let weight = weight?;
    if hysteresis >= weight {
        let what = format!("is {hysteresis}, not below quorum = {weight}: the quorum would never be lost");
        section.object("hysteresis", invalid(what, format!("write at most {}", weight - 1)));
    }
    Some(Quorum { weight, hysteresis })
}

fn needs_quorum(section: &Section<'_, '_>, quorum: Option<Quorum>) {
    for key in ["hysteresis", "quorum_up", "quorum_down"] {
        let implied = section.has("quorum") || key != "hysteresis" && section.has("sorry_server");
        if quorum.is_none() && section.has(key) && !implied {
            section.object(key, invalid("stands without a quorum", "add quorum = 1, or remove it"));
        }
    }
}

/// Panic would keep any quorum: it counts servers that are down as in use.
fn panic(section: &Section<'_, '_>, has_quorum: bool) -> u8 {
    let panic = section.get("panic", number(0..=100)).map(|share| share as u8);
    if let Some(share) = panic.filter(|share| *share > 0 && has_quorum) {
        let beside = if section.has("quorum") { "a quorum" } else { "a sorry server" };
        let what = format!("is {share} beside {beside}: with health ignored, the quorum is not lost");
        section.object("panic", invalid(what, format!("remove it, or {}", beside.replacen('a', "the", 1))));
    }
    panic.unwrap_or(if has_quorum { 0 } else { VirtualService::PANIC })
}

/// Reports a quorum above the weight of all servers.
pub(super) fn quorum_in_reach(section: &Section<'_, '_>, effects: &HealthEffects, servers: &[RealServer]) {
    let regular = servers.iter().filter(|server| !server.role.is_sorry());
    let total: u32 = regular.map(|server| u32::from(server.weight.0)).sum();
    if let Some(quorum) = effects.quorum.filter(|of| of.hysteresis < of.weight && !of.stands(None, total)) {
        let Quorum { weight, hysteresis } = quorum;
        let what = format!("is {weight}, out of reach: all servers together have weight {total}");
        let remedy = format!("write at most {}", total.saturating_sub(hysteresis));
        section.object("quorum", invalid(what, remedy));
    }
}

fn program(value: &DeValue<'_>) -> Read<String> {
    let path = text(value, r#"the path of a program, as in "/usr/local/sbin/notify","#)?;
    let remedy =
        "write the absolute path of a program; it has no arguments, and reads JSON from standard input";
    let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains(['\0', '\n', ' ']);
    is_path.then(|| path.to_owned()).ok_or_else(|| invalid(format!("is {path:?}"), remedy))
}
