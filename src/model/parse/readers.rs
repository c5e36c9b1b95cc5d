//! Readers: one value of the file into one type of the model.

use super::report::invalid;
use super::section::nearest;
use crate::model::address::{OWN_HOST, rip_example, same_family, vip_example};
use crate::model::{
    BadFlag, Diagnostic, IpFamily, Match, PeerAddress, SLOW_START_MAX, Scheduler, SchedulerFlags,
    ServiceIdentity, THRESHOLD_MAX, Weight, WorkerCount, host_address,
};
use crate::time::Span;
use crate::wire::MacAddr;
use crate::wire::vlan::{VLAN_MAX, VlanWord, Vlans};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use toml::de::{DeInteger, DeValue};

/// Longest interface name in bytes: IFNAMSIZ without its end (include/uapi/linux/if.h).
const INTERFACE_NAME_MAX: usize = 15;
/// Schedulers of IPVS that are not in [`Scheduler`]: they are for caches that clients reach by the
/// address of any web server, and here every service has an address of its own.
const CACHE_SCHEDULERS: &[&str] = &["lblc", "lblcr"];
/// Longest timeout in seconds: 2³¹ − 1 ms.
pub const SECONDS_MAX: u32 = 2_147_483;

pub(super) type Read<T> = Result<T, Diagnostic>;

pub(super) fn text<'v>(value: &'v DeValue<'_>, example: &str) -> Read<&'v str> {
    value
        .as_str()
        .ok_or_else(|| invalid(format!("is {}", shown(value)), format!("write {example} in quotes")))
}

/// A value as quoted in an error: always on one line.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => literal(number.as_str()),
        DeValue::Float(number) => literal(number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        other => format!("of type {}", other.type_str()),
    }
}

/// The literal as in the file, quoted if it has unprintable bytes.
fn literal(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) { text.to_owned() } else { format!("{text:?}") }
}

/// Behind an underscore, the TOML parser takes anything for a digit.
fn has_digits_only(number: &DeInteger<'_>) -> bool {
    let digits = number.as_str().trim_start_matches(['+', '-']);
    digits.chars().all(|digit| digit.is_digit(number.radix()))
}

/// A whole number of `range`.
pub(super) fn number(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    move |value| {
        let remedy = || format!("write a number from {} to {}", range.start(), range.end());
        let Some(digits) = value.as_integer().filter(|number| has_digits_only(number)) else {
            return Err(invalid(format!("is {}, not a whole number", shown(value)), remedy()));
        };
        let number = u32::from_str_radix(digits.as_str(), digits.radix()).ok();
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| invalid(format!("is {digits}, out of range"), remedy()))
    }
}

pub(super) fn seconds(value: &DeValue<'_>) -> Read<Span> {
    let seconds = number(1..=SECONDS_MAX)(value).map(Span::from_secs);
    seconds.map_err(|fault| invalid(fault.what, format!("{}: seconds", fault.remedy)))
}

/// Seconds of a round of the address auditor's questions; 0 for none.
pub(super) fn audit_interval(value: &DeValue<'_>) -> Read<Span> {
    const DAY: u32 = 86_400;
    let seconds = number(0..=DAY)(value).map(Span::from_secs);
    seconds.map_err(|fault| invalid(fault.what, format!("{}: seconds, 0 for no questions", fault.remedy)))
}

/// A list of stations by IP or MAC address.
pub(super) fn peers(value: &DeValue<'_>) -> Read<Vec<PeerAddress>> {
    let example = r#"a list of addresses, as in ["192.0.2.5", "02:00:5e:10:00:01"]"#;
    let list = value.as_array();
    let list = list.ok_or_else(|| invalid(format!("is {}", shown(value)), format!("write {example}")))?;
    let one = |value: &DeValue<'_>| {
        let text = text(value, "each address")?;
        let mac = || text.parse::<MacAddr>().map(PeerAddress::Mac).ok();
        let address = text.parse::<IpAddr>().map(PeerAddress::Ip).ok().or_else(mac);
        let what = || format!("has {text:?}, neither an IP nor a MAC address");
        address.ok_or_else(|| invalid(what(), format!("write {example}")))
    };
    list.iter().map(|value| one(value.get_ref())).collect()
}

/// Seconds of a slow start.
pub(super) fn slow_start(value: &DeValue<'_>) -> Read<Span> {
    let seconds = number(1..=SLOW_START_MAX)(value).map(Span::from_secs);
    seconds.map_err(|fault| invalid(fault.what, format!("{}: seconds", fault.remedy)))
}

