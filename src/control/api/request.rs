//! Change requests: the body of `POST /v1/changes`, a list that is applied as a whole or not at all.

mod settings;

use super::strict::{strictly, strictly_if_any};
use crate::model::{
    self, Change, Diagnostic, DiagnosticKind, HealthMode, RealServer, Rules, Scheduler, ServiceIdentity,
    Subject, VirtualService, Weight,
};
use crate::time::Span;
use crate::wire::vlan::Vlans;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Longest timeout or deadline in seconds, by the range of [`Span`].
pub use crate::model::SECONDS_MAX;

/// A single change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ChangeRequest {
    /// `ipvsadm -A`
    AddService {
        /// Service.
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
        /// Settings.
        #[serde(default)]
        settings: ServiceSettings,
    },
    /// `ipvsadm -E`: a missing setting gets its default, except the VLAN and the slow start, which stay.
    EditService {
        /// Service.
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
        /// New settings.
        #[serde(default)]
        settings: ServiceSettings,
    },
    /// `ipvsadm -D`
    DeleteService {
        /// Service.
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
    },
    /// `ipvsadm -C`
    Clear {},
    /// `ipvsadm -a`
    AddServer {
        /// Service.
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// Settings.
        #[serde(default)]
        settings: ServerSettings,
    },
    /// `ipvsadm -e`: a missing setting gets its default, except the MAC address, which stays.
    EditServer {
        /// Service.
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// New settings.
        #[serde(default)]
        settings: ServerSettings,
    },
    /// `ipvsadm -d`
    DeleteServer {
        /// Service.
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
    },
    /// Quiesces a server, and removes it once its connections are over.
    Drain {
        /// Service.
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// Seconds after which it is removed with its connections.
        #[serde(default)]
        deadline: Option<u32>,
    },
    /// Sets the operator's hold on the health of real servers. It lasts until the next one, or the end of the director.
    SetHealth {
        /// Service; all services if `None`.
        #[serde(default, deserialize_with = "strictly_if_any")]
        service: Option<ServiceIdentity>,
        /// RIP; all servers if `None`.
        #[serde(default)]
        server: Option<IpAddr>,
        /// The hold: "auto" ends it.
        mode: HealthMode,
    },
    /// `ipvsadm --set`, in seconds; 0 or a missing value leaves a timeout as it is.
    SetTimeouts {
        /// TCP ESTABLISHED.
        #[serde(default)]
        tcp: u32,
        /// TCP FIN_WAIT.
        #[serde(default)]
        tcp_fin: u32,
        /// UDP.
        #[serde(default)]
        udp: u32,
    },
    /// `ipvsadm -Z`
    Zero {
        /// Service; all services if `None`.
        #[serde(default, deserialize_with = "strictly_if_any")]
        service: Option<ServiceIdentity>,
    },
}

/// Settings of a virtual service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// VLANs of the VIP, the outer one first. `None`: those of its other services, or as before.
    pub vlan: Option<Vlans>,
    /// Scheduler name.
    pub scheduler: String,
    /// "sh-fallback", "mh-port" and so on.
    pub scheduler_flags: Vec<String>,
    /// Binds a client to the server that it got first.
    pub persistence: Option<Persistence>,
    /// Schedules every datagram by itself.
    pub one_packet: bool,
    /// Duration of a slow start in seconds; 0 ends it.
    pub slow_start: Option<u32>,
    /// Matches of a group, as in a configuration file. Without any, a new group gets the known ones of its mark, and
    /// an existing one keeps its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
}

/// Requested persistence: ipvsadm's `-p` and `-M`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Persistence {
    /// Timeout of a template after the client's last connection, in seconds.
    pub timeout: u32,
    /// Prefix length by which clients share a template; that of a whole address if neither this nor `netmask` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u8>,
    /// The prefix as a mask, for IPv4. Excludes `prefix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Ipv4Addr>,
    /// Persistence engine; none is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// Settings of a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Share of new connections.
    pub weight: u16,
    /// Connections at which it counts as overloaded; 0 for never.
    pub upper_threshold: u32,
    /// Connections below which it is no longer overloaded; 0 for 3/4 of the upper threshold.
    pub lower_threshold: u32,
    /// A fixed MAC address.
    pub mac: Option<String>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            vlan: None,
            scheduler: Scheduler::default().name().into(),
            scheduler_flags: Vec::new(),
            persistence: None,
            one_packet: false,
            slow_start: None,
            matches: Vec::new(),
        }
    }
}

