//! ICMP errors about probes, with the names of their codes.

use std::fmt;
use std::net::IpAddr;

/// An ICMP error about a packet of a probe; ICMPv6 if the sender has an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeIcmp {
    /// Type (RFC 792, RFC 4443).
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Sender.
    pub sender: IpAddr,
}

impl ProbeIcmp {
    /// Name of type and code (RFC 792, RFC 1812 §5.2.7.1, RFC 4443).
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.sender.is_ipv4(), self.kind, self.code) {
            (true, 3, 0) => "network unreachable, also if the server routes and has no route for the VIP",
            (true, 3, 1) => "host unreachable",
            (true, 3, 2) => "protocol unreachable",
            (true, 3, 3) | (false, 1, 4) => "port unreachable",
            (true, 3, 4) | (false, 2, _) => "packet too big",
            (true, 3, 9) => "network prohibited",
            (true, 3, 10) => "host prohibited",
            (true, 3, 13) | (false, 1, 1) => "administratively prohibited",
            (false, 1, 0) => "no route, also if the server routes and has none for the VIP",
            (false, 1, 3) => "address unreachable",
            (false, 1, 5) => "source address refused",
            (false, 1, 6) => "route rejected",
            (true, 11, _) | (false, 3, _) => "time exceeded",
            (true, 12, _) | (false, 4, _) => "parameter problem",
            _ => "another error",
        }
    }
}

impl fmt::Display for ProbeIcmp {
    /// As in "ICMP 3/13 from 192.0.2.7: administratively prohibited".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.sender.is_ipv4() { "ICMP" } else { "ICMPv6" };
        write!(f, "{version} {}/{} from {}: {}", self.kind, self.code, self.sender, self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_code_have_a_name_in_each_family() {
        for (sender, kind, code, text) in [
            ("10.9.0.11", 3, 13, "ICMP 3/13 from 10.9.0.11: administratively prohibited"),
            ("10.9.0.11", 11, 0, "ICMP 11/0 from 10.9.0.11: time exceeded"),
            ("10.9.0.11", 3, 1, "ICMP 3/1 from 10.9.0.11: host unreachable"),
            ("fd09::11", 1, 1, "ICMPv6 1/1 from fd09::11: administratively prohibited"),
            ("fd09::11", 3, 0, "ICMPv6 3/0 from fd09::11: time exceeded"),
            ("fd09::11", 1, 4, "ICMPv6 1/4 from fd09::11: port unreachable"),
        ] {
            let icmp = ProbeIcmp { kind, code, sender: sender.parse().unwrap() };
            assert_eq!(icmp.to_string(), text);
        }
    }
}
