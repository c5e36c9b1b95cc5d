//! `virtual_server_group`: addresses, ranges of addresses and firewall marks under one name.

use super::statement::Statement;
use super::surplus;
use crate::import::description::At;
use crate::import::notice::Notices;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
        let mark = statement.value().and_then(|mark| mark.parse().ok());
        return mark
            .map(|mark| vec![GroupMember::Mark(mark)])
            .ok_or_else(|| "fwmark has no number".to_owned());
    }
    let port = port(statement.value())?;
    let addresses = addresses(statement.keyword())?;
    Ok(addresses.into_iter().map(|address| GroupMember::Address(SocketAddr::new(address, port))).collect())
}

/// Parses a port; `None` is port 0.
pub(super) fn port(text: Option<&str>) -> Result<u16, String> {
    let Some(text) = text else { return Ok(0) };
    text.parse().map_err(|_| format!("{text:?} is not a port"))
}

/// Parses "192.0.2.1", "192.0.2.1-9", "192.0.2.1-192.0.2.9" or "192.0.2.0/29" (all eight addresses).
fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    let Some(AddressRange { first, last }) = range(text) else {
        return Err(format!("{text:?} is not an address, range or network of IPv4"));
    };
    match last.checked_sub(first) {
        None => Err(format!("the range {text} ends before it begins")),
        Some(more) if more >= ADDRESSES_MAX => {
            Err(format!("the range {text} has more than {ADDRESSES_MAX} addresses"))
        }
        Some(_) => Ok((first..=last).map(|bits| Ipv4Addr::from_bits(bits).into()).collect()),
    }
}

/// First and last address of a range.
struct AddressRange {
    first: u32,
    last: u32,
}

fn range(text: &str) -> Option<AddressRange> {
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
            ("192.0.2.9/30", "\"192.0.2.9/30\" is not an address, range or network of IPv4"),
            ("192.0.2.9/99", "\"192.0.2.9/99\" is not an address, range or network of IPv4"),
            ("192.0.2.9-256", "\"192.0.2.9-256\" is not an address, range or network of IPv4"),
            ("2001:db8::1-5", "\"2001:db8::1-5\" is not an address, range or network of IPv4"),
        ] {
            let shown = match addresses(text) {
                Ok(addresses) => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "),
                Err(what) => what,
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