impl Default for Persistence {
    fn default() -> Self {
        Self { timeout: model::Persistence::TIMEOUT.secs(), prefix: None, netmask: None, engine: None }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { weight: Weight::default().0, upper_threshold: 0, lower_threshold: 0, mac: None }
    }
}

impl ChangeRequest {
    /// Applies the change to `rules`; requests that concern no rule leave them as they are.
    ///
    /// # Errors
    /// [`Diagnostic`]; the rules are unchanged.
    pub fn apply(&self, rules: &mut Rules) -> Result<(), Diagnostic> {
        if let Some(change) = self.change(rules)? {
            rules.change(&change)?;
        }
        Ok(())
    }

    /// Returns a line, in the form of [`model::Difference`], for the effect beyond the rules.
    #[must_use]
    pub fn beyond_rules(&self) -> Option<String> {
        match self {
            Self::Zero { service: Some(service) } => Some(format!("~ {service}: counters set to zero")),
            Self::Zero { service: None } => Some("~ all counters set to zero".into()),
            Self::Drain { service, server, deadline } => {
                let until = deadline.map(|seconds| format!(", removed after {seconds} s at the latest"));
                Some(format!("~ {service} -> {server}: drains{}", until.unwrap_or_default()))
            }
            Self::SetHealth { service, server, mode } => {
                let of = match (service, server) {
                    (Some(service), Some(rip)) => format!("{service} -> {rip}"),
                    (Some(service), None) => service.to_string(),
                    (None, Some(rip)) => format!("{rip} in all services"),
                    (None, None) => "all services".into(),
                };
                Some(format!("~ {of}: health {mode}"))
            }
            _ => None,
        }
    }

    /// Returns true if this request introduces `culprit` into the rules.
    #[must_use]
    pub fn introduces(&self, culprit: Subject) -> bool {
        match (self, culprit) {
            (Self::AddService { service, .. }, Subject::Service(of)) => *service == of,
            (
                Self::AddService { service, .. } | Self::EditService { service, .. },
                Subject::ServiceSettings(of),
            ) => *service == of,
            (Self::AddServer { service, server, .. }, Subject::Server(of, rip)) => {
                (*service, *server) == (of, rip)
            }
            (
                Self::AddServer { service, server, .. } | Self::EditServer { service, server, .. },
                Subject::ServerSettings(of, rip),
            ) => (*service, *server) == (of, rip),
            _ => false,
        }
    }

    fn change(&self, rules: &Rules) -> Result<Option<Change>, Diagnostic> {
        Ok(Some(match self {
            Self::AddService { service, settings } => {
                let new = settings.service(*service)?;
                let vlan = settings.vlan.unwrap_or_else(|| rules.vlan(*service, &new.group));
                Change::AddService(VirtualService { vlan, ..new })
            }
            Self::EditService { service, settings } => {
                let (old, new) = (rules.service(*service)?, settings.service(*service)?);
                let slow_start = if settings.slow_start.is_some() { new.slow_start } else { old.slow_start };
                Change::EditService(VirtualService {
                    vlan: settings.vlan.unwrap_or(old.vlan),
                    slow_start,
                    ..new
                })
            }
            Self::DeleteService { service } => Change::DeleteService(*service),
            Self::Clear {} => Change::Clear,
            Self::AddServer { service, server, settings } => {
                let server = settings.server(*server)?;
                rules.service(*service)?;
                settings.thresholds()?;
                Change::AddServer(*service, server)
            }
            Self::EditServer { service, server, settings } => {
                let server = settings.server(*server)?;
                rules.service(*service)?;
                settings.thresholds()?;
                Change::EditServer(*service, server)
            }
            Self::DeleteServer { service, server } => Change::DeleteServer(*service, *server),
            Self::Drain { service, server, deadline } => {
                if let Some(seconds) = deadline {
                    within("deadline", *seconds)?;
                }
                let server = rules.server(*service, *server)?.clone();
                Change::EditServer(*service, RealServer { weight: Weight(0), ..server })
            }
            Self::SetTimeouts { tcp, tcp_fin, udp } => {
                [*tcp, *tcp_fin, *udp].into_iter().try_for_each(|seconds| within("timeout", seconds))?;
                Change::SetTimeouts([*tcp, *tcp_fin, *udp].map(Span::from_secs))
            }
            Self::Zero { service } => {
                if let Some(service) = service {
                    rules.service(*service)?;
                }
                return Ok(None);
            }
            Self::SetHealth { service, server, mode } => {
                return admit_health_mode(rules, *service, *server, *mode).map(|()| None);
            }
        }))
    }
}

