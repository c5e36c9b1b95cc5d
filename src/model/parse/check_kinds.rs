//! The keys that only some types of checks have.

use super::readers::{Read, boolean, choice, number, shown, text};
use super::report::invalid;
use super::section::Section;
use crate::model::{
    BodyPattern, CheckKind, DnsCheck, DnsQueryType, DnsRcode, DnsTransport, ExternalCheck, FileCheck,
    GoodFile, HttpCheck, HttpMethod, HttpsCheck, ScriptCheck, SmtpCheck, StatusRange, UdpCheck,
};
use crate::time::Span;
use std::collections::BTreeSet;
use std::net::IpAddr;
use toml::de::DeValue;

/// Longest payload of a datagram that is sent in one frame of any network, in bytes.
const PAYLOAD_MAX: usize = 1200;
/// Headers that the check sets itself.
const OWN_HEADERS: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

/// A type of check.
#[derive(Debug)]
pub(super) struct Kind {
    /// Value of the key `type`.
    pub(super) name: &'static str,
    /// Keys beside `type` and the times.
    keys: &'static [&'static str],
    /// Reads them.
    pub(super) read: fn(&Section<'_, '_>) -> Option<CheckKind>,
}

const HTTP_KEYS: &[&str] =
    &["target", "port", "method", "path", "host", "headers", "expect", "body", "regex"];
const HTTPS_KEYS: &[&str] = &[
    "target",
    "port",
    "method",
    "path",
    "host",
    "headers",
    "expect",
    "body",
    "regex",
    "sni",
    "verify",
    "ca",
    "expiry_warning",
];
const UDP_KEYS: &[&str] = &["target", "port", "payload", "reply"];
const DNS_KEYS: &[&str] = &["target", "port", "name", "query", "rcode", "transport"];
const SMTP_KEYS: &[&str] = &["target", "port", "hello"];

impl Kind {
    /// Every type.
    pub(super) const ALL: &[Self] = &[
        Self { name: "tcp", keys: &["target", "port"], read: |_| Some(CheckKind::Tcp) },
        Self { name: "http", keys: HTTP_KEYS, read: |section| http(section).map(CheckKind::Http) },
        Self { name: "https", keys: HTTPS_KEYS, read: |section| https(section).map(CheckKind::Https) },
        Self { name: "udp", keys: UDP_KEYS, read: |section| udp(section).map(CheckKind::Udp) },
        Self { name: "dns", keys: DNS_KEYS, read: |section| dns(section).map(CheckKind::Dns) },
        Self { name: "smtp", keys: SMTP_KEYS, read: |section| Some(CheckKind::Smtp(smtp(section))) },
        Self { name: "ping", keys: &["target"], read: |_| Some(CheckKind::Ping) },
        Self {
            name: "script",
            keys: &["port", "command", "dynamic_weight"],
            read: |section| script(section).map(CheckKind::Script),
        },
        Self {
            name: "file",
            keys: &["path", "good", "weight"],
            read: |section| file(section).map(CheckKind::File),
        },
        Self {
            name: "external",
            keys: &["name", "max_age"],
            read: |section| external(section).map(CheckKind::External),
        },
    ];
}

/// Reports keys of other types of checks. Without a type any of them may be right.
pub(super) fn refuse_foreign_keys(section: &Section<'_, '_>, kind: Option<&Kind>) {
    let keys: BTreeSet<_> = Kind::ALL.iter().flat_map(|kind| kind.keys).copied().collect();
    for key in keys.into_iter().filter(|key| section.has(key)) {
        let _ = section.get(key, |_| Ok(())); // it is a key of a check
        let Some(kind) = kind.filter(|kind| !kind.keys.contains(&key)) else { continue };
        let what = format!("stands in a check of type {}, which has no use for it", kind.name);
        let others = Kind::ALL.iter().filter(|other| other.keys.contains(&key));
        let others: Vec<_> = others.map(|other| format!("{:?}", other.name)).collect();
        let remedy = match others.len() {
            1..=3 => format!("remove it, or write type = {}", others.join(" or ")),
            _ => "remove it".into(),
        };
        section.object(key, invalid(what, remedy));
    }
}

fn http(section: &Section<'_, '_>) -> Option<HttpCheck> {
    let usual = HttpCheck::default();
    let check = HttpCheck {
        method: section.get("method", choice(&HttpMethod::NAMES)).unwrap_or(usual.method),
        path: section.get("path", path).unwrap_or(usual.path),
        host: section.get("host", host),
        headers: section.get("headers", headers).unwrap_or_default(),
        expect: section.get("expect", statuses).unwrap_or(usual.expect),
        body: section.get("body", |value| text(value, "the text that the body has,").map(str::to_owned)),
        regex: section.get("regex", pattern),
    };
    let of_the_body = ["body", "regex"].into_iter().find(|key| section.has(key));
    if let Some(key) = of_the_body.filter(|_| check.method == HttpMethod::Head) {
        let what = "is of no use with method = \"HEAD\", whose answer has no body";
        section.object(key, invalid(what, "remove it, or write method = \"GET\""));
        return None;
    }
    Some(check)
}

