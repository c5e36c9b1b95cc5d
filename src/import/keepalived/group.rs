//! `virtual_server_group`: addresses, ranges of addresses and firewall marks under one name.

use super::statement::Statement;
use super::surplus;
use crate::import::description::At;
use crate::import::notice::Notices;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// Bound of the addresses of all groups: the most services of a configuration.
const ADDRESSES_MAX: u32 = 1 << 16;

/// One address or mark of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupMember {
    Address(SocketAddr),
    Mark(u32),
}

/// Groups by name.
pub(super) type Groups = HashMap<String, Vec<At<GroupMember>>>;

/// Reads the groups of a file. Groups of the same name are merged.
pub(super) fn read(statements: &[Statement], notices: &mut Notices) -> Groups {
    let (mut groups, mut room) = (Groups::new(), ADDRESSES_MAX as usize);
    for group in statements.iter().filter(|statement| statement.keyword() == "virtual_server_group") {
        let members = groups.entry(group.value().unwrap_or_default().to_owned()).or_default();
        for statement in group.statements() {
            surplus::add_notice(statement, notices);
            match member(statement) {
                Ok(found) if found.len() > room => {
                    let what = format!("the groups have more than {ADDRESSES_MAX} addresses with this line");
                    notices.warn(&statement.location, what, "leave out addresses without clients");
                }
                Ok(found) => {
                    room -= found.len();
                    members.extend(found.into_iter().map(|member| At::new(&statement.location, member)));
                }
                Err(what) => notices.warn(
                    &statement.location,
                    what,
                    "write an address and a port, as in \"192.0.2.1 80\"",
                ),
            }
        }
    }
    groups
}

fn member(statement: &Statement) -> Result<Vec<GroupMember>, String> {
    if statement.keyword() == "fwmark" {
        return Ok(vec![GroupMember::Mark(mark(statement.value())?)]);
    }
    let port = port(statement.value())?;
    let addresses = addresses(statement.keyword())?;
    Ok(addresses.into_iter().map(|address| GroupMember::Address(SocketAddr::new(address, port))).collect())
}

/// The mark of a service; 0 is that of packets without one.
pub(super) fn mark(word: Option<&str>) -> Result<u32, String> {
    let mark = word.and_then(|word| word.parse::<NonZeroU32>().ok());
    mark.map(NonZeroU32::get).ok_or_else(|| "fwmark has no number from 1 to 4294967295".to_owned())
}

/// Parses a port; `None` is port 0.
pub(super) fn port(text: Option<&str>) -> Result<u16, String> {
    let Some(text) = text else { return Ok(0) };
    text.parse().map_err(|_| format!("{text:?} is not a port"))
}

/// Parses "192.0.2.1", "192.0.2.1-9", "192.0.2.1-192.0.2.9", "192.0.2.0/29" (all eight addresses), and for IPv6
/// "2001:db8::1", "2001:db8::1-f" (hexadecimal), "2001:db8::1-2001:db8::f", "2001:db8::/124".
fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    if let Some(AddressRange { first, last }) = range_v4(text) {
        let all = all_between(text, first.into(), last.into())?;
        return Ok(all.map(|bits| Ipv4Addr::from_bits(bits as u32).into()).collect());
    }
    if let Some(AddressRange { first, last }) = range_v6(text) {
        return Ok(all_between(text, first, last)?.map(|bits| Ipv6Addr::from_bits(bits).into()).collect());
    }
    Err(format!("{text:?} is not an address, range or network"))
}

/// The addresses of a range that is in order and not too long.
fn all_between(text: &str, first: u128, last: u128) -> Result<RangeInclusive<u128>, String> {
    match last.checked_sub(first) {
        None => Err(format!("the range {text} ends before it begins")),
        Some(more) if more >= ADDRESSES_MAX.into() => {
            Err(format!("the range {text} has more than {ADDRESSES_MAX} addresses"))
        }
        Some(_) => Ok(first..=last),
    }
}

/// First and last address of a range.
struct AddressRange<T> {
    first: T,
    last: T,
}

fn range_v6(text: &str) -> Option<AddressRange<u128>> {
    if let Some((first, length)) = text.split_once('/') {
        let (first, length) = (first.parse::<Ipv6Addr>().ok()?.to_bits(), length.parse::<u32>().ok()?);
        let rest = u128::MAX.checked_shr(length).unwrap_or(0);
        return (length <= 128 && first & rest == 0).then_some(AddressRange { first, last: first | rest });
    }
    let (first, last) = text.split_once('-')?;
    let first = first.parse::<Ipv6Addr>().ok()?.to_bits();
    let last = match last.parse::<Ipv6Addr>() {
        Ok(last) => last.to_bits(),
        Err(_) => first & !0xffff | u128::from(u16::from_str_radix(last, 16).ok()?),
    };
    Some(AddressRange { first, last })
}

fn range_v4(text: &str) -> Option<AddressRange<u32>> {
    if let Some((first, length)) = text.split_once('/') {
        let (first, length) = (first.parse::<Ipv4Addr>().ok()?.to_bits(), length.parse::<u32>().ok()?);
        let rest = u32::MAX.checked_shr(length).unwrap_or(0);
        return (length <= 32 && first & rest == 0).then_some(AddressRange { first, last: first | rest });
    }
    let (first, last) = text.split_once('-')?;
    let first = first.parse::<Ipv4Addr>().ok()?;
    let [a, b, c, _] = first.octets();
    let last = last.parse::<Ipv4Addr>().ok().or_else(|| Some(Ipv4Addr::new(a, b, c, last.parse().ok()?)))?;
    Some(AddressRange { first: first.to_bits(), last: last.to_bits() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_expand_to_addresses() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("192.0.2.9-11", "192.0.2.9 192.0.2.10 192.0.2.11"),
            ("192.0.2.255-192.0.3.0", "192.0.2.255 192.0.3.0"),
            ("192.0.2.8/30", "192.0.2.8 192.0.2.9 192.0.2.10 192.0.2.11"),
            ("192.0.2.8/32", "192.0.2.8"),
            ("192.0.2.9-8", "the range 192.0.2.9-8 ends before it begins"),
            ("0.0.0.0/0", "the range 0.0.0.0/0 has more than 65536 addresses"),
            ("192.0.2.9/30", "\"192.0.2.9/30\" is not an address, range or network"),
            ("192.0.2.9/99", "\"192.0.2.9/99\" is not an address, range or network"),
            ("192.0.2.9-256", "\"192.0.2.9-256\" is not an address, range or network"),
            ("2001:db8::9-b", "2001:db8::9 2001:db8::a 2001:db8::b"),
            ("2001:db8::ffff-2001:db8::1:0", "2001:db8::ffff 2001:db8::1:0"),
            ("2001:db8::8/127", "2001:db8::8 2001:db8::9"),
            ("2001:db8::9-8", "the range 2001:db8::9-8 ends before it begins"),
            ("2001:db8::/64", "the range 2001:db8::/64 has more than 65536 addresses"),
            ("2001:db8::9/127", "\"2001:db8::9/127\" is not an address, range or network"),
            ("2001:db8::9/129", "\"2001:db8::9/129\" is not an address, range or network"),
            ("2001:db8::9-10000", "\"2001:db8::9-10000\" is not an address, range or network"),
        ] {
            let shown = match addresses(text) {
                Ok(addresses) => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "),
                Err(what) => what,
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