/// A VLAN, or two with the outer tag's first, which the standard of that tag may precede.
pub(super) fn vlan(value: &DeValue<'_>) -> Read<Vlans> {
    let remedy = "write a number from 1 to 4094, or two, the outer tag's first: vlan = [100, 10]";
    let id = |value: &DeValue<'_>| number(1..=VLAN_MAX.into())(value).map(|id| VlanWord::Id(id as u16));
    let words = match value.as_array() {
        Some(all) => match all.first().and_then(|first| first.get_ref().as_str()) {
            Some(tag) => return vlan_by_tag(tag, all[1..].iter().map(|one| id(one.get_ref()))),
            None => all.iter().map(|one| id(one.get_ref())).collect::<Read<Vec<_>>>(),
        },
        None => id(value).map(|one| vec![one]),
    };
    let words = words.map_err(|fault| invalid(fault.what, remedy))?;
    let count = words.len();
    let vlans = Vlans::try_from(words).ok().filter(|vlans| !vlans.is_none());
    vlans.ok_or_else(|| invalid(format!("has {count} numbers"), remedy))
}

/// Two VLANs behind the standard of the outer tag.
fn vlan_by_tag(tag: &str, ids: impl Iterator<Item = Read<VlanWord>>) -> Read<Vlans> {
    let remedy = "write \"802.1q\" or \"802.1ad\" and two numbers, the outer tag's first: vlan = [\"802.1q\", 100, 10]";
    let words = std::iter::once(Ok(VlanWord::OuterTag(tag.to_owned()))).chain(ids);
    let words = words.collect::<Read<Vec<_>>>().map_err(|fault| invalid(fault.what, remedy))?;
    let count = words.len() - 1;
    Vlans::try_from(words)
        .map_err(|_| invalid(format!("has the outer tag {tag:?} and {count} numbers"), remedy))
}

pub(super) fn weight(value: &DeValue<'_>) -> Read<Weight> {
    number(0..=u32::from(u16::MAX))(value).map(|weight| Weight(weight as u16))
}

pub(super) fn workers(value: &DeValue<'_>) -> Read<WorkerCount> {
    if value.as_str() == Some("auto") {
        return Ok(WorkerCount::Auto);
    }
    let count = number(1..=u32::from(u16::MAX))(value).map(|count| WorkerCount::Count(count as u16));
    count.map_err(|fault| invalid(fault.what, format!(r#"{} or "auto""#, fault.remedy)))
}

pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| invalid(format!("is {}", shown(value)), "write true or false"))
}

/// Reads one of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let found = value.as_str().and_then(|word| choices.iter().find(|(name, _)| *name == word));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let quoted: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            invalid(format!("is {}", shown(value)), format!("write {}", quoted.join(" or ")))
        })
    }
}

pub(super) fn scheduler(value: &DeValue<'_>) -> Read<Scheduler> {
    let name = text(value, r#"a scheduler's name, as in "wlc","#)?;
    name.parse().map_err(|()| {
        if CACHE_SCHEDULERS.contains(&name) {
            let what = format!("is {name:?}, IPVS's scheduler for caches, which directrix does not have");
            return invalid(what, r#"write "mh" for clients that stay with their server"#);
        }
        let remedy = match nearest(name, Scheduler::NAMES) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("write one of {}", Scheduler::NAMES.join(", ")),
        };
        invalid(format!("is {name:?}, which is not a scheduler"), remedy)
    })
}

/// A list of flags of `scheduler`.
pub(super) fn scheduler_flags(value: &DeValue<'_>, scheduler: Scheduler) -> Read<SchedulerFlags> {
    let example = r#"a list of flags, as in ["mh-fallback"]"#;
    let list = value.as_array();
    let list = list.ok_or_else(|| invalid(format!("is {}", shown(value)), format!("write {example}")))?;
    let mut flags = SchedulerFlags::default();
    for flag in list {
        let name = text(flag.get_ref(), "each flag")?;
        flags.set(scheduler, name).map_err(|bad| bad_flag(name, scheduler, bad))?;
    }
    Ok(flags)
}

fn bad_flag(name: &str, scheduler: Scheduler, bad: BadFlag) -> Diagnostic {
    let what = match bad {
        BadFlag::Of(other) => format!("has {name:?}, a flag of {}", other.name()),
        BadFlag::Unknown => format!("has {name:?}, which is not a scheduler flag"),
    };
    let remedy = match (scheduler.flag_names(), nearest(name, scheduler.flag_names())) {
        ([], _) => format!("remove it: {} has no flags", scheduler.name()),
        (_, Some(near)) => format!("did you mean {near:?}?"),
        (names, None) => format!("the flags of {} are {}", scheduler.name(), names.join(", ")),
    };
    invalid(what, remedy)
}

/// The matches of a group: a list of at least one.
pub(super) fn matches(value: &DeValue<'_>) -> Read<Vec<Match>> {
    let example = r#"a list of matches, as in ["tcp:192.0.2.10:80", "udp:192.0.2.10:5060-5080"]"#;
    let list = value.as_array();
    let list = list.ok_or_else(|| invalid(format!("is {}", shown(value)), format!("write {example}")))?;
    if list.is_empty() {
        return Err(invalid("is empty", format!("write {example}")));
    }
    let one = |value: &DeValue<'_>| {
        let text = text(value, "each match")?;
        text.parse::<Match>().map_err(|fault| {
            invalid(format!("has {text:?}, which is no match: {}", fault.cause), fault.remedy)
        })
    };
    list.iter().map(|value| one(value.get_ref())).collect()
}

