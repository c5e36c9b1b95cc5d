//! Reader of the checkers in `real_server`, with the settings that they inherit.

use super::check_kinds::{self, CheckerKind};
use super::checker::{Checker, is_set, last};
use super::keywords::{self, CHECKER};
use super::statement::Statement;
use super::surplus;
use crate::import::check::{CheckReach, ImportedCheck, Named, WantedTiming, span};
use crate::import::description::At;
use crate::import::notice::Notices;
use crate::model::CheckTiming;
use crate::time::Span;
use std::net::IpAddr;

/// Built-in `delay_loop`.
const DELAY_LOOP: Span = Span::from_secs(60);
/// Built-in `connect_timeout`.
const CONNECT_TIMEOUT: Span = Span::from_secs(5);

/// Reads the checkers of a `real_server` of this address.
pub(super) fn read(
    server: &Statement,
    service: &Statement,
    root: &[Statement],
    rip: IpAddr,
    notices: &mut Notices,
) -> Vec<ImportedCheck> {
    let checkers = server.statements().iter().filter(|statement| surplus::is_check(statement));
    checkers.flat_map(|block| Checker { block, server, service, root }.read(rip, notices)).collect()
}

impl Checker<'_> {
    fn read(&self, rip: IpAddr, notices: &mut Notices) -> Vec<ImportedCheck> {
        for statement in self.block.statements() {
            surplus::add_notice(statement, notices);
            keywords::add_notice(CHECKER, statement, notices);
        }
        if self.asks_another(rip, notices) {
            return Vec::new();
        }
        let kinds = check_kinds::read(self, notices);
        if kinds.is_empty() {
            return Vec::new();
        }
        let timing = self.timing(notices);
        let check = |CheckerKind { location, keys, reach }| {
            let reach = if reach == CheckReach::Port(None) { CheckReach::Port(self.port()) } else { reach };
            ImportedCheck { location, name: self.name().to_owned(), keys, reach, timing }
        };
        kinds.into_iter().map(check).collect()
    }

    fn port(&self) -> Option<u16> {
        last(self.block, "connect_port")?.value()?.parse().ok()
    }

    /// Whether the checker does not ask the real server itself.
    fn asks_another(&self, rip: IpAddr, notices: &mut Notices) -> bool {
        let Some(statement) = last(self.block, "connect_ip") else { return false };
        let address = statement.value().unwrap_or_default();
        let is_other = address.parse() != Ok(rip);
        if is_other {
            let what = format!("{} asks {address}, not the real server {rip}", self.name());
            let instead = "write a check of type \"script\" for it; to ask for the VIP on the server, write target = \"vip\"";
            notices.warn(&statement.location, what, instead);
        }
        is_other
    }

    fn timing(&self, notices: &mut Notices) -> CheckTiming {
        if self.name() == "FILE_CHECK" {
            // keepalived watches the file: a change counts at once.
            return CheckTiming { fall: 1, rise: 1, ..CheckTiming::default() };
        }
        let interval = self.span("delay_loop", notices).unwrap_or(DELAY_LOOP);
        let (timeout, keyword) = match self.name() {
            "MISC_CHECK" => {
                (last(self.block, "misc_timeout").and_then(|of| time(of, notices)), "misc_timeout")
            }
            _ => (self.span("connect_timeout", notices), "connect_timeout"),
        };
        let usual = match self.name() {
            "MISC_CHECK" => {
                last(self.service, "delay_loop").and_then(|of| time(of, notices)).unwrap_or(DELAY_LOOP)
            }
            _ => CONNECT_TIMEOUT,
        };
        let wanted = WantedTiming {
            interval: Named { keyword: "delay_loop", value: interval },
            timeout: Named { keyword, value: timeout.unwrap_or(usual) },
            retry: Named { keyword: "delay_before_retry", value: self.pause(interval, notices) },
            fall: self.retries(notices).saturating_add(1),
        };
        self.note_steps(notices);
        let timing = wanted.bounded(&self.block.location, notices);
        CheckTiming { warm_up: self.warm_up(notices).unwrap_or(timing.warm_up), ..timing }
    }

    /// Time over which first probes are spread; 0: at once.
    fn warm_up(&self, notices: &mut Notices) -> Option<Span> {
        let statement = self.find("warmup")?;
        if statement.value() == Some("0") {
            return Some(Span::from_millis(0));
        }
        time(statement, notices).map(|span| span.clamp(CheckTiming::SPAN_MIN, CheckTiming::SPAN_MAX))
    }

    fn span(&self, keyword: &str, notices: &mut Notices) -> Option<Span> {
        time(self.find(keyword)?, notices)
    }

    /// Time between failed attempts of a server that is up.
    fn pause(&self, interval: Span, notices: &mut Notices) -> Span {
        let usual = match self.name() {
            "HTTP_GET" | "SSL_GET" => Span::from_secs(3),
            "DNS_CHECK" => interval,
            _ => Span::from_secs(1),
        };
        self.span("delay_before_retry", notices).unwrap_or(usual)
    }

    /// Failures before the last one.
    fn retries(&self, notices: &mut Notices) -> u32 {
        let usual = match self.name() {
            "DNS_CHECK" => 3,
            "MISC_CHECK" => 0,
            _ => 1,
        };
        let Some(statement) = last(self.block, "nb_get_retry").or_else(|| self.find("retry")) else {
            return usual;
        };
        let number = statement.value().and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| {
            warn_value(statement, "a number of attempts", notices);
            usual
        })
    }

    /// keepalived has no time limit for a check of several steps.
    fn note_steps(&self, notices: &mut Notices) {
        if matches!(self.name(), "HTTP_GET" | "SSL_GET" | "SMTP_CHECK") {
            notices.note(
                &self.block.location,
                format!("connect_timeout of {} is for each of its steps", self.name()),
                "timeout is for the whole probe: write a longer one where answers are slow",
            );
        }
    }
}