/// Checks that a hold on health is about something, and that a forced one is not about every server.
fn admit_health_mode(
    rules: &Rules,
    service: Option<ServiceIdentity>,
    server: Option<IpAddr>,
    mode: HealthMode,
) -> Result<(), Diagnostic> {
    match (service, server) {
        (Some(service), Some(rip)) => rules.server(service, rip).map(drop),
        (Some(service), None) => rules.service(service).map(drop),
        (None, Some(rip)) => {
            let mut servers = rules.services.iter().flat_map(|service| &service.servers);
            let what = format!("no service has the real server {rip}");
            let error = Diagnostic::new(DiagnosticKind::NoSuchServer, what);
            let error = error.remedy("name one that `directrix ipvsadm -Ln` lists");
            servers.find(|server| server.address == rip).map_or(Err(error), |_| Ok(()))
        }
        (None, None) if mode.is_forced() => {
            let what = format!("health {mode} of every server at once");
            Err(Diagnostic::invalid_rules(what, "name a service or a server"))
        }
        (None, None) => Ok(()),
    }
}

fn within(what: &str, seconds: u32) -> Result<(), Diagnostic> {
    if seconds <= SECONDS_MAX {
        return Ok(());
    }
    Err(Diagnostic::invalid_rules(format!("a {what} of {seconds} s"), format!("give at most {SECONDS_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::settings::persistence;
    use super::*;
    use crate::model::ServiceAddress;
    use crate::wire::Protocol;

    fn read(json: &str) -> Result<ChangeRequest, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_service_keeps_the_vlan_of_its_vip() {
        let change = |rules: &mut Rules, kind: &str, port: u16, settings: &str| {
            let service = format!(r#"{{"protocol": "tcp", "address": "192.0.2.1:{port}"}}"#);
            let json = format!(r#"{{"do": "{kind}", "service": {service}, "settings": {{{settings}}}}}"#);
            read(&json).unwrap().apply(rules).unwrap();
        };
        let mut rules = Rules::default();
        change(&mut rules, "add-service", 80, r#""vlan": [100, 7]"#);
        change(&mut rules, "add-service", 443, "");
        change(&mut rules, "edit-service", 80, r#""scheduler": "rr""#);
        let vlans = |rules: &Rules| rules.services.iter().map(|one| one.vlan.to_string()).collect::<Vec<_>>();
        assert_eq!(vlans(&rules), ["100.7"; 2]);
        change(&mut rules, "edit-service", 80, r#""vlan": []"#);
        assert_eq!(vlans(&rules), ["none", "100.7"]);
        assert!(rules.check().unwrap_err().to_string().contains("a host is in one VLAN"));
        let service = r#""service": {"protocol": "tcp", "address": "192.0.2.1:80"}"#;
        for vlan in ["[0]", "[4095]", "[1, 2, 3]", "100"] {
            let json = format!(r#"{{"do": "add-service", {service}, "settings": {{"vlan": {vlan}}}}}"#);
            assert!(read(&json).is_err(), "{vlan}");
        }
    }

    #[test]
    fn a_group_is_in_the_vlan_of_its_vip() {
        let mut rules = Rules::default();
        let mut change = |json: &str| read(json).unwrap().apply(&mut rules).map(|()| rules.clone());
        let web = r#""service": {"protocol": "tcp", "address": "192.0.2.1:80"}"#;
        let other = r#""service": {"protocol": "tcp", "address": "192.0.2.2:80"}"#;
        let group = r#""service": {"mark": 7, "family": "ipv4"}"#;
        let matches = |vip: &str| {
            format!(r#"{{"do": "add-service", {group}, "settings": {{"matches": ["udp:{vip}:5-9"]}}}}"#)
        };
        let vlans = |rules: &Rules| rules.services.last().unwrap().vlan.to_string();
        let in_vlan = |of: &str, vlan: u16| {
            format!(r#"{{"do": "add-service", {of}, "settings": {{"vlan": [{vlan}]}}}}"#)
        };
        change(&in_vlan(web, 100)).unwrap();
        assert_eq!(vlans(&change(&matches("192.0.2.1")).unwrap()), "100", "as the other service of its VIP");
        change(r#"{"do": "clear"}"#).unwrap();
        let again = format!(r#"{{"do": "add-service", {group}}}"#);
        assert_eq!(vlans(&change(&again).unwrap()), "100", "as before");
        change(r#"{"do": "clear"}"#).unwrap();
        let plain = format!(r#"{{"do": "add-service", {web}}}"#);
        assert_eq!(vlans(&change(&plain).unwrap()), "100", "as the known group of its VIP");
        change(r#"{"do": "clear"}"#).unwrap();
        change(&in_vlan(web, 200)).unwrap();
        assert_eq!(vlans(&change(&again).unwrap()), "200", "its VIP has moved");
        change(&in_vlan(other, 300)).unwrap();
        change(&format!(r#"{{"do": "delete-service", {group}}}"#)).unwrap();
        assert_eq!(vlans(&change(&matches("192.0.2.2")).unwrap()), "300", "other matches than before");
    }

    #[test]
    fn missing_settings_get_defaults_and_unknown_are_refused() {
        let service = r#""service": {"protocol": "tcp", "address": "192.0.2.1:80"}"#;
        let added = read(&format!(r#"{{"do": "add-server", {service}, "server": "192.0.2.9"}}"#)).unwrap();
        let settings = ServerSettings { weight: 1, upper_threshold: 0, lower_threshold: 0, mac: None };
        let address = ServiceIdentity::from(ServiceAddress {
            protocol: Protocol::Tcp,
            address: ([192, 0, 2, 1], 80).into(),
        });
        assert_eq!(
            added,
            ChangeRequest::AddServer { service: address, server: [192, 0, 2, 9].into(), settings }
        );
        for (json, message) in [
            (r#"{"do": "clear", "x": 1}"#.to_owned(), "unknown field `x`"),
            (format!(r#"{{"do": "delete-service", {service}, "x": 1}}"#), "unknown field `x`"),
            (format!(r#"{{"do": "add-service", {service}, "settings": {{"x": 1}}}}"#), "unknown field `x`"),
            (format!(r#"{{"do": "zero", {}}}"#, service.replace('}', r#", "x": 1}"#)), "unknown field `x`"),
            (
                format!(r#"{{"do": "add-service", {}}}"#, service.replace('}', r#", "x": 1}"#)),
                "unknown field `x`",
            ),
            (
                format!(r#"{{"do": "add-service", {service}, "settings": {{"persistence": {{"x": 1}}}}}}"#),
                "unknown field `x`",
            ),
            (
                format!(
                    r#"{{"do": "add-service", {service}, "settings": {{"persistence": {{"netmask": "/24"}}}}}}"#
                ),
                "invalid IPv4 address",
            ),
            (r#"{"do": "destroy"}"#.to_owned(), "unknown variant `destroy`"),
            (r#"{"do": "add-service"}"#.to_owned(), "missing field `service`"),
        ] {
            let error = read(&json).unwrap_err().to_string();
            assert!(error.starts_with(message), "{json}: {error}");
        }
        assert_eq!(read(r#"{"do": "clear"}"#).unwrap(), ChangeRequest::Clear {});
        let set = read(r#"{"do": "set-timeouts", "udp": 9}"#).unwrap();
        assert_eq!(set, ChangeRequest::SetTimeouts { tcp: 0, tcp_fin: 0, udp: 9 });
        assert_eq!(read(r#"{"do": "zero"}"#).unwrap(), ChangeRequest::Zero { service: None });
        let zero = read(&format!(r#"{{"do": "zero", {service}}}"#)).unwrap();
        assert_eq!(zero, ChangeRequest::Zero { service: Some(address) });
    }

    #[test]
    fn persistence_takes_a_prefix_or_a_netmask() {
        let of = |vip: &str, json: &str| {
            persistence(&serde_json::from_str(json).unwrap(), vip.parse::<IpAddr>().unwrap().into())
        };
        let parse = |json: &str| of("192.0.2.1", json);
        assert_eq!(of("2001:db8::1", "{}").unwrap().prefix, 128);
        assert_eq!(of("2001:db8::1", r#"{"prefix": 64}"#).unwrap().prefix, 64);
        let error = of("2001:db8::1", r#"{"netmask": "255.255.255.0"}"#).unwrap_err().to_string();
        assert!(
            error.contains("netmask 255.255.255.0 for clients with IPv6 addresses; give a prefix"),
            "{error}"
        );
        let got = |json: &str| parse(json).map(|got| (got.timeout.secs(), got.prefix)).unwrap();
        assert_eq!(got("{}"), (360, 32));
        assert_eq!(got(r#"{"prefix": 24}"#), (360, 24));
        assert_eq!(got(r#"{"timeout": 10, "netmask": "255.255.240.0"}"#), (10, 20));
        assert_eq!(got(r#"{"netmask": "255.255.255.255"}"#), (360, 32));
        for (json, message) in [
            (r#"{"prefix": 24, "netmask": "255.255.255.0"}"#, "both prefix and netmask; leave out one"),
            (r#"{"netmask": "255.0.255.0"}"#, "netmask 255.0.255.0 has gaps; write"),
            (r#"{"engine": "sip"}"#, "no persistence engine \"sip\"; leave it out"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(message), "{json}: {error}");
        }
        // An older director refuses unknown fields.
        let sent =
            serde_json::to_string(&Persistence { prefix: Some(32), ..Persistence::default() }).unwrap();
        assert_eq!(sent, r#"{"timeout":360,"prefix":32}"#);
    }

    #[test]
    fn thresholds_are_checked_as_by_ipvs() {
        let service = ServiceIdentity::from(ServiceAddress {
            protocol: Protocol::Tcp,
            address: ([192, 0, 2, 1], 80).into(),
        });
        let server: IpAddr = [192, 0, 2, 9].into();
        let settings = ServerSettings { lower_threshold: 5, ..ServerSettings::default() };
        let add = ChangeRequest::AddServer { service, server, settings: settings.clone() };
        let edit = ChangeRequest::EditServer { service, server, settings };
        let mut rules = Rules::default();
        let kind = |request: &ChangeRequest, rules: &mut Rules| request.apply(rules).unwrap_err().kind;
        assert_eq!(kind(&add, &mut rules), DiagnosticKind::NoSuchService);
        rules.services.push(VirtualService::new(service, Vec::new()));
        assert_eq!(kind(&add, &mut rules), DiagnosticKind::OutOfRange);
        assert_eq!(kind(&edit, &mut rules), DiagnosticKind::OutOfRange);
        assert_eq!(rules.services[0].servers, []);
    }

    #[test]
    fn refused_request_has_a_kind_and_changes_nothing() {
        let address = ServiceIdentity::from(ServiceAddress {
            protocol: Protocol::Tcp,
            address: ([192, 0, 2, 1], 80).into(),
        });
        let rip: IpAddr = [192, 0, 2, 9].into();
        let server = |settings| ChangeRequest::AddServer { service: address, server: rip, settings };
        let service = |settings| ChangeRequest::AddService { service: address, settings };
        let named =
            |scheduler: &str| ServiceSettings { scheduler: scheduler.into(), ..ServiceSettings::default() };
        let flagged = ServiceSettings { scheduler_flags: vec!["mh-port".into()], ..named("sh") };
        let group = ServerSettings { mac: Some("01:00:5e:00:00:01".into()), ..ServerSettings::default() };
        for (request, kind) in [
            (service(named("nosuch")), DiagnosticKind::NoSuchScheduler),
            (service(flagged), DiagnosticKind::InvalidRules),
            (server(ServerSettings::default()), DiagnosticKind::NoSuchService),
            (server(group), DiagnosticKind::InvalidRules),
            (
                ChangeRequest::Drain { service: address, server: rip, deadline: None },
                DiagnosticKind::NoSuchService,
            ),
            (
                ChangeRequest::Drain { service: address, server: rip, deadline: Some(u32::MAX) },
                DiagnosticKind::InvalidRules,
            ),
            (
                ChangeRequest::SetTimeouts { tcp: SECONDS_MAX + 1, tcp_fin: 0, udp: 0 },
                DiagnosticKind::InvalidRules,
            ),
            (ChangeRequest::Zero { service: Some(address) }, DiagnosticKind::NoSuchService),
        ] {
            let mut rules = Rules::default();
            let refused = request.apply(&mut rules).unwrap_err();
            assert_eq!((refused.kind, &rules), (kind, &Rules::default()), "{request:?}: {refused}");
        }
    }
}