/// "255.255.255.0" as 24.
pub(super) fn netmask(value: &DeValue<'_>) -> Read<u8> {
    let example = r#"a netmask, as in "255.255.255.0""#;
    let text = text(value, &format!("{example},"))?;
    let fault = |flaw: &str| invalid(format!("is {text:?}, {flaw}"), format!("write {example}"));
    let mask = text.parse::<Ipv4Addr>().map_err(|_| fault("not an IPv4 netmask"))?.to_bits();
    match mask.leading_ones() {
        0 => Err(fault("which would take all clients for one")),
        ones if ones == mask.count_ones() => Ok(ones as u8),
        _ => Err(fault("which has gaps")),
    }
}

/// A number of connections; 0 for none.
pub(super) fn threshold(value: &DeValue<'_>) -> Read<u32> {
    number(0..=THRESHOLD_MAX)(value)
}

/// A list of files or patterns of files.
pub(super) fn patterns(value: &DeValue<'_>) -> Read<Vec<String>> {
    let example = r#"a list of files, as in ["conf.d/*.toml"]"#;
    let list = value.as_array();
    let list = list.ok_or_else(|| invalid(format!("is {}", shown(value)), format!("write {example}")))?;
    let patterns = list.iter().map(|item| match text(item.get_ref(), example)? {
        "" => Err(invalid("has an empty name", format!("write {example}"))),
        name if name.contains("**") => Err(invalid(
            format!("has {name:?}: \"**\" searches whole trees"),
            "name each folder, as in \"conf.d/*.toml\"",
        )),
        name => Ok(name.to_owned()),
    });
    patterns.collect()
}

