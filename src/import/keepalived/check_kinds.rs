//! Types of keepalived's checkers, as keys of the configuration.

use super::checker::{Checker, is_set, last};
use super::keywords::{self, URL};
use super::statement::Statement;
use super::surplus;
use crate::import::check::{CheckReach, command, command_key, perl_pattern};
use crate::import::description::Place;
use crate::import::notice::Notices;
use crate::import::validate::key;

/// A check of one type.
#[derive(Debug)]
pub(super) struct CheckerKind {
    pub(super) location: Place,
    /// Lines of the configuration, `type` first.
    pub(super) keys: Vec<String>,
    pub(super) reach: CheckReach,
}

/// Datagram of a UDP_CHECK without `payload`: "health check". keepalived sends a text of its own.
const PAYLOAD: &str = "6865616c746820636865636b";

/// Reads the checks of a checker: one for each URL. A checker without a counterpart has a notice instead.
pub(super) fn read(checker: &Checker<'_>, notices: &mut Notices) -> Vec<CheckerKind> {
    let of = |keys: Vec<String>, reach| {
        Some(CheckerKind { location: checker.block.location.clone(), keys, reach })
    };
    let kind = match checker.name() {
        "TCP_CHECK" => of(vec![key("type", "tcp")], CheckReach::Port(None)),
        "PING_CHECK" => of(vec![key("type", "ping")], CheckReach::Host),
        "HTTP_GET" | "SSL_GET" => return urls(checker, notices),
        "DNS_CHECK" => of(dns(checker), CheckReach::Port(None)),
        "SMTP_CHECK" => smtp(checker, notices).and_then(|keys| of(keys, CheckReach::Port(None))),
        "UDP_CHECK" => of(udp(checker, notices), CheckReach::Port(None)),
        "MISC_CHECK" => script(checker, notices).and_then(|keys| of(keys, CheckReach::Local)),
        "FILE_CHECK" => file(checker, notices).and_then(|keys| of(keys, CheckReach::Local)),
        name => {
            let what = format!("{name} has no counterpart, so that nothing checks this");
            let instead =
                "write a check of type \"script\", or \"external\" with the reports of a program of yours";
            notices.warn(&checker.block.location, what, instead);
            None
        }
    };
    kind.into_iter().collect()
}

fn urls(checker: &Checker<'_>, notices: &mut Notices) -> Vec<CheckerKind> {
    let urls: Vec<_> = checker.block.statements().iter().filter(|of| of.keyword() == "url").collect();
    if urls.is_empty() {
        let what = format!("{} has no url, so that nothing checks this", checker.name());
        notices.warn(&checker.block.location, what, "write url { path / } into it, and import it again");
    }
    let kind = |url: &Statement, notices: &mut Notices| {
        for statement in url.statements() {
            surplus::add_notice(statement, notices);
            keywords::add_notice(URL, statement, notices);
        }
        let keys = http(checker, url, notices);
        CheckerKind { location: url.location.clone(), keys, reach: CheckReach::Port(None) }
    };
    urls.into_iter().map(|url| kind(url, notices)).collect()
}

fn http(checker: &Checker<'_>, url: &Statement, notices: &mut Notices) -> Vec<String> {
    let tls = checker.name() == "SSL_GET";
    let mut keys = vec![key("type", if tls { "https" } else { "http" })];
    keys.extend(value(url, "path").map(|path| key("path", path)));
    let host = last(url, "virtualhost").or_else(|| checker.find("virtualhost")).and_then(Statement::value);
    keys.extend(host.map(|host| key("host", host)));
    keys.extend(last(url, "status_code").map(|codes| key("expect", &codes.words[1..].join(","))));
    keys.extend(regex(url, notices).map(|regex| key("regex", &regex)));
    if tls {
        keys.push("verify = false".into());
        let named = last(checker.block, "enable_sni").or_else(|| last(url, "enable_sni")).is_some_and(is_set);
        let name = value(url, "sni_name").or_else(|| value(checker.block, "sni_name"));
        keys.extend(name.filter(|_| named).map(|name| key("sni", name)));
    }
    keys
}

/// The expression for the body, with its options as flags.
fn regex(url: &Statement, notices: &mut Notices) -> Option<String> {
    let pattern = last(url, "regex")?;
    let none = last(url, "regex_no_match").filter(|of| is_set(of));
    if let Some(none) = none {
        let what = "regex_no_match wants a body without the expression, which directrix cannot";
        notices.warn(&none.location, what, "let the page have a text when it is good, and write that");
        return None;
    }
    let options = url.statements().iter().filter(|of| of.keyword() == "regex_options");
    let options: Vec<_> =
        options.flat_map(|of| of.words[1..].iter().map(move |option| (of, option))).collect();
    let flags: String = options.iter().filter_map(|(of, option)| flag(of, option, notices)).collect();
    let pattern = pattern.value()?;
    let pattern = match options.iter().any(|(_, option)| *option == "dollar_endonly") || flags.contains('m') {
        true => pattern.to_owned(),
        false => perl_pattern(pattern),
    };
    Some(if flags.is_empty() { pattern } else { format!("(?{flags}){pattern}") })
}