fn https(section: &Section<'_, '_>) -> Option<HttpsCheck> {
    let check = HttpsCheck {
        sni: section.get("sni", server_name),
        verify: section.get("verify", boolean).unwrap_or(true),
        ca: section.get("ca", absolute),
        expiry_warning: section
            .get("expiry_warning", number(0..=3650))
            .map_or(HttpsCheck::EXPIRY_WARNING, |days| days as u16),
        http: http(section)?,
    };
    if check.verify && check.server_name().is_none() {
        let what = "of type https has no name that the certificate must be valid for";
        section.lacks(what, r#"add host = "www.example.org", or verify = false"#);
        return None;
    }
    if let Some(ca) = check.ca.as_ref().filter(|_| !check.verify) {
        let what = format!("is {ca:?}, but verify = false trusts any certificate");
        section.object("ca", invalid(what, "remove one of the two"));
    }
    Some(check)
}

fn udp(section: &Section<'_, '_>) -> Option<UdpCheck> {
    let reply = section.get("reply", boolean).unwrap_or(true);
    if !section.has("payload") {
        let remedy = "add payload = \"00ff…\": the datagram in hexadecimal";
        section.lacks("of type udp has no payload", remedy);
    }
    Some(UdpCheck { payload: section.get("payload", payload)?, reply })
}

fn dns(section: &Section<'_, '_>) -> Option<DnsCheck> {
    let query = section.get("query", choice(&DnsQueryType::NAMES)).unwrap_or(DnsQueryType::A);
    let rcode = section.get("rcode", rcodes).unwrap_or_else(|| vec![DnsRcode::NO_ERROR]);
    let transport = section.get("transport", choice(&DnsTransport::NAMES)).unwrap_or(DnsTransport::Udp);
    if !section.has("name") {
        section
            .lacks("of type dns has no name", r#"add name = "www.example.org": the name that is asked for"#);
    }
    Some(DnsCheck { name: section.get("name", domain)?, query, rcode, transport })
}

fn smtp(section: &Section<'_, '_>) -> SmtpCheck {
    section.get("hello", host).map_or_else(SmtpCheck::default, |hello| SmtpCheck { hello })
}

fn script(section: &Section<'_, '_>) -> Option<ScriptCheck> {
    let example = r#"["/usr/local/lib/check-web", "--fast"]"#;
    let dynamic_weight = section.get("dynamic_weight", boolean).unwrap_or_default();
    Some(ScriptCheck { command: section.require("command", example, command)?, dynamic_weight })
}

fn file(section: &Section<'_, '_>) -> Option<FileCheck> {
    let good = section.get("good", choice(&GoodFile::NAMES)).unwrap_or(GoodFile::Zero);
    if !section.has("path") {
        section.lacks(
            "of type file has no path",
            r#"add path = "/run/checks/{rip}": {rip} stands for the server"#,
        );
    }
    let weight = section.get("weight", factor);
    if weight.is_some() && good != GoodFile::Zero {
        let what = format!("stands beside good = {:?}, for which the file needs no number", good.name());
        section.object("weight", invalid(what, "remove one of the two"));
    }
    Some(FileCheck { path: section.get("path", absolute)?, good, weight })
}

fn external(section: &Section<'_, '_>) -> Option<ExternalCheck> {
    let age = section.get("max_age", number(1..=86_400)).map_or(ExternalCheck::MAX_AGE, Span::from_secs);
    if !section.has("name") {
        section.lacks("of type external has no name", r#"add name = "db": the name in the reports"#);
    }
    Some(ExternalCheck { name: section.get("name", report_name)?, max_age: age })
}

/// The factor of a file's number.
fn factor(value: &DeValue<'_>) -> Read<i16> {
    let digits = value.as_integer();
    let number = digits.and_then(|digits| i16::from_str_radix(digits.as_str(), digits.radix()).ok());
    let number = number.filter(|number| (-254..=254).contains(number) && *number != 0);
    let remedy = "write a whole number from -254 to 254, but not 0";
    number.ok_or_else(|| invalid(format!("is {}", shown(value)), remedy))
}

fn path(value: &DeValue<'_>) -> Read<String> {
    let path = text(value, r#"a path, as in "/alive","#)?;
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let remedy = r#"write a path that begins with "/", in ASCII without spaces, as in "/alive""#;
    is_path.then(|| path.to_owned()).ok_or_else(|| invalid(format!("is {path:?}, no path"), remedy))
}

fn headers(value: &DeValue<'_>) -> Read<Vec<(String, String)>> {
    let remedy = r#"write a table of texts, as in { "X-Probe" = "1" }"#;
    let table = value.as_table().ok_or_else(|| invalid(format!("is {}", shown(value)), remedy))?;
    table.iter().map(|(name, value)| header(name.get_ref(), value.get_ref())).collect()
}

fn header(name: &str, value: &DeValue<'_>) -> Read<(String, String)> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let fault = |what: String, remedy: &str| Err(invalid(what, remedy));
    if name.is_empty() || !name.bytes().all(is_name) {
        return fault(format!("has {name:?}, no name of a header"), "write letters, digits and hyphens");
    }
    if name.eq_ignore_ascii_case("host") {
        return fault(format!("has {name:?}"), r#"write host = "www.example.org" instead"#);
    }
    if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        return fault(format!("has {name:?}, which the check sets itself"), "remove it");
    }
    let content = text(value, r#"each header's value"#)?;
    if !content.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
        return fault(format!("has {name:?} with {content:?}"), "write printable ASCII");
    }
    Ok((name.to_owned(), content.to_owned()))
}

fn pattern(value: &DeValue<'_>) -> Read<BodyPattern> {
    let words = text(value, r#"a regular expression, as in "^ok [0-9]+","#)?;
    BodyPattern::new(words).map_err(|fault| {
        let remedy =
            "write an expression as on docs.rs/regex, which has no look-around and no backreferences";
        invalid(format!("is {words:?}, no regular expression: {fault}"), remedy)
    })
}

fn server_name(value: &DeValue<'_>) -> Read<String> {
    let name = text(value, r#"a name, as in "www.example.org","#)?;
    let is_name = is_domain(name) && name.parse::<IpAddr>().is_err();
    let remedy = r#"write the name in the certificate, as in "www.example.org""#;
    is_name.then(|| name.to_owned()).ok_or_else(|| invalid(format!("is {name:?}, no name of a host"), remedy))
}

/// A name in DNS; "." is the root.
fn domain(value: &DeValue<'_>) -> Read<String> {
    let name = text(value, r#"a name, as in "www.example.org","#)?;
    let is_name = name == "." || is_domain(name.strip_suffix('.').unwrap_or(name));
    let remedy = r#"write a name in DNS, as in "www.example.org", or "." for the root"#;
    is_name.then(|| name.to_owned()).ok_or_else(|| invalid(format!("is {name:?}, no name in DNS"), remedy))
}

/// Returns true for labels of letters, digits, hyphens and underscores (RFC 1035 section 2.3.4 has the lengths).
fn is_domain(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A program with its arguments.
fn command(value: &DeValue<'_>) -> Read<Vec<String>> {
    let remedy =
        r#"write the path of a program and its arguments, as in ["/usr/local/lib/check-web", "--fast"]"#;
    let words = value.as_array().ok_or_else(|| invalid(format!("is {}, no list", shown(value)), remedy))?;
    let words = words.iter().map(|word| text(word.get_ref(), "each word").map(str::to_owned));
    let words = words.collect::<Read<Vec<_>>>()?;
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return Err(invalid(format!("has {word:?}"), "remove the byte 0"));
    }
    match words.first() {
        Some(program) if program.starts_with('/') => Ok(words),
        Some(program) => Err(invalid(format!("begins with {program:?}, no absolute path"), remedy)),
        None => Err(invalid("is empty", remedy)),
    }
}

/// A name without spaces, to be written on a command line.
fn report_name(value: &DeValue<'_>) -> Read<String> {
    let name = text(value, r#"a name, as in "db","#)?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_letter);
    let remedy = "write up to 64 letters, digits, hyphens, dots and underscores";
    is_name.then(|| name.to_owned()).ok_or_else(|| invalid(format!("is {name:?}"), remedy))
}

/// Response codes, as in "NOERROR,NXDOMAIN".
fn rcodes(value: &DeValue<'_>) -> Read<Vec<DnsRcode>> {
    let words = text(value, r#"response codes, as in "NOERROR,NXDOMAIN","#)?;
    let codes = words.split(',').map(|word| DnsRcode::named(word.trim())).collect::<Option<Vec<_>>>();
    codes.ok_or_else(|| {
        let remedy = format!("write one or several of {}", DnsRcode::NAMES.join(", "));
        invalid(format!("is {words:?}, no list of response codes"), remedy)
    })
}

/// The absolute path of a file.
pub(super) fn absolute(value: &DeValue<'_>) -> Read<String> {
    let path = text(value, r#"a path, as in "/etc/ssl/ca.pem","#)?;
    let is_path = path.starts_with('/') && !path.contains('\0');
    let remedy = r#"write the whole path from "/" on"#;
    is_path.then(|| path.to_owned()).ok_or_else(|| invalid(format!("is {path:?}, no absolute path"), remedy))
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
