//! `virtual_server` and its `real_server` blocks.

use super::group::{self, Groups, Member};
use super::keywords::{self, SERVER, SERVICE};
use super::surplus;
use super::tree::Entry;
use crate::import::description::{
    At, Forward, Persistence, Place, Server, Service, Settings, Transport, Vip,
};
use crate::import::ipvsadm::checked_mask;
use crate::import::remark::Remarks;
use crate::ipvsadm::TIMEOUT_MAX;
use crate::model;
use std::net::{IpAddr, SocketAddr};

/// Seconds of `persistence_timeout` without a number.
const PERSISTENT_DEFAULT: u32 = model::Persistence::TIMEOUT.secs();

/// The largest weight of ipvsadm and directrix. keepalived takes larger ones.
const WEIGHT_MAX: u32 = u16::MAX as u32;

/// Services, and servers of all services, that a configuration of directrix can have.
pub(super) const COUNT_MAX: usize = u16::MAX as usize;

/// Reads a `virtual_server`: a group makes several services of it. `room` is how many services and
/// servers there may still be.
pub(super) fn read(entry: &Entry, groups: &Groups, room: &mut usize, remarks: &mut Remarks) -> Vec<Service> {
    let members = match members(entry, groups) {
        Ok(members) => members,
        Err(what) => {
            let instead = "write \"virtual_server ADDRESS PORT {\", or give it to directrix.toml by hand";
            remarks.lost(&entry.place, format!("{}: {what}", entry.words.join(" ")), instead);
            return Vec::new();
        }
    };
    surplus::remark(entry, remarks);
    let mut template = Template::new(entry);
    entry.entries().iter().for_each(|entry| template.take(entry, remarks));
    if let Some(sorry) = &template.sorry {
        remark_sorry(sorry, &members, remarks);
    }
    if template.servers.is_empty() {
        let what = format!("{} has no real server, so that nothing answers", entry.words.join(" "));
        remarks.note(&entry.place, what, "write a [[service.server]]; keepalived leaves out such a service");
    }
    let Some(left) = room.checked_sub(members.len().saturating_mul(template.servers.len().max(1))) else {
        let what =
            format!("{} makes more than {COUNT_MAX} services or servers of all", entry.words.join(" "));
        remarks.lost(&entry.place, what, "leave out addresses that nobody asks for");
        return Vec::new();
    };
    *room = left;
    let services = members.iter().map(|member| template.service(entry, member, remarks));
    services.collect()
}

/// What a `virtual_server` stands for.
fn members(entry: &Entry, groups: &Groups) -> Result<Vec<At<Member>>, String> {
    let only = |member| vec![At::new(&entry.place, member)];
    let [_, first, rest @ ..] = &entry.words[..] else { return Err("it names no address".into()) };
    let second = rest.first().map(String::as_str);
    match first.as_str() {
        "fwmark" => {
            let mark = second.and_then(|mark| mark.parse().ok()).ok_or("fwmark has no number")?;
            Ok(only(Member::Mark(mark)))
        }
        "group" => {
            let members = groups.get(second.unwrap_or_default()).filter(|members| !members.is_empty());
            members.cloned().ok_or_else(|| "there is no such group with an address in it".into())
        }
        address => {
            let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
            Ok(only(Member::Address(SocketAddr::new(address, group::port(second)?))))
        }
    }
}

/// What a `virtual_server` says, whatever its address.
struct Template {
    settings: Settings,
    transport: Option<Transport>,
    netmask: Option<At<String>>,
    forward: Option<Forward>,
    weight: u32,
    servers: Vec<(Server, Option<Forward>)>,
    /// The `sorry_server` line.
    sorry: Option<Entry>,
}

impl Template {
    fn new(entry: &Entry) -> Self {
        let numbers = entry.entries().iter().filter(|entry| entry.keyword() == "weight");
        let weight = numbers.filter_map(|entry| capped_weight(entry.value()?)).next_back();
        Self {
            settings: Settings::default(),
            transport: None,
            netmask: None,
            forward: None,
            weight: weight.unwrap_or(1),
            servers: Vec::new(),
            sorry: None,
        }
    }

