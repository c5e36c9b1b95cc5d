//! Checks of ldirectord as checks of the configuration.

use super::lines::{Setting, last};
use super::reader::{ServiceReader, number};
use crate::import::check::{
    CheckReach, ImportedCheck, Named, WantedTiming, command, command_key, perl_pattern,
};
use crate::import::description::{ImportedIdentity, Place};
use crate::import::notice::Notices;
use crate::import::validate::key;
use crate::model::{CheckTiming, Diagnostic};
use crate::time::Span;
use crate::wire::Protocol;
use std::net::{IpAddr, SocketAddr};

/// The checks of a service, before the servers are known.
#[derive(Debug)]
pub(super) struct CheckPlan {
    location: Place,
    kind: PlanKind,
    service: String,
    port: Option<u16>,
    request: String,
    receive: String,
    host: Option<String>,
    is_head: bool,
    timing: CheckTiming,
    /// `maintenancedir` of the file.
    maintenance: Option<(Place, String)>,
    /// Servers get no connections.
    pub(super) is_off: bool,
}

/// Kind of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PlanKind {
    None,
    Connect,
    Ping,
    Negotiate,
    /// The program, and the first two arguments.
    External(Vec<String>),
}

/// Ports with the service that ldirectord takes them for.
const SERVICES: [(&str, u16); 18] = [
    ("ftp", 21),
    ("smtp", 25),
    ("dns", 53),
    ("http", 80),
    ("pop", 110),
    ("nntp", 119),
    ("imap", 143),
    ("ldap", 389),
    ("https", 443),
    ("submission", 587),
    ("imaps", 993),
    ("pops", 995),
    ("oracle", 1521),
    ("radius", 1812),
    ("http_proxy", 3128),
    ("mysql", 3306),
    ("sip", 5060),
    ("pgsql", 5432),
];

impl CheckPlan {
    /// Reads the settings of a service about checks.
    pub(super) fn read(
        of: &ServiceReader<'_>,
        vip: ImportedIdentity,
        protocol: Protocol,
        notices: &mut Notices,
    ) -> Result<Self, Diagnostic> {
        let checktype = of.own("checktype");
        let location = checktype.unwrap_or(&of.of.heading).location.clone();
        let text = |keyword: &str| of.own(keyword).map(|setting| setting.text().to_owned());
        let kind = kind(of, checktype, vip, protocol, notices)?;
        let is_head = match of.own("httpmethod") {
            Some(setting) => match setting.text().to_ascii_uppercase().as_str() {
                "GET" => false,
                "HEAD" => true,
                _ => return Err(setting.error("it is neither GET nor HEAD", "write one of the two")),
            },
            None => false,
        };
        let maintenance = of.find("maintenancedir");
        Ok(Self {
            service: service(of, vip)?,
            port: of
                .own("checkport")
                .map(|port| number(port, 1, u16::MAX.into()))
                .transpose()?
                .map(|port| port as u16),
            request: text("request").unwrap_or_default(),
            receive: text("receive").unwrap_or_default(),
            host: text("virtualhost"),
            is_head,
            timing: timing(of, &location, &kind, notices)?,
            maintenance: maintenance.map(|of| (of.location.clone(), of.text().to_owned())),
            is_off: checktype.is_some_and(|of| of.text() == "off"),
            location,
            kind,
        })
    }

    /// The checks of a server. `talk`: request and expected answer of its own line.
    pub(super) fn checks(
        &self,
        line: &Setting,
        server: SocketAddr,
        talk: Option<&(String, String)>,
        notices: &mut Notices,
    ) -> Vec<ImportedCheck> {
        let location = if talk.is_some() { &line.location } else { &self.location };
        let port = self.port.or_else(|| if server.port() == 0 { port_of(&self.service) } else { None });
        let over_tcp = CheckReach::Port(port);
        let kind = match &self.kind {
            PlanKind::None => None,
            PlanKind::Connect => Some((vec![key("type", "tcp")], over_tcp)),
            PlanKind::Ping => Some((vec![key("type", "ping")], CheckReach::Host)),
            PlanKind::External(words) => Some((external(words, server), CheckReach::Local)),
            PlanKind::Negotiate => self.negotiate(location, talk, over_tcp, notices),
        };
        let check = kind.map(|(keys, reach)| ImportedCheck {
            location: location.clone(),
            name: format!("check of {}", self.service),
            keys,
            reach,
            timing: self.timing,
        });
        check.into_iter().chain(self.maintenance()).collect()
    }

