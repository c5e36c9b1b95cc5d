//! The `[[service.check]]` and `[[service.server.check]]` tables.

use super::check_kinds::{self, Kind};
use super::readers::{Read, choice, number, shown};
use super::report::invalid;
use super::section::Section;
use crate::model::{CheckKind, CheckTarget, CheckTiming, HealthCheck, ServiceIdentity, TimingFault};
use crate::time::Span;
use toml::de::DeValue;

/// Words of `target`.
const TARGETS: &[(&str, CheckTarget)] =
    &[("vip", CheckTarget::Vip), ("rip", CheckTarget::Rip), ("both", CheckTarget::Both)];

/// Reads the checks of a service or of a server. Each that is wrong is reported and left out.
pub(super) fn read(
    owner: &Section<'_, '_>,
    name: &'static str,
    service: Option<ServiceIdentity>,
) -> Vec<HealthCheck> {
    let sections = owner.tables("check", name).unwrap_or_default();
    sections.iter().filter_map(|section| check(section, service)).collect()
}

fn check(section: &Section<'_, '_>, service: Option<ServiceIdentity>) -> Option<HealthCheck> {
    let types: Vec<_> = Kind::ALL.iter().map(|kind| (kind.name, kind)).collect();
    let kind = section.require("type", r#""tcp""#, choice(&types));
    let target = section.get("target", choice(TARGETS)).unwrap_or(CheckTarget::Vip);
    let port = section.get("port", number(1..=u32::from(u16::MAX))).map(|port| port as u16);
    let timing = timing(section);
    let read = kind.and_then(|kind| (kind.read)(section));
    check_kinds::refuse_foreign_keys(section, kind);
    section.close();
    if read.as_ref().is_some_and(CheckKind::has_port) {
        needs_port(section, port, service);
    }
    // Without a probe over the network there is none, and the word of another type has been refused.
    let target = if read.as_ref().is_some_and(CheckKind::is_local) { CheckTarget::Rip } else { target };
    Some(HealthCheck { kind: read?, target, port, timing })
}

fn timing(section: &Section<'_, '_>) -> CheckTiming {
    let usual = CheckTiming::default();
    let count = |key| section.get(key, number(1..=CheckTiming::COUNT_MAX.into())).map(|count| count as u16);
    let by_interval = CheckTiming::every(section.get("interval", seconds).unwrap_or(usual.interval));
    let timing = CheckTiming {
        timeout: section.get("timeout", seconds).unwrap_or(by_interval.timeout),
        fast_interval: section.get("fast_interval", seconds).unwrap_or(by_interval.fast_interval),
        down_interval: section.get("down_interval", seconds).unwrap_or(by_interval.down_interval),
        warm_up: section.get("warm_up", seconds_or_none).unwrap_or(by_interval.warm_up),
        fall: count("fall").unwrap_or(usual.fall),
        rise: count("rise").unwrap_or(usual.rise),
        ..by_interval
    };
    if let Err(TimingFault { key, fault, remedy }) = timing.check() {
        section.object(key, invalid(fault, remedy));
    }
    timing
}

/// A group and a wildcard-port service have no port of their own.
fn needs_port(section: &Section<'_, '_>, port: Option<u16>, service: Option<ServiceIdentity>) {
    if port.is_none() && service.is_some_and(|of| of.port() == 0) {
        let what = "has no port, and neither has its service: it is a group, or has the wildcard port";
        section.lacks(what, "add port = 80, or another one that the servers listen on");
    }
}

/// Seconds as of [`seconds`], or 0.
fn seconds_or_none(value: &DeValue<'_>) -> Read<Span> {
    match value {
        DeValue::Integer(number) if number.as_str() == "0" => Ok(Span::from_millis(0)),
        value => seconds(value),
    }
}

/// Seconds with decimals, to the millisecond. The range is checked with the other intervals.
fn seconds(value: &DeValue<'_>) -> Read<Span> {
    let number = match value {
        DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
        _ => None,
    };
    let range = f64::from(CheckTiming::SPAN_MIN.millis())..=f64::from(CheckTiming::SPAN_MAX.millis());
    match number.map(|seconds| (seconds * 1000.0).round()) {
        Some(ms) if range.contains(&ms) => Ok(Span::from_millis(ms as u32)),
        Some(_) => Err(invalid(format!("is {}, out of range", shown(value)), "write 0.1 to 3600: seconds")),
        None => Err(invalid(format!("is {}, not a number", shown(value)), "write 0.1 to 3600: seconds")),
    }
}