    fn take(&mut self, entry: &Entry, remarks: &mut Remarks) {
        surplus::remark(entry, remarks);
        let done = match entry.keyword() {
            "lb_algo" | "lvs_sched" => text(entry).map(|name| self.settings.scheduler = Some(name)),
            "lb_kind" | "lvs_method" => forward(entry).map(|forward| self.forward = Some(forward)),
            "protocol" => transport(entry).map(|transport| self.transport = Some(transport)),
            "persistence_timeout" => self.persist(entry),
            "persistence_granularity" => text(entry).map(|mask| self.netmask = Some(mask)),
            "persistence_engine" => text(entry).map(|engine| self.settings.engine = Some(engine)),
            "ops" => {
                self.settings.one_packet = Some(entry.place.clone());
                Ok(())
            }
            flag @ ("flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port"
            | "mh-fallback") => {
                self.settings.flags.push(At::new(&entry.place, flag.to_owned()));
                Ok(())
            }
            "weight" => weight(entry, remarks).map(drop),
            // The default: one living server is enough.
            "quorum" if entry.value() == Some("1") => Ok(()),
            "real_server" => self.server(entry, remarks),
            "sorry_server" => {
                self.sorry = Some(entry.clone());
                Ok(())
            }
            _ => {
                keywords::remark(SERVICE, entry, remarks);
                Ok(())
            }
        };
        if let Err(what) = done {
            remarks.lost(&entry.place, what, "write a right one into directrix.toml");
        }
    }

    fn persist(&mut self, entry: &Entry) -> Result<(), String> {
        let timeout = match entry.value() {
            None => PERSISTENT_DEFAULT,
            Some("0") => return Ok(()),
            Some(_) => number(entry, TIMEOUT_MAX)?,
        };
        self.settings.persistence = Some(At::new(&entry.place, Persistence { timeout, netmask: None }));
        Ok(())
    }

    fn server(&mut self, entry: &Entry, remarks: &mut Remarks) -> Result<(), String> {
        let (address, port) = endpoint(entry)?;
        let place = entry.place.clone();
        let (weight, forward) = (self.weight, Forward::Masquerade);
        let mut server = Server { place, address, port, forward, weight, upper: 0, lower: 0 };
        let mut own = None;
        for entry in entry.entries() {
            surplus::remark(entry, remarks);
            let done = match entry.keyword() {
                "weight" => self::weight(entry, remarks).map(|weight| server.weight = weight),
                "uthreshold" => number(entry, u32::MAX).map(|upper| server.upper = upper),
                "lthreshold" => number(entry, u32::MAX).map(|lower| server.lower = lower),
                "lvs_method" | "lb_kind" => self::forward(entry).map(|forward| own = Some(forward)),
                _ => {
                    keywords::remark(SERVER, entry, remarks);
                    Ok(())
                }
            };
            if let Err(what) = done {
                remarks.lost(&entry.place, what, "write a right one into directrix.toml");
            }
        }
        self.servers.push((server, own));
        Ok(())
    }

    fn service(&self, entry: &Entry, member: &At<Member>, remarks: &mut Remarks) -> Service {
        let heading = entry.words.join(" ");
        let origin = match member.place == entry.place {
            true => heading,
            false => format!("{heading}, its member of {}", member.place),
        };
        let vip = match member.value {
            Member::Mark(mark) => Vip::Mark(mark),
            Member::Address(address) => Vip::Address(self.protocol(&entry.place, remarks), address),
        };
        let v6 = matches!(vip, Vip::Address(_, address) if address.is_ipv6());
        let mut settings = self.settings.clone();
        self.mask(&mut settings, v6, remarks);
        let port_free = matches!(vip, Vip::Address(_, address) if address.port() == 0);
        if port_free && settings.persistence.is_none() {
            let persistence = Persistence { timeout: PERSISTENT_DEFAULT, netmask: None };
            settings.persistence = Some(At::new(&entry.place, persistence));
        }
        Service {
            origin: At::new(&entry.place, origin),
            vip,
            settings,
            servers: self.servers(entry, remarks),
        }
    }

    /// Without a protocol keepalived takes UDP, as the kernel does.
    fn protocol(&self, place: &Place, remarks: &mut Remarks) -> Transport {
        self.transport.unwrap_or_else(|| {
            remarks.note(
                place,
                "there is no protocol, so it is UDP, as for keepalived",
                "write protocol = \"tcp\" into directrix.toml if that is meant",
            );
            Transport::Udp
        })
    }