    /// A file with the server's address takes it out.
    fn maintenance(&self) -> Option<ImportedCheck> {
        let (location, directory) = self.maintenance.as_ref()?;
        let path = format!("{}/{{rip}}", directory.trim_end_matches('/'));
        let timing = CheckTiming { fall: 1, rise: 1, ..CheckTiming::every(self.timing.interval) };
        let timing = CheckTiming { down_interval: timing.interval, ..timing };
        let keys = vec![key("type", "file"), key("path", &path), key("good", "absent")];
        let name = "maintenancedir".to_owned();
        Some(ImportedCheck { location: location.clone(), name, keys, reach: CheckReach::Local, timing })
    }

    fn negotiate(
        &self,
        location: &Place,
        talk: Option<&(String, String)>,
        reach: CheckReach,
        notices: &mut Notices,
    ) -> Option<(Vec<String>, CheckReach)> {
        let (request, receive) = talk
            .map_or((self.request.as_str(), self.receive.as_str()), |(request, receive)| (request, receive));
        match self.service.as_str() {
            "http" | "https" => self.http(location, request, receive, notices).map(|keys| (keys, reach)),
            "smtp" | "submission" => Some((vec![key("type", "smtp")], reach)),
            "dns" => Some((dns(location, request, receive, notices), reach)),
            "none" => {
                let what = "service = none has no check";
                notices.note(location, what, "write a [[service.check]]; until then servers count as up");
                None
            }
            name @ ("sip" | "radius") => {
                let what = format!("the talk of service = {name} becomes a ping");
                notices.warn(location, what, "write a check of type \"script\" or \"udp\" in its place");
                Some((vec![key("type", "ping")], CheckReach::Host))
            }
            name => {
                let what = format!(
                    "the talk of service = {name} becomes a TCP connection that is opened and closed"
                );
                notices.warn(location, what, "write a check of type \"script\" in its place");
                Some((vec![key("type", "tcp")], reach))
            }
        }
    }

    fn http(
        &self,
        location: &Place,
        request: &str,
        receive: &str,
        notices: &mut Notices,
    ) -> Option<Vec<String>> {
        if request.contains("://") {
            let what = format!("request {request:?} asks another server, so that nothing checks this one");
            notices.warn(location, what, "write a check of type \"script\"");
            return None;
        }
        let path = format!("/{}", request.trim_start_matches('/'));
        let mut keys = vec![key("type", &self.service), key("path", &path)];
        keys.extend(self.host.as_ref().map(|host| key("host", host)));
        if self.is_head {
            keys.push(key("method", "HEAD"));
        }
        match receive {
            "" => {}
            _ if self.is_head => {
                let what = "receive stands beside httpmethod = HEAD, whose answer has no body";
                notices.warn(location, what, "write method = \"GET\" and regex into the check");
            }
            pattern => keys.push(key("regex", &perl_pattern(pattern))),
        }
        if self.service == "https" {
            keys.push("verify = false".into());
        }
        Some(keys)
    }
}

/// The program with the arguments that ldirectord gives it.
fn external(words: &[String], server: SocketAddr) -> Vec<String> {
    let mut words = words.to_vec();
    words.extend([server.ip().to_string(), server.port().to_string()]);
    vec![key("type", "script"), command_key(&words)]
}

/// A request with an address asks for its name.
fn dns(location: &Place, request: &str, receive: &str, notices: &mut Notices) -> Vec<String> {
    if !receive.is_empty() {
        let what = "receive of service = dns: the answer's records are not compared";
        notices.warn(
            location,
            what,
            "any answer with NOERROR is good; a check of type \"script\" can compare",
        );
    }
    let name = request.trim_start_matches('/');
    let (name, query) = match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            (format!("{d}.{c}.{b}.{a}.in-addr.arpa"), "PTR")
        }
        _ if name.is_empty() => (".".to_owned(), "NS"),
        _ => (name.to_owned(), "A"),
    };
    vec![key("type", "dns"), key("name", &name), key("query", query)]
}

