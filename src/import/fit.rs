//! From what a file means to what directrix can do of it: keys that the configuration's reader
//! takes, and a remark for everything else.

use super::description::{
    At, Description, Forward, Persistence, Place, Server, Service, Settings, Transport, Vip,
};
use super::judge::{self, Judge, key};
use super::remark::Remarks;
use crate::ipvsadm::flag_name;
use crate::model::Diagnostic;
use crate::model::{SECONDS_MAX, Scheduler};
use std::collections::HashSet;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A real server's header.
pub(super) const SERVER: &str = "[[service.server]]";

/// A configuration to be written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) timeouts: Vec<At<String>>,
    pub(super) services: Vec<ServiceDraft>,
}

/// A `[[service]]`.
#[derive(Debug)]
pub(super) struct ServiceDraft {
    pub(super) origin: At<String>,
    pub(super) keys: Vec<String>,
    pub(super) servers: Vec<ServerDraft>,
    /// Why it is there only as a comment.
    pub(super) left_out: Option<String>,
}

/// A `[[service.server]]`.
#[derive(Debug)]
pub(super) struct ServerDraft {
    pub(super) place: Place,
    pub(super) keys: Vec<String>,
    /// Why it is there only as a comment.
    pub(super) left_out: Option<String>,
}

/// Fits everything. With `direct`, servers that were reached otherwise will be prepared.
pub(super) fn fit(description: &Description, direct: bool, remarks: &mut Remarks) -> Draft {
    let vips = description.services.iter().filter_map(|service| match service.vip {
        Vip::Address(_, address) => Some(address.ip()),
        Vip::Mark(_) => None,
    });
    let judge = Judge::default();
    let mut fitter = Fitter { vips: vips.collect(), seen: HashSet::new(), direct, judge, remarks };
    let services = description.services.iter().map(|service| fitter.service(service)).collect();
    Draft { timeouts: fitter.timeouts(description), services }
}

struct Fitter<'r> {
    vips: HashSet<IpAddr>,
    /// Services by what is shown of them.
    seen: HashSet<String>,
    direct: bool,
    judge: Judge,
    remarks: &'r mut Remarks,
}

