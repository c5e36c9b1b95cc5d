//! The `[[service.check]]` and `[[service.server.check]]` tables.

use super::readers::{Read, boolean, choice, number, shown, text};
use super::report::invalid;
use super::section::Section;
use crate::model::{
    CheckKind, CheckTarget, CheckTiming, HealthCheck, HttpCheck, ServiceIdentity, StatusRange, TimingFault,
    UdpCheck,
};
use crate::time::Span;
use toml::de::DeValue;

/// Protocols of checks, each with the keys that only it has.
const TYPES: &[(&str, &[&str])] = &[("tcp", &[]), ("http", HTTP_KEYS), ("udp", UDP_KEYS)];
const HTTP_KEYS: &[&str] = &["path", "host", "expect", "body"];
const UDP_KEYS: &[&str] = &["payload", "reply"];

/// Longest payload of a datagram that is sent in one frame of any network, in bytes.
const PAYLOAD_MAX: usize = 1200;

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
    let types: Vec<_> = TYPES.iter().map(|(name, _)| (*name, *name)).collect();
    let protocol = section.require("type", r#""tcp""#, choice(&types));
    let target = section.require("target", r#""rip""#, target);
    let port = section.get("port", number(1..=u32::from(u16::MAX))).map(|port| port as u16);
    let timing = timing(section);
    let (http, udp) = (http(section), udp(section));
    section.close();
    needs_port(section, port, service);
    let kind = match protocol? {
        "http" => CheckKind::Http(http),
        "udp" if udp.payload.is_empty() => {
            section
                .lacks("of type udp has no payload", "add payload = \"00ff…\": the datagram in hexadecimal");
            return None;
        }
        "udp" => CheckKind::Udp(udp),
        _ => CheckKind::Tcp,
    };
    foreign_keys(section, protocol?);
    Some(HealthCheck { kind, target: target?, port, timing })
}

fn target(value: &DeValue<'_>) -> Read<CheckTarget> {
    match value.as_str() {
        Some("rip") => Ok(CheckTarget::Rip),
        Some(word @ ("vip" | "both")) => Err(invalid(
            format!("is {word:?}: this version cannot probe the VIP on a real server"),
            r#"write "rip", which does not show whether the server has the VIP"#,
        )),
        _ => Err(invalid(format!("is {}", shown(value)), r#"write "rip""#)),
    }
}

fn timing(section: &Section<'_, '_>) -> CheckTiming {
    let usual = CheckTiming::default();
    let count = |key| section.get(key, number(1..=CheckTiming::COUNT_MAX.into())).map(|count| count as u16);
    let by_interval = CheckTiming::every(section.get("interval", seconds).unwrap_or(usual.interval));
    let timing = CheckTiming {
        timeout: section.get("timeout", seconds).unwrap_or(by_interval.timeout),
        fast_interval: section.get("fast_interval", seconds).unwrap_or(by_interval.fast_interval),
        down_interval: section.get("down_interval", seconds).unwrap_or(by_interval.down_interval),
        fall: count("fall").unwrap_or(usual.fall),
        rise: count("rise").unwrap_or(usual.rise),
        ..by_interval
    };
    if let Err(TimingFault { key, fault, remedy }) = timing.check() {
        section.object(key, invalid(fault, remedy));
    }
    timing
}

fn http(section: &Section<'_, '_>) -> HttpCheck {
    let usual = HttpCheck::default();
    HttpCheck {
        path: section.get("path", path).unwrap_or(usual.path),
        host: section.get("host", host),
        expect: section.get("expect", statuses).unwrap_or(usual.expect),
        body: section.get("body", |value| text(value, "the text that the body has,").map(str::to_owned)),
    }
}

fn udp(section: &Section<'_, '_>) -> UdpCheck {
    let payload = section.get("payload", payload).unwrap_or_default();
    UdpCheck { payload, reply: section.get("reply", boolean).unwrap_or(true) }
}

/// Reports keys of another type of check.
fn foreign_keys(section: &Section<'_, '_>, protocol: &str) {
    for (other, keys) in TYPES.iter().filter(|(other, _)| *other != protocol) {
        for key in keys.iter().filter(|key| section.has(key)) {
            let what = format!("stands in a check of type {protocol}, which has no use for it");
            section.object(key, invalid(what, format!("remove it, or write type = {other:?}")));
        }
    }
}

/// A group and a wildcard-port service have no port of their own.
fn needs_port(section: &Section<'_, '_>, port: Option<u16>, service: Option<ServiceIdentity>) {
    if port.is_none() && service.is_some_and(|of| of.port() == 0) {
        let what = "has no port, and neither has its service: it is a group, or has the wildcard port";
        section.lacks(what, "add port = 80, or another one that the servers listen on");
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

fn path(value: &DeValue<'_>) -> Read<String> {
    let path = text(value, r#"a path, as in "/alive","#)?;
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let remedy = r#"write a path that begins with "/", in ASCII without spaces, as in "/alive""#;
    is_path.then(|| path.to_owned()).ok_or_else(|| invalid(format!("is {path:?}, no path"), remedy))
}

fn host(value: &DeValue<'_>) -> Read<String> {
    let host = text(value, r#"a name, as in "www.example.org","#)?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let is_name = !host.is_empty() && host.bytes().all(is_host);
    let remedy = r#"write the name of the site, as in "www.example.org""#;
    is_name.then(|| host.to_owned()).ok_or_else(|| invalid(format!("is {host:?}, no name of a host"), remedy))
}

/// Status codes and ranges of them, as in "200-299,404".
fn statuses(value: &DeValue<'_>) -> Read<Vec<StatusRange>> {
    let example = r#"write status codes, as in "200-299,404""#;
    let words = text(value, r#"status codes, as in "200-299,404","#)?;
    let code = |word: &str| word.trim().parse().ok().filter(|code| (100..=599).contains(code));
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(StatusRange { first: code(first)?, last: code(last)? }).filter(|range| range.first <= range.last)
    };
    let ranges = words.split(',').map(range).collect::<Option<Vec<_>>>();
    ranges.ok_or_else(|| invalid(format!("is {words:?}, no list of status codes"), example))
}

/// A datagram in hexadecimal.
fn payload(value: &DeValue<'_>) -> Read<Vec<u8>> {
    let digits = text(value, r#"the datagram in hexadecimal, as in "00ff","#)?;
    let remedy = "write pairs of hexadecimal digits, at most 1200 pairs";
    let digit = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && digits.len() % 2 == 0;
    let bytes = is_hex.then(|| (0..digits.len()).step_by(2).map(digit).collect::<Option<Vec<_>>>()).flatten();
    let bytes = bytes.filter(|bytes| (1..=PAYLOAD_MAX).contains(&bytes.len()));
    bytes.ok_or_else(|| invalid(format!("is {digits:?}"), remedy))
}