fn time(statement: &Statement, notices: &mut Notices) -> Option<Span> {
    let time = statement.value().and_then(span);
    if time.is_none() {
        warn_value(statement, "a number of seconds above 0", notices);
    }
    time
}

fn warn_value(statement: &Statement, wanted: &str, notices: &mut Notices) {
    let what = format!("{:?} has not {wanted}, so the default counts", statement.words.join(" "));
    notices.warn(&statement.location, what, "write a right one into directrix.toml");
}

/// Reads the effects of health on a service with checks: lines of `[[service]]`.
pub(super) fn effects(service: &Statement, notices: &mut Notices) -> Vec<At<String>> {
    let servers: Vec<_> = service.statements().iter().filter(|of| of.keyword() == "real_server").collect();
    if !is_checked(service) {
        return Vec::new();
    }
    let at = |line: &str| At::new(&service.location, line.to_owned());
    let mut lines = vec![at("panic = 0")];
    if is_alpha(service, &servers, notices) {
        lines.push(at("alpha = true"));
    }
    if !is_inhibited(service, &servers, notices) {
        lines.push(at("inhibit_on_failure = false"));
    }
    lines.extend(quorum(service));
    lines
}

/// Whether a service has a checker.
pub(super) fn is_checked(service: &Statement) -> bool {
    let servers = service.statements().iter().filter(|of| of.keyword() == "real_server");
    servers.flat_map(Statement::statements).any(surplus::is_check)
}

/// A quorum other than the default of 1, and its hysteresis, which keepalived bounds by it.
fn quorum(service: &Statement) -> Vec<At<String>> {
    let number = |keyword| last(service, keyword).and_then(|of| Some((of, of.value()?.parse::<u32>().ok()?)));
    let Some((of, weight)) = number("quorum").filter(|(_, weight)| *weight > 1) else { return Vec::new() };
    let mut lines = vec![At::new(&of.location, format!("quorum = {weight}"))];
    if let Some((of, hysteresis)) = number("hysteresis").filter(|(_, hysteresis)| *hysteresis > 0) {
        lines.push(At::new(&of.location, format!("hysteresis = {}", hysteresis.min(weight - 1))));
    }
    lines
}

/// Whether the checked servers begin as down: that is set for all servers of a service.
fn is_alpha(service: &Statement, servers: &[&Statement], notices: &mut Notices) -> bool {
    let own = |server: &Statement| {
        let checkers = server.statements().iter().filter(|of| surplus::is_check(of));
        let mut found = checkers.filter_map(|checker| last(checker, "alpha")).chain(last(server, "alpha"));
        found.find(|of| is_set(of)).map(|of| of.location.clone())
    };
    if last(service, "alpha").is_some_and(is_set) {
        return true;
    }
    let found: Vec<_> = servers.iter().filter_map(|server| own(server)).collect();
    let all = !found.is_empty() && found.len() == servers.len();
    for location in found.iter().filter(|_| !all) {
        notices.warn(
            location,
            "alpha is set for some servers of a service",
            "alpha = true in [[service]] is for all",
        );
    }
    all
}

/// Whether servers that are down stay listed with weight 0.
fn is_inhibited(service: &Statement, servers: &[&Statement], notices: &mut Notices) -> bool {
    let find = |server| last(server, "inhibit_on_failure").or_else(|| last(service, "inhibit_on_failure"));
    let some = servers.iter().filter(|server| find(server).is_some_and(is_set)).count();
    if some == 0 {
        notices.note(
            &service.location,
            "keepalived removes a server that is down, and its connections hang; directrix lets them go on",
            "write on_down = \"cut\" into [[service]] to end them by a reset",
        );
    } else if some < servers.len() {
        let what = "inhibit_on_failure is set for some servers of a service";
        notices.note(&service.location, what, "a server that is down is listed with weight 0, as by default");
    }
    some > 0
}
