//! Netmasks and numbers as ipvsadm reads them.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Parses the netmask of persistence: dotted for IPv4, prefix length for IPv6. `None`: a mask of single addresses.
pub(super) fn parse(mask: &str, v6: bool) -> Result<Option<String>, String> {
    if v6 {
        let length = number(mask, 1..=128, "netmask")?;
        return Ok((length < 128).then(|| length.to_string()));
    }
    let dotted: Ipv4Addr = mask.parse().map_err(|_| format!("{mask:?} is not a netmask of IPv4"))?;
    Ok((dotted != Ipv4Addr::BROADCAST).then(|| dotted.to_string()))
}

/// Parses a number within a range; `what` names it in the error.
pub(super) fn number(text: &str, range: RangeInclusive<u32>, what: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{text:?} is not a valid {what} ({} to {})", range.start(), range.end())),
    }
}
