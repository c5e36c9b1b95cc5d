//! Reader of `virtual_server` and its `real_server` blocks.

use super::checker::is_set;
use super::checks;
use super::group::{self, GroupMember, Groups};
use super::keywords::{self, SERVER, SERVICE};
use super::statement::Statement;
use super::surplus;
use crate::import::description::{
    At, Forward, ImportedIdentity, ImportedPersistence, ImportedServer, ImportedService, ImportedSettings,
    ImportedSorryServer, Place,
};
use crate::import::netmask;
use crate::import::notice::Notices;
use crate::ipvsadm::TIMEOUT_MAX;
use crate::model::{self, IpFamily};
use crate::wire::Protocol;
use std::net::{IpAddr, SocketAddr};

/// Timeout of `persistence_timeout` without a number, in seconds.
const PERSISTENT_DEFAULT: u32 = model::Persistence::TIMEOUT.secs();

/// Largest weight of ipvsadm and directrix; keepalived accepts larger ones.
const WEIGHT_MAX: u32 = u16::MAX as u32;

/// Bound of the services, and of the servers of all services, in a configuration.
pub(super) const COUNT_MAX: usize = u16::MAX as usize;

/// A file with its groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct File<'s> {
    pub(super) statements: &'s [Statement],
    pub(super) groups: &'s Groups,
}

/// Reads a `virtual_server`; a group yields several services. `room`: services and servers that may still be added.
pub(super) fn read(
    statement: &Statement,
    file: &File<'_>,
    room: &mut usize,
    notices: &mut Notices,
) -> Vec<ImportedService> {
    let members = match members(statement, file.groups) {
        Ok(members) => members,
        Err(what) => {
            let instead = "write \"virtual_server ADDRESS PORT {\", or give it to directrix.toml by hand";
            notices.warn(&statement.location, format!("{}: {what}", statement.words.join(" ")), instead);
            return Vec::new();
        }
    };
    surplus::add_notice(statement, notices);
    let mut virtual_server = VirtualServer::new(statement, file.statements);
    statement.statements().iter().for_each(|statement| virtual_server.take(statement, notices));
    if virtual_server.servers.is_empty() {
        let what = format!("{} has no real server, so that nothing answers", statement.words.join(" "));
        notices.note(
            &statement.location,
            what,
            "write a [[service.server]]; keepalived leaves out such a service",
        );
    }
    virtual_server.health = checks::effects(statement, notices);
    let Some(left) = room.checked_sub(members.len().saturating_mul(virtual_server.servers.len().max(1)))
    else {
        let what =
            format!("{} makes more than {COUNT_MAX} services or servers of all", statement.words.join(" "));
        notices.warn(&statement.location, what, "leave out addresses without clients");
        return Vec::new();
    };
    *room = left;
    let services = members.iter().map(|member| virtual_server.service(statement, member, notices));
    services.collect()
}

/// Returns the addresses and marks of a `virtual_server`.
fn members(statement: &Statement, groups: &Groups) -> Result<Vec<At<GroupMember>>, String> {
    let only = |member| vec![At::new(&statement.location, member)];
    let [_, first, rest @ ..] = &statement.words[..] else { return Err("it names no address".into()) };
    let second = rest.first().map(String::as_str);
    match first.as_str() {
        "fwmark" => Ok(only(GroupMember::Mark(group::mark(second)?))),
        "group" => {
            let members = groups.get(second.unwrap_or_default()).filter(|members| !members.is_empty());
            members.cloned().ok_or_else(|| "there is no such group with an address in it".into())
        }
        address => {
            let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
            Ok(only(GroupMember::Address(SocketAddr::new(address, group::port(second)?))))
        }
    }
}

/// Settings and servers of a `virtual_server`, without its addresses.
struct VirtualServer<'s> {
    block: &'s Statement,
    /// All statements of the file.
    root: &'s [Statement],
    settings: ImportedSettings,
    /// Lines of the configuration for the effects of health.
    health: Vec<At<String>>,
    transport: Option<Protocol>,
    netmask: Option<At<String>>,
    forward: Option<Forward>,
    weight: u32,
    servers: Vec<ServerWithMethod>,
    sorry: Option<ImportedServer>,
    sorry_forward: Option<Forward>,
    inhibit_sorry: bool,
}

/// A `real_server`, and the forwarding method of its own block.
struct ServerWithMethod {
    server: ImportedServer,
    method: Option<Forward>,
}

impl<'s> VirtualServer<'s> {
    fn new(statement: &'s Statement, root: &'s [Statement]) -> Self {
        let numbers = statement.statements().iter().filter(|statement| statement.keyword() == "weight");
        let weight = numbers.filter_map(|statement| capped_weight(statement.value()?)).next_back();
        Self {
            block: statement,
            root,
            settings: ImportedSettings::default(),
            health: Vec::new(),
            transport: None,
            netmask: None,
            forward: None,
            weight: weight.unwrap_or(1),
            servers: Vec::new(),
            sorry: None,
            sorry_forward: None,
            inhibit_sorry: false,
        }
    }

