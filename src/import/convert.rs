//! Conversion of a description into keys that the configuration's parser accepts, with a notice for each difference.

mod checks;
mod marks;
mod sorry_server;
mod sync;

use super::description::{
    At, Description, Forward, ImportedIdentity, ImportedPersistence, ImportedServer, ImportedService,
    ImportedSettings, Place,
};
use super::draft::{CheckDraft, ConfigDraft, SERVER, ServerDraft, ServiceDraft, lines_below, shared_checks};
use super::identity::{identity, stand_in, with_port};
use super::notice::Notices;
use super::validate::{self, Validator, key};
use crate::ipvsadm::flag_name;
use crate::model::{Diagnostic, SECONDS_MAX, Scheduler};
use crate::wire::Protocol;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// Converts a description. `direct`: also servers with masquerading or a tunnel.
pub(super) fn convert(description: &Description, direct: bool, notices: &mut Notices) -> ConfigDraft {
    let vips = description.services.iter().filter_map(|service| match service.vip {
        ImportedIdentity::Address(_, address) => Some(address.ip()),
        ImportedIdentity::Mark(..) => None,
    });
    let validator = Validator::default();
    let mut converter = Converter { vips: vips.collect(), seen: HashSet::new(), direct, validator, notices };
    let services = description.services.iter().map(|service| converter.service(service)).collect();
    let switches = description.switches.clone();
    let timeouts = converter.timeouts(description);
    let sync = sync::lines(description, converter.notices);
    ConfigDraft { switches, timeouts, sync, services }
}

/// A line that this version may not accept, with the notice for that case.
struct OptionalKey<'a> {
    location: &'a Place,
    line: String,
    what: &'a str,
    remedy: &'a str,
}

struct Converter<'r> {
    vips: HashSet<IpAddr>,
    /// Keys of the services so far, as text.
    seen: HashSet<String>,
    direct: bool,
    validator: Validator,
    notices: &'r mut Notices,
}