    /// A mask makes the service persistent.
    fn mask(&self, settings: &mut Settings, v6: bool, remarks: &mut Remarks) {
        let Some(mask) = &self.netmask else { return };
        match checked_mask(&mask.value, v6) {
            Ok(netmask) => {
                let default = Persistence { timeout: PERSISTENT_DEFAULT, netmask: None };
                let persistence = settings.persistence.get_or_insert(At::new(&mask.place, default));
                persistence.value.netmask = netmask;
            }
            Err(what) => {
                let what = format!("persistence_granularity: {what}");
                remarks.lost(&mask.place, what, "write a right one into directrix.toml");
            }
        }
    }

    /// Without a method keepalived takes NAT.
    fn servers(&self, entry: &Entry, remarks: &mut Remarks) -> Vec<Server> {
        let unsaid = self.servers.iter().any(|(_, own)| own.or(self.forward).is_none());
        if unsaid {
            remarks.note(
                &entry.place,
                "there is no lvs_method for its servers, so it is NAT, as for keepalived",
                "write lvs_method DR into it if that is meant, and import it again",
            );
        }
        let servers = self.servers.iter().map(|(server, own)| {
            let forward = own.or(self.forward).unwrap_or(Forward::Masquerade);
            Server { forward, ..server.clone() }
        });
        servers.collect()
    }
}

fn text(entry: &Entry) -> Result<At<String>, String> {
    let value = entry.value().ok_or_else(|| format!("{} has no value", entry.keyword()))?;
    Ok(At::new(&entry.place, value.to_owned()))
}

fn number(entry: &Entry, max: u32) -> Result<u32, String> {
    let text = text(entry)?.value;
    let number = text.parse().ok().filter(|number| *number <= max);
    number.ok_or_else(|| format!("{} is {text:?}, not a number from 0 to {max}", entry.keyword()))
}

/// A weight; one that is too large becomes the largest, so that its server stays the heaviest.
fn weight(entry: &Entry, remarks: &mut Remarks) -> Result<u32, String> {
    let text = text(entry)?.value;
    let Some(weight) = capped_weight(&text) else { return number(entry, WEIGHT_MAX) };
    if text.parse() != Ok(weight) {
        let what = format!("weight {text} is above {WEIGHT_MAX}, the most that ipvsadm and directrix take");
        let instead = format!(
            "{WEIGHT_MAX} stands in its place; scale the weights of the service down, so that their shares stay"
        );
        remarks.lost(&entry.place, what, instead);
    }
    Ok(weight)
}

/// A number however large, as a weight.
fn capped_weight(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX).min(WEIGHT_MAX))
}

fn forward(entry: &Entry) -> Result<Forward, String> {
    match text(entry)?.value.as_str() {
        "DR" => Ok(Forward::Direct),
        "TUN" => Ok(Forward::Tunnel),
        "NAT" => Ok(Forward::Masquerade),
        other => Err(format!("{} is {other:?}, which is none of DR, TUN, NAT", entry.keyword())),
    }
}

fn transport(entry: &Entry) -> Result<Transport, String> {
    match text(entry)?.value.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Transport::Tcp),
        "udp" => Ok(Transport::Udp),
        "sctp" => Ok(Transport::Sctp),
        other => Err(format!("protocol is {other:?}, which is none of TCP, UDP, SCTP")),
    }
}

fn endpoint(entry: &Entry) -> Result<(IpAddr, u16), String> {
    let address = text(entry)?.value;
    let address =
        address.parse().map_err(|_| format!("{} {address:?} is not an address", entry.keyword()))?;
    Ok((address, group::port(entry.words.get(2).map(String::as_str))?))
}

/// A server of weight 0 can take over, unless it is the director itself.
fn remark_sorry(entry: &Entry, members: &[At<Member>], remarks: &mut Remarks) {
    let what =
        format!("{} takes over when no server is left, which nobody notices any more", entry.words.join(" "));
    let write = "write it as a [[service.server]] with weight = 0, and raise that by \"directrix ipvsadm -e ... -w 1\" when the others are down";
    let instead = if is_own_host(entry, members) {
        format!(
            "that is the director itself, to which directrix hands no frames: run the page on a host of the network, prepare it by \"directrix realserver setup\", {write}"
        )
    } else {
        write.to_owned()
    };
    remarks.lost(&entry.place, what, instead);
}

/// Whether a server's address is a loopback address or one of the VIPs.
fn is_own_host(entry: &Entry, members: &[At<Member>]) -> bool {
    let Ok((address, _)) = endpoint(entry) else { return false };
    let is_vip = |member: &At<Member>| matches!(member.value, Member::Address(vip) if vip.ip() == address);
    address.is_loopback() || members.iter().any(is_vip)
}