/// A name that the kernel accepts for an interface (dev_valid_name in net/core/dev.c).
pub(super) fn interface(value: &DeValue<'_>) -> Read<String> {
    let name = text(value, r#"an interface's name, as in "eth0","#)?;
    let flaw = match name {
        "" => "is empty".to_owned(),
        "." | ".." => format!("is {name:?}, which is not an interface name"),
        _ if name.len() > INTERFACE_NAME_MAX => {
            format!("is {name:?}, {} bytes: Linux allows {INTERFACE_NAME_MAX}", name.len())
        }
        _ if name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':')) => {
            format!("is {name:?}: a name has no space, slash or colon in it")
        }
        _ => return Ok(name.to_owned()),
    };
    Err(invalid(flaw, r#"write a name that "ip link" shows, as in "eth0""#))
}

/// A group's name. It is resolved on the host later.
pub(super) fn group(value: &DeValue<'_>) -> Read<String> {
    let name = text(value, r#"a group's name, as in "adm","#)?;
    if name.is_empty() {
        return Err(invalid("is empty", "name a group that `getent group` shows, or remove the key"));
    }
    Ok(name.to_owned())
}

/// A user's name. It is resolved on the host later.
pub(super) fn user(value: &DeValue<'_>) -> Read<String> {
    let name = text(value, r#"a user's name, as in "directrix","#)?;
    let flaw = match name {
        "" => "is empty".to_owned(),
        _ if name.bytes().all(|byte| byte.is_ascii_digit()) => format!("is {name:?}, a number and no name"),
        _ if name.contains(is_invalid_in_user_name) => {
            format!("is {name:?}: a name has no space, slash or colon in it")
        }
        _ => return Ok(name.to_owned()),
    };
    Err(invalid(flaw, r#"write a user's name, as in "directrix""#))
}

fn is_invalid_in_user_name(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '/' | ':')
}

pub(super) fn mac(value: &DeValue<'_>) -> Read<MacAddr> {
    let remedy = "write the server's own address, as in \"02:00:5e:10:00:01\"";
    let text = text(value, "a MAC address, as in \"02:00:5e:10:00:01\",")?;
    let mac: MacAddr =
        text.parse().map_err(|_| invalid(format!("is {text:?}, not a MAC address"), remedy))?;
    if !mac.is_unicast() {
        return Err(invalid(format!("is {text:?}, which is not one station's address"), remedy));
    }
    Ok(mac)
}

/// "VIP:port", or "[VIP]:port" for IPv6, where port 0 is the wildcard port.
pub(super) fn vip(value: &DeValue<'_>) -> Read<SocketAddr> {
    let example = |family| format!("VIP and port, as in {:?}", vip_example(family));
    let text = text(value, &format!("{},", example(IpFamily::Ipv4)))?;
    let is_v6 = text.matches(':').count() > 1 && (text.starts_with('[') || !text.contains('.'));
    let example = example(if is_v6 { IpFamily::Ipv6 } else { IpFamily::Ipv4 });
    let fault = |flaw: &str| invalid(format!("is {text:?}{flaw}"), format!("write {example}"));
    if let Some(address) = in_brackets(text).or_else(|| text.parse().ok()) {
        let whole = SocketAddr::new(address, 80);
        return Err(invalid(format!("is {text:?}, without a port"), format!("write \"{whole}\"")));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| fault(", not an IP address and port"))?;
    let address = match in_brackets(host) {
        Some(address) => checked_host(address),
        None if host.parse::<Ipv6Addr>().is_ok() => Err(", an IPv6 address without brackets".into()),
        None => host_of(host),
    };
    let address = address.map_err(|flaw| fault(&flaw))?;
    match port.parse() {
        Ok(port) => Ok(SocketAddr::from((address, port))),
        Err(_) => Err(fault(": the port is not a number from 1 to 65535")),
    }
}

/// "address:port" of this host, of either family, to listen on.
pub(super) fn listener(value: &DeValue<'_>) -> Read<SocketAddr> {
    let example = r#"an address of this host and a port, as in "127.0.0.1:9310""#;
    let text = text(value, &format!("{example},"))?;
    let fault = |flaw: &str| invalid(format!("is {text:?}{flaw}"), format!("write {example}"));
    if let Ok(address) = text.parse::<IpAddr>() {
        let whole = SocketAddr::new(address, 9310);
        return Err(invalid(format!("is {text:?}, without a port"), format!("write \"{whole}\"")));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(fault(": port 0 cannot be listened on")),
        Ok(address) if address.ip().is_multicast() => Err(fault(", not an address of one host")),
        Ok(address) => Ok(address),
        Err(_) => Err(fault(", not an IP address and port")),
    }
}

/// "RIP", or "RIP:port" with the service's port, if that is known. Of the family of the service's VIP.
pub(super) fn rip(value: &DeValue<'_>, service: Option<ServiceIdentity>) -> Read<IpAddr> {
    let example = rip_example(service.map_or(IpFamily::Ipv4, |service| service.family()));
    let text = text(value, &format!("the RIP alone, as in {example:?},"))?;
    let fault = |flaw: &str, instead: &str| {
        invalid(format!("is {text:?}, {flaw}"), format!("write {instead}, as in {example:?}"))
    };
    if text.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
        return Err(invalid(format!("is {text:?}, a loopback address"), OWN_HOST));
    }
    let with_port = text.parse::<SocketAddr>().ok().filter(|address| !has_zone(address));
    let parsed = with_port.map(|address| address.ip()).or_else(|| in_brackets(text)).or(text.parse().ok());
    let address = parsed.ok_or_else(|| fault("not an IP address", "the RIP alone"))?;
    host_address(address).map_err(|flaw| fault(flaw, "the RIP of one host"))?;
    if let Some(service) = service {
        let instead = "an address of the VIP's family that the server has";
        same_family(address, service.family()).map_err(|flaw| fault(flaw, instead))?;
    }
    let other_port = |address: SocketAddr| service.is_some_and(|service| service.port() != address.port());
    if with_port.is_some_and(other_port) {
        let flaw = "another port than the service's: direct routing cannot change the port";
        return Err(invalid(format!("is {text:?}, {flaw}"), format!("write \"{address}\"")));
    }
    Ok(address)
}

/// An IPv6 address in brackets.
fn in_brackets(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// Whether an address names a link, as in "[fe80::1%2]:80".
fn has_zone(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.scope_id() != 0)
}

fn host_of(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| ", not an IP address".to_owned()).and_then(checked_host)
}

fn checked_host(address: IpAddr) -> Result<IpAddr, String> {
    host_address(address).map(|()| address).map_err(|flaw| format!(", {flaw}"))
}