    fn take(&mut self, statement: &Statement, notices: &mut Notices) {
        surplus::add_notice(statement, notices);
        let done = match statement.keyword() {
            "lb_algo" | "lvs_sched" => text(statement).map(|name| self.settings.scheduler = Some(name)),
            "lb_kind" | "lvs_method" => forward(statement).map(|forward| self.forward = Some(forward)),
            "protocol" => transport(statement).map(|transport| self.transport = Some(transport)),
            "persistence_timeout" => self.persist(statement),
            "persistence_granularity" => text(statement).map(|mask| self.netmask = Some(mask)),
            "persistence_engine" => text(statement).map(|engine| self.settings.engine = Some(engine)),
            "ops" => {
                self.settings.one_packet = Some(statement.location.clone());
                Ok(())
            }
            flag @ ("flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port"
            | "mh-fallback") => {
                self.settings.flags.push(At::new(&statement.location, flag.to_owned()));
                Ok(())
            }
            "weight" => weight(statement, notices).map(drop),
            // The default: one live server is enough.
            "quorum" if statement.value() == Some("1") => Ok(()),
            "quorum" | "hysteresis" if checks::is_checked(self.block) => quorum(statement),
            "real_server" => self.server(statement, notices),
            "sorry_server" => sorry_server(statement).map(|server| self.sorry = Some(server)),
            "sorry_server_lvs_method" => forward(statement).map(|forward| self.sorry_forward = Some(forward)),
            "sorry_server_inhibit" => {
                self.inhibit_sorry = is_set(statement);
                Ok(())
            }
            _ => {
                keywords::add_notice(SERVICE, statement, notices);
                Ok(())
            }
        };
        if let Err(what) = done {
            notices.warn(&statement.location, what, "write a right one into directrix.toml");
        }
    }

    fn persist(&mut self, statement: &Statement) -> Result<(), String> {
        let timeout = match statement.value() {
            None => PERSISTENT_DEFAULT,
            Some("0") => return Ok(()),
            Some(_) => number(statement, TIMEOUT_MAX)?,
        };
        self.settings.persistence =
            Some(At::new(&statement.location, ImportedPersistence { timeout, netmask: None }));
        Ok(())
    }

    fn server(&mut self, statement: &Statement, notices: &mut Notices) -> Result<(), String> {
        let (address, port) = endpoint(statement)?;
        let location = statement.location.clone();
        let (weight, forward) = (self.weight, Forward::Masquerade);
        let checks = checks::read(statement, self.block, self.root, address, notices);
        let mut server =
            ImportedServer { location, address, port, forward, weight, upper: 0, lower: 0, checks };
        let mut method = None;
        for statement in statement.statements() {
            surplus::add_notice(statement, notices);
            let done = match statement.keyword() {
                "weight" => self::weight(statement, notices).map(|weight| server.weight = weight),
                "uthreshold" => number(statement, u32::MAX).map(|upper| server.upper = upper),
                "lthreshold" => number(statement, u32::MAX).map(|lower| server.lower = lower),
                "lvs_method" | "lb_kind" => self::forward(statement).map(|forward| method = Some(forward)),
                _ => {
                    keywords::add_notice(SERVER, statement, notices);
                    Ok(())
                }
            };
            if let Err(what) = done {
                notices.warn(&statement.location, what, "write a right one into directrix.toml");
            }
        }
        self.servers.push(ServerWithMethod { server, method });
        Ok(())
    }

    fn service(
        &self,
        statement: &Statement,
        member: &At<GroupMember>,
        notices: &mut Notices,
    ) -> ImportedService {
        let heading = statement.words.join(" ");
        let origin = match member.location == statement.location {
            true => heading,
            false => format!("{heading}, its member of {}", member.location),
        };
        let servers = self.servers(statement, notices);
        let vip = match member.value {
            // As keepalived: of the family of its servers.
            GroupMember::Mark(mark) => {
                let family = servers.first().map_or(IpFamily::Ipv4, |server| server.address.into());
                ImportedIdentity::Mark(mark, family)
            }
            GroupMember::Address(address) => {
                ImportedIdentity::Address(self.protocol(&statement.location, notices), address)
            }
        };
        let mut settings = self.settings.clone();
        self.apply_netmask(&mut settings, vip.is_ipv6(), notices);
        let port_free = matches!(vip, ImportedIdentity::Address(_, address) if address.port() == 0);
        if port_free && settings.persistence.is_none() {
            let persistence = ImportedPersistence { timeout: PERSISTENT_DEFAULT, netmask: None };
            settings.persistence = Some(At::new(&statement.location, persistence));
        }
        let origin = At::new(&statement.location, origin);
        let (health, sorry_server) = (self.health.clone(), self.sorry_server());
        ImportedService { origin, vip, settings, health, servers, sorry_server }
    }