/// The flag for an option of PCRE.
fn flag(statement: &Statement, option: &str, notices: &mut Notices) -> Option<char> {
    match option {
        "caseless" => Some('i'),
        "dotall" => Some('s'),
        "extended" => Some('x'),
        "multiline" => Some('m'),
        // These do not change whether there is a match, or are always so.
        "ungreedy" | "utf" | "ucp" | "dollar_endonly" => None,
        other => {
            let what = format!("the option {other:?} of a regular expression");
            notices.warn(&statement.location, what, "write it into the expression, as on docs.rs/regex");
            None
        }
    }
}

fn dns(checker: &Checker<'_>) -> Vec<String> {
    let query = value(checker.block, "type").unwrap_or("SOA").to_ascii_uppercase();
    let name = value(checker.block, "name").unwrap_or(".");
    vec![key("type", "dns"), key("name", name), key("query", &query)]
}

fn smtp(checker: &Checker<'_>, notices: &mut Notices) -> Option<Vec<String>> {
    if let Some(host) = last(checker.block, "host") {
        let what = "host is an old form of SMTP_CHECK, so that nothing checks this";
        notices.warn(&host.location, what, "write connect_port into SMTP_CHECK itself, and import it again");
        return None;
    }
    let mut keys = vec![key("type", "smtp")];
    keys.extend(value(checker.block, "helo_name").map(|name| key("hello", name)));
    Some(keys)
}

fn udp(checker: &Checker<'_>, notices: &mut Notices) -> Vec<String> {
    let payload = last(checker.block, "payload").map(|of| of.words[1..].concat());
    if payload.is_none() {
        notices.note(
            &checker.block.location,
            "UDP_CHECK has no payload, for which keepalived sends a text of its own",
            "the payload stands for \"health check\": write one that the service knows",
        );
    }
    let reply = last(checker.block, "require_reply");
    if let Some(pattern) = reply.filter(|of| of.words.len() > 1) {
        let what = "the content of a reply to UDP_CHECK is not compared";
        notices.warn(&pattern.location, what, "any reply is good; a check of type \"script\" can compare it");
    }
    let payload = payload.unwrap_or_else(|| PAYLOAD.to_owned());
    let mut keys = vec![key("type", "udp"), key("payload", &payload)];
    if reply.is_none() {
        keys.push("reply = false".into());
    }
    keys
}

fn script(checker: &Checker<'_>, notices: &mut Notices) -> Option<Vec<String>> {
    if let Some(user) = last(checker.block, "user") {
        let what = format!(
            "the script of MISC_CHECK runs as the director's user, not as {}",
            user.words[1..].join(" ")
        );
        notices.warn(
            &user.location,
            what,
            "see that this user may do what the script does, or let a program of yours report",
        );
    }
    let Some(path) = last(checker.block, "misc_path") else {
        notices.warn(
            &checker.block.location,
            "MISC_CHECK has no misc_path, so that nothing checks this",
            "write it",
        );
        return None;
    };
    let mut keys = vec![key("type", "script"), command_key(&command(&path.words[1..].join(" ")))];
    let dynamic = last(checker.block, "misc_dynamic").filter(|of| is_set(of));
    keys.extend(dynamic.map(|_| "dynamic_weight = true".to_owned()));
    Some(keys)
}

/// A `track_file` block of the file names the path.
fn file(checker: &Checker<'_>, notices: &mut Notices) -> Option<Vec<String>> {
    let location = &checker.block.location;
    let name = value(checker.block, "track_file").unwrap_or_default();
    let is_named = |of: &&Statement| {
        matches!(of.keyword(), "track_file" | "vrrp_track_file") && of.value() == Some(name)
    };
    let block = checker.root.iter().rfind(is_named);
    let Some(path) = block.and_then(|block| value(block, "file")) else {
        let what = format!("FILE_CHECK names {name:?}, and no track_file has that name and a file");
        notices.warn(location, what, "write a check of type \"file\" with its path");
        return None;
    };
    let weight = last(checker.block, "weight").or_else(|| last(block?, "weight"));
    let mut keys = vec![key("type", "file"), key("path", path)];
    if let Some(weight) = weight.filter(|of| of.value() != Some("0")) {
        let Some(factor) = factor(weight) else {
            let what = format!(
                "{:?} is no weight from -254 to 254, so that nothing checks this",
                weight.words.join(" ")
            );
            notices.warn(&weight.location, what, "write a check of type \"file\" with its weight");
            return None;
        };
        keys.push(format!("weight = {factor}"));
    }
    Some(keys)
}

/// The factor of a file's number: "weight 2", "weight 2 reverse".
fn factor(weight: &Statement) -> Option<i16> {
    let number = weight.value()?.parse::<i16>().ok().filter(|number| (-254..=254).contains(number))?;
    match weight.words.get(2).map(String::as_str) {
        Some("reverse") => Some(-number),
        Some("noreverse") | None => Some(number),
        Some(_) => None,
    }
}

fn value<'s>(block: &'s Statement, keyword: &str) -> Option<&'s str> {
    last(block, keyword)?.value()
}