impl Fitter<'_> {
    fn timeouts(&mut self, description: &Description) -> Vec<At<String>> {
        let timeouts = &description.timeouts;
        let named = [("tcp", &timeouts.tcp), ("tcpfin", &timeouts.tcp_fin), ("udp", &timeouts.udp)];
        let set = named.into_iter().filter_map(|(name, timeout)| {
            let timeout = timeout.as_ref()?;
            if timeout.value > SECONDS_MAX {
                let what = format!("the timeout {name} is {}, out of range", timeout.value);
                self.remarks.lost(
                    &timeout.place,
                    what,
                    format!("{SECONDS_MAX} stands in its place, 24 days"),
                );
            }
            let line = format!("{name} = {}", timeout.value.min(SECONDS_MAX));
            match judge::timeout_refusal(&line) {
                None => Some(At::new(&timeout.place, line)),
                Some(Diagnostic { what, remedy, .. }) => {
                    self.remarks.lost(&timeout.place, format!("the timeout {what}"), remedy);
                    None
                }
            }
        });
        set.collect()
    }

    fn service(&mut self, service: &Service) -> ServiceDraft {
        let origin = service.origin.clone();
        let place = &origin.place;
        let (transport, address) = match self.address(service) {
            Ok(found) => found,
            Err((what, instead)) => {
                self.remarks.lost(place, what.clone(), instead);
                return ServiceDraft { origin, keys: Vec::new(), servers: Vec::new(), left_out: Some(what) };
            }
        };
        let stand_in = identity(transport, stand_in(address));
        let settings = self.settings(&service.settings, &stand_in);
        let servers = self.servers(service, address, &stand_in);
        let mut keys = identity(transport, address);
        keys.extend(settings);
        let left_out = self.whole(service, &keys, &servers);
        ServiceDraft { origin, keys, servers, left_out }
    }

    /// Why the service as a whole cannot be there.
    fn whole(&mut self, service: &Service, keys: &[String], servers: &[ServerDraft]) -> Option<String> {
        let (place, vip) = (&service.origin.place, service.vip);
        if !servers.is_empty() && servers.iter().all(|server| server.left_out.is_some()) {
            let what = format!("{vip}: none of its servers is carried over");
            let instead = "remove the \"#\" before it in the output once its servers are prepared";
            self.remarks.lost(place, what, instead);
            return Some("none of its servers can be reached by direct routing as it is".into());
        }
        let live = servers.iter().filter(|server| server.left_out.is_none());
        let lines: Vec<_> = live
            .flat_map(|server| iter::once(SERVER).chain(server.keys.iter().map(String::as_str)))
            .collect();
        let Diagnostic { what, remedy, .. } = self.judge.refusal(&[keys.join("\n"), lines.join("\n")])?;
        self.remarks.lost(place, format!("{vip}: {what}"), remedy);
        Some(what)
    }

    /// The address, or why directrix cannot serve it and what to do instead.
    fn address(&mut self, service: &Service) -> Result<(Transport, SocketAddr), (String, String)> {
        let refuse = |what: String, instead: &str| Err((what, instead.to_owned()));
        let vip = service.vip;
        let (transport, address) = match vip {
            Vip::Mark(_) => {
                let what = format!("{vip}: directrix takes frames before netfilter could mark them");
                return refuse(what, "write a [[service]] for each address and port that gets this mark");
            }
            Vip::Address(Transport::Sctp, _) => {
                return refuse(
                    format!("{vip}: directrix does not know SCTP"),
                    "leave it in IPVS, on another VIP",
                );
            }
            Vip::Address(transport, address) => (transport, address),
        };
        if !self.seen.insert(vip.to_string()) {
            return refuse(format!("{vip} is a service already"), "merge the servers of the two");
        }
        // A wildcard port needs persistence, which is a matter of its settings.
        let some_port = SocketAddr::new(address.ip(), address.port().max(1));
        match self.judge.refusal(&identity(transport, some_port)) {
            None => Ok((transport, address)),
            Some(Diagnostic { what, .. }) if address.is_ipv6() => {
                refuse(format!("{vip}: {what}"), "leave it in IPVS until directrix has IPv6")
            }
            Some(Diagnostic { what, remedy, .. }) => refuse(format!("{vip}: {what}"), &remedy),
        }
    }

    /// The keys besides those that identify a service, which stand before them.
    fn settings(&mut self, settings: &Settings, identity: &[String]) -> Vec<String> {
        let keys = &mut identity.to_vec();
        let scheduler = self.scheduler(settings.scheduler.as_ref(), keys);
        self.flags(&settings.flags, &scheduler, keys);
        if let Some(persistence) = &settings.persistence {
            self.persistence(persistence, keys);
        }
        if let Some(place) = &settings.one_packet {
            let what = "one-packet scheduling (ops)";
            let instead = "datagrams of one client go to one server until it has been silent for a while";
            self.optional(place, keys, "one_packet = true".into(), (what, instead));
        }
        if let Some(engine) = &settings.engine {
            let what =
                format!("persistence engine {:?}: directrix looks at addresses and ports only", engine.value);
            self.remarks.lost(&engine.place, what, "clients are told apart by address; see persistence");
        }
        keys.split_off(identity.len())
    }

    fn scheduler(&mut self, wanted: Option<&At<String>>, keys: &mut Vec<String>) -> String {
        let default = Scheduler::default().name();
        let Some(wanted) = wanted else {
            keys.push(key("scheduler", default));
            return default.to_owned();
        };
        match self.judge.with(keys, key("scheduler", &wanted.value)) {
            Ok(more) => {
                *keys = more;
                wanted.value.clone()
            }
            Err(Diagnostic { what, remedy, .. }) => {
                let instead = format!("{default} stands in its place; {remedy}");
                self.remarks.lost(&wanted.place, what, instead);
                keys.push(key("scheduler", default));
                default.to_owned()
            }
        }
    }

    /// Flags one by one, by the names that their scheduler gives them.
    fn flags(&mut self, flags: &[At<String>], scheduler: &str, keys: &mut Vec<String>) {
        let mut taken: Vec<String> = Vec::new();
        for flag in flags {
            let Some(name) = flag_name(&flag.value, scheduler) else {
                let what = format!("{} means nothing to the scheduler {scheduler}", flag.value);
                self.remarks.note(&flag.place, what, "it is left out");
                continue;
            };
            let mut more = taken.clone();
            more.push(toml::Value::from(name.as_str()).to_string());
            match self.judge.with(keys, format!("scheduler_flags = [{}]", more.join(", "))) {
                Ok(_) if taken.contains(&more[more.len() - 1]) => {}
                Ok(_) => taken = more,
                Err(Diagnostic { what, .. }) => {
                    let what = format!("flag {name:?} of the scheduler {scheduler}: {what}");
                    self.remarks.lost(
                        &flag.place,
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

    /// A mask that is refused takes not all of the persistence with it.
    fn persistence(&mut self, persistence: &At<Persistence>, keys: &mut Vec<String>) {
        let Persistence { timeout, netmask } = &persistence.value;
        if *timeout > SECONDS_MAX {
            let what = format!("persistence of {timeout} s is out of range");
            let instead = format!("{SECONDS_MAX} s stand in its place, 24 days");
            self.remarks.lost(&persistence.place, what, instead);
        }
        let timeout = timeout.min(&SECONDS_MAX);
        let instead = "scheduler = \"sh\" or \"mh\" keeps a client at its server, too";
        let what = format!("persistence of {timeout} s");
        let alone = format!("persistence = {{ timeout = {timeout} }}");
        let masked = netmask.as_ref().map(|mask| format!("timeout = {timeout}, {}", key("netmask", mask)));
        let Some(masked) = masked.map(|table| format!("persistence = {{ {table} }}")) else {
            return self.optional(&persistence.place, keys, alone, (&what, instead));
        };
        match (self.judge.with(keys, masked), self.judge.with(keys, alone)) {
            (Ok(more), _) => *keys = more,
            (Err(Diagnostic { what, remedy, .. }), Ok(more)) => {
                *keys = more;
                self.remarks.lost(&persistence.place, what, remedy);
            }
            (_, Err(refusal)) => {
                self.remarks.lost(&persistence.place, format!("{what}: {}", refusal.what), instead);
            }
        }
    }

    /// Adds a line if the reader takes it, and else a remark: what is lost, and what to do.
    fn optional(
        &mut self,
        place: &Place,
        keys: &mut Vec<String>,
        line: String,
        (what, instead): (&str, &str),
    ) {
        match self.judge.with(keys, line) {
            Ok(more) => *keys = more,
            Err(refusal) => self.remarks.lost(place, format!("{what}: {}", refusal.what), instead),
        }
    }

    fn servers(&mut self, service: &Service, vip: SocketAddr, keys: &[String]) -> Vec<ServerDraft> {
        let mut seen = HashSet::new();
        let servers = service.servers.iter().filter_map(|server| {
            let direct = self.direct || server.forward == Forward::Direct;
            if direct && !seen.insert(server.address) {
                let what = format!("{} is a server of {} already", server.address, service.vip);
                self.remarks.lost(
                    &server.place,
                    what,
                    "give the first one the weight of both, if that is meant",
                );
                return None;
            }
            self.server(server, vip, keys)
        });
        servers.collect()
    }

    fn server(&mut self, server: &Server, vip: SocketAddr, service: &[String]) -> Option<ServerDraft> {
        let Server { place, address, .. } = server;
        if self.vips.contains(address) {
            let what = format!("{address} is a VIP, so this server is the director itself");
            self.remarks.lost(
                place,
                what,
                "run the server elsewhere: directrix does not hand frames to its own host",
            );
            return None;
        }
        if address.is_loopback() {
            let what = format!("{address} is a loopback address, so this server is the director itself");
            self.remarks.lost(place, what, judge::OWN_HOST);
            return None;
        }
        let mut keys = service.to_vec();
        keys.push(SERVER.into());
        for line in [key("address", &address.to_string()), format!("weight = {}", server.weight)] {
            match self.judge.with(&keys, line) {
                Ok(more) => keys = more,
                Err(Diagnostic { what, remedy, .. }) => {
                    self.remarks.lost(place, format!("real server {address}: {what}"), remedy);
                    return None;
                }
            }
        }
        self.thresholds(server, &mut keys);
        let keys = keys.split_off(service.len() + 1);
        Some(ServerDraft { place: place.clone(), keys, left_out: self.left_out(server, vip) })
    }

    /// A lower one alone means nothing.
    fn thresholds(&mut self, server: &Server, keys: &mut Vec<String>) {
        if server.upper == 0 && server.lower > 0 {
            let what = format!("lower threshold {} without an upper one", server.lower);
            return self.remarks.note(
                &server.place,
                what,
                "IPVS refuses such a server (ERANGE): it is carried over without",
            );
        }
        let instead = "watch the server's connections, and set its weight to 0 by \"directrix ipvsadm -e\"";
        for (name, limit) in [("upper_threshold", server.upper), ("lower_threshold", server.lower)] {
            if limit > 0 {
                let what = format!("{name} {limit} of {}", server.address);
                self.optional(&server.place, keys, format!("{name} = {limit}"), (&what, instead));
            }
        }
    }

    /// Why a server cannot be reached as it was; its port is none of the reasons.
    fn left_out(&mut self, server: &Server, vip: SocketAddr) -> Option<String> {
        let Server { place, address, port, .. } = server;
        let other_port = *port != 0 && *port != vip.port();
        let method = match server.forward {
            Forward::Direct => {
                if other_port {
                    self.note_port(server, vip.port());
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
        let setup = format!(
            "put the VIP on its lo (directrix realserver setup --vip {}){port}, and let its replies not go by way of the director",
            vip.ip()
        );
        let what = format!("{address} was reached {method}, and directrix knows direct routing only");
        if self.direct {
            self.remarks.note(place, what, format!("{setup}, before directrix starts"));
            return None;
        }
        let instead =
            format!("{setup}; then import again with --direct, or remove the \"#\" before it in the output");
        self.remarks.lost(place, what.clone(), instead);
        Some(what)
    }

    fn note_port(&mut self, Server { place, address, port, .. }: &Server, own: u16) {
        let (what, own) = match own {
            0 => (format!("{address} has port {port}, and the service the wildcard port"), "a client's"),
            _ => (format!("{address} has port {port}, not the service's {own}"), "the service's"),
        };
        let instead = format!("IPVS sends to {own} port as well: direct routing cannot change it");
        self.remarks.note(place, what, instead);
    }
}

/// The keys that identify a service.
fn identity(transport: Transport, address: SocketAddr) -> Vec<String> {
    vec!["[[service]]".into(), key("protocol", transport.name()), key("address", &address.to_string())]
}

/// An address that no host has (RFC 7600, RFC 6666), so that what is judged does not hang on the
/// service's own.
fn stand_in(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::new(192, 0, 0, 8).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1).into(),
    };
    SocketAddr::new(ip, 80)
}