    fn sorry_server(&self) -> Option<ImportedSorryServer> {
        let forward = self.sorry_forward.or(self.forward).unwrap_or(Forward::Masquerade);
        let server = ImportedServer { forward, ..self.sorry.clone()? };
        Some(ImportedSorryServer { server, inhibit: self.inhibit_sorry })
    }

    /// Returns the protocol; the default of keepalived and the kernel is UDP.
    fn protocol(&self, location: &Place, notices: &mut Notices) -> Protocol {
        self.transport.unwrap_or_else(|| {
            notices.note(
                location,
                "there is no protocol, so it is UDP, as for keepalived",
                "write protocol = \"tcp\" into directrix.toml if that is meant",
            );
            Protocol::Udp
        })
    }

    /// Applies the netmask, which makes the service persistent.
    fn apply_netmask(&self, settings: &mut ImportedSettings, v6: bool, notices: &mut Notices) {
        let Some(mask) = &self.netmask else { return };
        match netmask::parse(&mask.value, v6) {
            Ok(netmask) => {
                let default = ImportedPersistence { timeout: PERSISTENT_DEFAULT, netmask: None };
                let persistence = settings.persistence.get_or_insert(At::new(&mask.location, default));
                persistence.value.netmask = netmask;
            }
            Err(what) => {
                let what = format!("persistence_granularity: {what}");
                notices.warn(&mask.location, what, "write a right one into directrix.toml");
            }
        }
    }

    /// Returns the servers; keepalived's default method is NAT.
    fn servers(&self, statement: &Statement, notices: &mut Notices) -> Vec<ImportedServer> {
        let default_used = self.servers.iter().any(|server| server.method.or(self.forward).is_none());
        if default_used {
            notices.note(
                &statement.location,
                "there is no lvs_method for its servers, so it is NAT, as for keepalived",
                "write lvs_method DR into it if that is meant, and import it again",
            );
        }
        let servers = self.servers.iter().map(|ServerWithMethod { server, method }| {
            let forward = method.or(self.forward).unwrap_or(Forward::Masquerade);
            ImportedServer { forward, ..server.clone() }
        });
        servers.collect()
    }
}

fn text(statement: &Statement) -> Result<At<String>, String> {
    let value = statement.value().ok_or_else(|| format!("{} has no value", statement.keyword()))?;
    Ok(At::new(&statement.location, value.to_owned()))
}

fn number(statement: &Statement, max: u32) -> Result<u32, String> {
    let text = text(statement)?.value;
    let number = text.parse().ok().filter(|number| *number <= max);
    number.ok_or_else(|| format!("{} is {text:?}, not a number from 0 to {max}", statement.keyword()))
}

/// Parses a weight; a larger one becomes [`WEIGHT_MAX`], with a notice.
fn weight(statement: &Statement, notices: &mut Notices) -> Result<u32, String> {
    let text = text(statement)?.value;
    let Some(weight) = capped_weight(&text) else { return number(statement, WEIGHT_MAX) };
    if text.parse() != Ok(weight) {
        let what = format!("weight {text} is above {WEIGHT_MAX}, the most that ipvsadm and directrix take");
        let instead = format!(
            "{WEIGHT_MAX} stands in its place; scale the weights of the service down, so that their shares stay"
        );
        notices.warn(&statement.location, what, instead);
    }
    Ok(weight)
}

/// Parses a number of any size, bounded by [`WEIGHT_MAX`].
fn capped_weight(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX).min(WEIGHT_MAX))
}

/// It is read with the checks.
fn quorum(statement: &Statement) -> Result<(), String> {
    number(statement, u32::MAX).map(drop)
}

fn forward(statement: &Statement) -> Result<Forward, String> {
    match text(statement)?.value.as_str() {
        "DR" => Ok(Forward::Direct),
        "TUN" => Ok(Forward::Tunnel),
        "NAT" => Ok(Forward::Masquerade),
        other => Err(format!("{} is {other:?}, which is none of DR, TUN, NAT", statement.keyword())),
    }
}

fn transport(statement: &Statement) -> Result<Protocol, String> {
    let name = text(statement)?.value.to_ascii_lowercase();
    let protocol = Protocol::named(&name);
    protocol.ok_or_else(|| format!("protocol is {name:?}, which is none of TCP, UDP, SCTP"))
}

fn endpoint(statement: &Statement) -> Result<(IpAddr, u16), String> {
    let address = text(statement)?.value;
    let address =
        address.parse().map_err(|_| format!("{} {address:?} is not an address", statement.keyword()))?;
    Ok((address, group::port(statement.words.get(2).map(String::as_str))?))
}

/// Reads the address of a sorry server. Weight and checks do not matter: it serves alone.
fn sorry_server(statement: &Statement) -> Result<ImportedServer, String> {
    let ((address, port), location) = (endpoint(statement)?, statement.location.clone());
    let (forward, checks) = (Forward::Masquerade, Vec::new());
    Ok(ImportedServer { location, address, port, forward, weight: 1, upper: 0, lower: 0, checks })
}