impl Converter<'_> {
    fn timeouts(&mut self, description: &Description) -> Vec<At<String>> {
        let timeouts = &description.timeouts;
        let named = [("tcp", &timeouts.tcp), ("tcpfin", &timeouts.tcp_fin), ("udp", &timeouts.udp)];
        named.into_iter().filter_map(|(name, timeout)| self.timeout(name, timeout.as_ref()?)).collect()
    }

    fn timeout(&mut self, name: &str, timeout: &At<u32>) -> Option<At<String>> {
        let At { location, value } = timeout;
        if *value > SECONDS_MAX {
            let what = format!("the timeout {name} is {value}, out of range");
            self.notices.warn(location, what, format!("{SECONDS_MAX} stands in its place, 24 days"));
        }
        let line = format!("{name} = {}", value.min(&SECONDS_MAX));
        match validate::timeout_error(&line) {
            None => Some(At::new(location, line)),
            Some(Diagnostic { what, remedy, .. }) => {
                self.notices.warn(location, format!("the timeout {what}"), remedy);
                None
            }
        }
    }

    fn service(&mut self, service: &ImportedService) -> ServiceDraft {
        let (transport, address) = match service.vip {
            ImportedIdentity::Address(transport, address) => (transport, address),
            ImportedIdentity::Mark(mark, family) => return self.group(service, mark, family),
        };
        let origin = service.origin.clone();
        if let Err(Diagnostic { what, remedy, .. }) = self.check_address(service, transport, address) {
            self.notices.warn(&origin.location, what.clone(), remedy);
            return ServiceDraft {
                origin,
                keys: Vec::new(),
                checks: Vec::new(),
                servers: Vec::new(),
                sorry_server: None,
                is_template: false,
                left_out: Some(what),
            };
        }
        let stand_in = identity(transport, stand_in(address));
        let settings = self.settings(&service.settings, &stand_in);
        let mut servers = self.servers(service, address, &stand_in);
        let mut keys = identity(transport, address);
        keys.extend(settings);
        let checks = shared_checks(&mut servers);
        self.health(&service.health, &mut keys, &lines_below(&checks, &servers));
        let left_out = self.reason_to_leave_out(service, &keys, &checks, &servers);
        let sorry_server = self.sorry_server(service, address, &stand_in);
        let sorry_server = sorry_server.filter(|sorry| {
            left_out.is_some()
                || self.fits(service, sorry, &[keys.join("\n"), lines_below(&checks, &servers)])
        });
        ServiceDraft { origin, keys, checks, servers, sorry_server, is_template: false, left_out }
    }

    /// Validates the complete service; returns the reason to write it only as a comment.
    fn reason_to_leave_out(
        &mut self,
        service: &ImportedService,
        keys: &[String],
        checks: &[CheckDraft],
        servers: &[ServerDraft],
    ) -> Option<String> {
        let (location, vip) = (&service.origin.location, service.vip);
        if !servers.is_empty() && servers.iter().all(|server| server.left_out.is_some()) {
            let what = format!("{vip}: none of its servers is carried over");
            let instead = "remove the \"#\" before it in the output once its servers are prepared";
            self.notices.warn(location, what, instead);
            return Some("none of its servers can be reached by direct routing as it is".into());
        }
        let below = lines_below(checks, servers);
        let Diagnostic { what, remedy, .. } = self.validator.error(&[keys.join("\n"), below])?;
        self.notices.warn(location, format!("{vip}: {what}"), remedy);
        Some(what)
    }

    /// Validates the address of a service.
    fn check_address(
        &mut self,
        service: &ImportedService,
        transport: Protocol,
        address: SocketAddr,
    ) -> Result<(), Diagnostic> {
        let vip = service.vip;
        if !self.seen.insert(vip.to_string()) {
            let what = format!("{vip} is a service already");
            return Err(Diagnostic::invalid_rules(what, "merge the servers of the two"));
        }
        // Port 1 stands in for the wildcard port, which the parser accepts only with persistence.
        let some_port = SocketAddr::new(address.ip(), address.port().max(1));
        match self.validator.error(&identity(transport, some_port)) {
            None => Ok(()),
            Some(Diagnostic { what, remedy, .. }) => {
                Err(Diagnostic::invalid_rules(format!("{vip}: {what}"), remedy))
            }
        }
    }

    /// Converts the settings of a service; `identity` has the lines before them.
    fn settings(&mut self, settings: &ImportedSettings, identity: &[String]) -> Vec<String> {
        let keys = &mut identity.to_vec();
        let scheduler = self.scheduler(settings.scheduler.as_ref(), keys);
        self.flags(&settings.flags, &scheduler, keys);
        if let Some(persistence) = &settings.persistence {
            self.persistence(persistence, keys);
        }
        if let Some(location) = &settings.one_packet {
            let key = OptionalKey {
                location,
                line: "one_packet = true".into(),
                what: "one-packet scheduling (ops)",
                remedy: "datagrams of one client go to one server until it has been silent for a while",
            };
            self.optional(key, keys);
        }
        if let Some(engine) = &settings.engine {
            let what =
                format!("persistence engine {:?}: directrix looks at addresses and ports only", engine.value);
            self.notices.warn(
                &engine.location,
                what,
                "clients are distinguished by address; see persistence",
            );
        }
        keys.split_off(identity.len())
    }

    fn scheduler(&mut self, wanted: Option<&At<String>>, keys: &mut Vec<String>) -> String {
        let default = Scheduler::default().name();
        let Some(wanted) = wanted else {
            keys.push(key("scheduler", default));
            return default.to_owned();
        };
        match self.validator.append(keys, key("scheduler", &wanted.value)) {
            Ok(more) => {
                *keys = more;
                wanted.value.clone()
            }
            Err(Diagnostic { what, remedy, .. }) => {
                let instead = format!("{default} stands in its place; {remedy}");
                self.notices.warn(&wanted.location, what, instead);
                keys.push(key("scheduler", default));
                default.to_owned()
            }
        }
    }

    /// Validates flags one by one, by the names of their scheduler.
    fn flags(&mut self, flags: &[At<String>], scheduler: &str, keys: &mut Vec<String>) {
        let mut taken: Vec<String> = Vec::new();
        for flag in flags {
            let Some(name) = flag_name(&flag.value, scheduler) else {
                let what = format!("{} means nothing to the scheduler {scheduler}", flag.value);
                self.notices.note(&flag.location, what, "it is left out");
                continue;
            };
            let mut more = taken.clone();
            more.push(toml::Value::from(name.as_str()).to_string());
            match self.validator.append(keys, format!("scheduler_flags = [{}]", more.join(", "))) {
                Ok(_) if taken.contains(&more[more.len() - 1]) => {}
                Ok(_) => taken = more,
                Err(Diagnostic { what, .. }) => {
                    let what = format!("flag {name:?} of the scheduler {scheduler}: {what}");
                    self.notices.warn(
                        &flag.location,
                        what,
                        "only sh and mh have flags; for others they mean nothing",
                    );
                }
            }
        }
        if !taken.is_empty() {
            keys.push(format!("scheduler_flags = [{}]", taken.join(", ")));
        }
    }

    /// Converts persistence, without its mask if the parser rejects that.
    fn persistence(&mut self, persistence: &At<ImportedPersistence>, keys: &mut Vec<String>) {
        let ImportedPersistence { timeout, netmask } = &persistence.value;
        if *timeout > SECONDS_MAX {
            let what = format!("persistence of {timeout} s is out of range");
            let instead = format!("{SECONDS_MAX} s stand in its place, 24 days");
            self.notices.warn(&persistence.location, what, instead);
        }
        let timeout = timeout.min(&SECONDS_MAX);
        let remedy = "scheduler = \"sh\" or \"mh\" keeps a client at its server, too";
        let what = format!("persistence of {timeout} s");
        let alone = format!("persistence = {{ timeout = {timeout} }}");
        let masked = netmask.as_ref().map(|mask| match mask.parse::<u8>() {
            Ok(prefix) => format!("timeout = {timeout}, prefix = {prefix}"),
            Err(_) => format!("timeout = {timeout}, {}", key("netmask", mask)),
        });
        let Some(masked) = masked.map(|table| format!("persistence = {{ {table} }}")) else {
            let key = OptionalKey { location: &persistence.location, line: alone, what: &what, remedy };
            return self.optional(key, keys);
        };
        match (self.validator.append(keys, masked), self.validator.append(keys, alone)) {
            (Ok(more), _) => *keys = more,
            (Err(Diagnostic { what, remedy, .. }), Ok(more)) => {
                *keys = more;
                self.notices.warn(&persistence.location, what, remedy);
            }
            (_, Err(error)) => {
                self.notices.warn(&persistence.location, format!("{what}: {}", error.what), remedy);
            }
        }
    }

    /// Appends a line if the parser accepts it, else adds a notice.
    fn optional(&mut self, key: OptionalKey<'_>, keys: &mut Vec<String>) {
        let OptionalKey { location, line, what, remedy } = key;
        match self.validator.append(keys, line) {
            Ok(more) => *keys = more,
            Err(error) => self.notices.warn(location, format!("{what}: {}", error.what), remedy),
        }
    }

    fn servers(&mut self, service: &ImportedService, vip: SocketAddr, keys: &[String]) -> Vec<ServerDraft> {
        let mut seen = HashSet::new();
        let servers = service.servers.iter().filter_map(|server| {
            let direct = self.direct || server.forward == Forward::Direct;
            if direct && !seen.insert(server.address) {
                let what = format!("{} is a server of {} already", server.address, service.vip);
                self.notices.warn(
                    &server.location,
                    what,
                    "give the first one the weight of both, if that is meant",
                );
                return None;
            }
            self.server(server, vip, keys)
        });
        servers.collect()
    }

    fn server(
        &mut self,
        server: &ImportedServer,
        vip: SocketAddr,
        service: &[String],
    ) -> Option<ServerDraft> {
        let ImportedServer { location, address, .. } = server;
        if self.vips.contains(address) {
            let what = format!("{address} is a VIP, so this server is the director itself");
            self.notices.warn(
                location,
                what,
                "run the server elsewhere: directrix delivers no frames to its own host",
            );
            return None;
        }
        if address.is_loopback() {
            let what = format!("{address} is a loopback address, so this server is the director itself");
            self.notices.warn(location, what, validate::SERVER_ON_DIRECTOR);
            return None;
        }
        let mut keys = service.to_vec();
        keys.push(SERVER.into());
        for line in [key("address", &address.to_string()), format!("weight = {}", server.weight)] {
            match self.validator.append(&keys, line) {
                Ok(more) => keys = more,
                Err(Diagnostic { what, remedy, .. }) => {
                    self.notices.warn(location, format!("real server {address}: {what}"), remedy);
                    return None;
                }
            }
        }
        self.thresholds(server, &mut keys);
        let keys = keys.split_off(service.len() + 1);
        let checks = self.checks(server, &with_port(service, vip.port()), vip.port());
        Some(ServerDraft { location: location.clone(), keys, checks, left_out: self.left_out(server, vip) })
    }

    /// Converts thresholds; a lower threshold needs an upper one.
    fn thresholds(&mut self, server: &ImportedServer, keys: &mut Vec<String>) {
        if server.upper == 0 && server.lower > 0 {
            let what = format!("lower threshold {} without an upper one", server.lower);
            return self.notices.note(
                &server.location,
                what,
                "IPVS refuses such a server (ERANGE): it is carried over without",
            );
        }
        let remedy = "watch the server's connections, and set its weight to 0 by \"directrix ipvsadm -e\"";
        for (name, limit) in [("upper_threshold", server.upper), ("lower_threshold", server.lower)] {
            if limit > 0 {
                let what = format!("{name} {limit} of {}", server.address);
                let line = format!("{name} = {limit}");
                self.optional(OptionalKey { location: &server.location, line, what: &what, remedy }, keys);
            }
        }
    }

    /// Returns the reason to write a server only as a comment: its forwarding method. A different port is only a note.
    fn left_out(&mut self, server: &ImportedServer, vip: SocketAddr) -> Option<String> {
        let ImportedServer { location, address, port, .. } = server;
        let other_port = *port != 0 && *port != vip.port();
        let method = match server.forward {
            Forward::Direct => {
                if other_port {
                    self.note_port(server, vip);
                }
                return None;
            }
            Forward::Tunnel => "by a tunnel (-i, TUN)",
            Forward::Masquerade => "by masquerading (-m, NAT)",
        };
        let port = match vip.port() {
            0 if other_port => format!(", let it serve all ports, not {port} alone"),
            own if other_port => format!(", let it serve port {own} instead of {port}"),
            _ => String::new(),
        };
        // The VIPs of a group are not known.
        let of_vip = if vip.ip().is_unspecified() { "VIP".to_owned() } else { vip.ip().to_string() };
        let setup = format!(
            "put the VIP on its lo (directrix realserver setup --vip {of_vip}){port}, and let its replies not go by way of the director"
        );
        let what = format!("{address} was reached {method}, and directrix supports direct routing only");
        if self.direct {
            self.notices.note(location, what, format!("{setup}, before directrix starts"));
            return None;
        }
        let instead =
            format!("{setup}; then import again with --direct, or remove the \"#\" before it in the output");
        self.notices.warn(location, what.clone(), instead);
        Some(what)
    }

    fn note_port(
        &mut self,
        ImportedServer { location, address, port, .. }: &ImportedServer,
        vip: SocketAddr,
    ) {
        let (what, own) = match vip.port() {
            0 if vip.ip().is_unspecified() => {
                (format!("{address} has port {port}, and a firewall mark has none"), "a client's")
            }
            0 => (format!("{address} has port {port}, and the service the wildcard port"), "a client's"),
            own => (format!("{address} has port {port}, not the service's {own}"), "the service's"),
        };
        let instead = format!("IPVS sends to {own} port as well: direct routing cannot change it");
        self.notices.note(location, what, instead);
    }
}