fn kind(
    of: &ServiceReader<'_>,
    checktype: Option<&Setting>,
    vip: ImportedIdentity,
    protocol: Protocol,
    notices: &mut Notices,
) -> Result<PlanKind, Diagnostic> {
    let Some(setting) = checktype else { return Ok(PlanKind::Negotiate) };
    match setting.text() {
        "negotiate" => Ok(PlanKind::Negotiate),
        "connect" if protocol == Protocol::Udp => Ok(PlanKind::Ping),
        "connect" => Ok(PlanKind::Connect),
        "ping" => Ok(PlanKind::Ping),
        "on" => Ok(PlanKind::None),
        "off" => {
            let what = "checktype = off takes no server into use, so their weight is 0";
            notices.warn(&setting.location, what, "write the weights that are meant");
            Ok(PlanKind::None)
        }
        kind @ ("external" | "external-perl") => {
            if kind == "external-perl" {
                let what = "checktype = external-perl becomes a program of its own";
                notices.note(
                    &setting.location,
                    what,
                    "see that it is executable and begins with #!/usr/bin/perl",
                );
            }
            Ok(PlanKind::External(external_command(of, vip)))
        }
        number if number.parse::<u32>().is_ok() => {
            let what = format!("checktype = {number} negotiates once in a while");
            notices.note(&setting.location, what, "directrix does so at each interval");
            Ok(PlanKind::Negotiate)
        }
        _ => {
            let remedy = "write connect, negotiate, ping, external, external-perl, on, off or a number";
            Err(setting.error("there is no such type", remedy))
        }
    }
}

/// The program, and the first two arguments: VIP and port.
fn external_command(of: &ServiceReader<'_>, vip: ImportedIdentity) -> Vec<String> {
    let mut words = command(of.own("checkcommand").map_or("/bin/true", Setting::text));
    words.extend(match vip {
        ImportedIdentity::Address(_, address) => [address.ip().to_string(), address.port().to_string()],
        ImportedIdentity::Mark(mark, _) => [mark.to_string(), "0".to_owned()],
    });
    words
}

/// The service that is spoken to: by its name, else by the port.
fn service(of: &ServiceReader<'_>, vip: ImportedIdentity) -> Result<String, Diagnostic> {
    if let Some(setting) = of.own("service") {
        let name = setting.text();
        let is_known =
            ["none", "simpletcp"].contains(&name) || SERVICES.iter().any(|(known, _)| *known == name);
        return match is_known {
            true => Ok(name.to_owned()),
            false => Err(setting.error("ldirectord has no such service", "write http, for one, or none")),
        };
    }
    let port = match vip {
        ImportedIdentity::Address(_, address) => address.port(),
        ImportedIdentity::Mark(..) => 0,
    };
    let found = SERVICES.iter().find(|(_, of)| *of == port);
    Ok(found.map_or("none", |(name, _)| name).to_owned())
}

fn port_of(service: &str) -> Option<u16> {
    SERVICES.iter().find(|(name, _)| *name == service).map(|(_, port)| *port)
}

fn timing(
    of: &ServiceReader<'_>,
    location: &Place,
    kind: &PlanKind,
    notices: &mut Notices,
) -> Result<CheckTiming, Diagnostic> {
    let interval =
        Named { keyword: "checkinterval", value: interval(of, notices)?.unwrap_or(Span::from_secs(10)) };
    let (names, usual) = match kind {
        PlanKind::Negotiate => (["negotiatetimeout", "checktimeout"], 30),
        _ => (["checktimeout", "negotiatetimeout"], 5),
    };
    let own = names.into_iter().find_map(|name| of.own(name));
    let timeout = own.or_else(|| names.into_iter().find_map(|name| of.find(name)));
    let timeout = timeout.map(seconds).transpose()?.unwrap_or(Span::from_secs(usual));
    let fall = of.find("failurecount").map(|count| number(count, 1, u32::MAX)).transpose()?;
    let wanted = WantedTiming {
        interval,
        timeout: Named { keyword: names[0], value: timeout },
        retry: interval,
        fall: fall.unwrap_or(1),
    };
    Ok(wanted.bounded(location, notices))
}

/// The interval of a service of its own counts with `fork = yes` only.
fn interval(of: &ServiceReader<'_>, notices: &mut Notices) -> Result<Option<Span>, Diagnostic> {
    let forks = of.find("fork").map(|fork| of.is_yes(fork)).transpose()?.unwrap_or_default();
    let Some(own) = of.own("checkinterval").filter(|_| !forks) else {
        return of.find("checkinterval").map(seconds).transpose();
    };
    seconds(own)?;
    let what = "checkinterval of a virtual has no effect without fork = yes";
    notices.note(
        &own.location,
        what,
        "the interval of the file stands in its place; write interval where another is meant",
    );
    last(of.globals, "checkinterval").map(seconds).transpose()
}

fn seconds(setting: &Setting) -> Result<Span, Diagnostic> {
    number(setting, 1, 86_400).map(Span::from_secs)
}
