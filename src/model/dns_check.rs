//! DNS checks as configured: the query, and the answers that are good.

use std::fmt;

/// Query and expected answer of a DNS check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsCheck {
    /// Name that is asked for; "." for the root.
    pub name: String,
    /// Type of the records that are asked for.
    pub query: DnsQueryType,
    /// Response codes that are good; never empty.
    pub rcode: Vec<DnsRcode>,
    /// Carrier of query and answer.
    pub transport: DnsTransport,
}

impl DnsCheck {
    /// The good response codes as in the configuration file: "NOERROR,NXDOMAIN".
    #[must_use]
    pub fn rcodes(&self) -> String {
        self.rcode.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Type of the records of a query (RFC 1035 section 3.2.2, RFC 3596, RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DnsQueryType {
    /// IPv4 address.
    A,
    /// Name server.
    NS,
    /// Alias.
    CNAME,
    /// Start of a zone.
    SOA,
    /// Name of an address.
    PTR,
    /// Mail server.
    MX,
    /// Text.
    TXT,
    /// IPv6 address.
    AAAA,
    /// Server of a service.
    SRV,
}

impl DnsQueryType {
    /// Every type with its name.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("A", Self::A),
        ("NS", Self::NS),
        ("CNAME", Self::CNAME),
        ("SOA", Self::SOA),
        ("PTR", Self::PTR),
        ("MX", Self::MX),
        ("TXT", Self::TXT),
        ("AAAA", Self::AAAA),
        ("SRV", Self::SRV),
    ];

    /// The name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// Response code of a DNS answer: 0..=15, of the header (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsRcode(pub u8);

impl DnsRcode {
    /// No error.
    pub const NO_ERROR: Self = Self(0);
    /// Names by number (RFC 1035, RFC 2136).
    pub const NAMES: [&'static str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
        "NOTAUTH", "NOTZONE",
    ];

    /// The code with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let number = Self::NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        Some(Self(number as u8))
    }
}

impl fmt::Display for DnsRcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE {}", self.0),
        }
    }
}

/// Carrier of a DNS query and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DnsTransport {
    /// A datagram each.
    Udp,
    /// A connection (RFC 7766).
    Tcp,
}

impl DnsTransport {
    /// Both with their names.
    pub const NAMES: [(&'static str, Self); 2] = [("udp", Self::Udp), ("tcp", Self::Tcp)];

    /// The name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_name() {
        DnsQueryType::NAMES.iter().for_each(|(name, query)| assert_eq!(query.name(), *name));
        DnsTransport::NAMES.iter().for_each(|(name, transport)| assert_eq!(transport.name(), *name));
        DnsRcode::NAMES.iter().for_each(|name| assert_eq!(DnsRcode::named(name).unwrap().to_string(), *name));
        assert_eq!((DnsRcode::named("nxdomain"), DnsRcode::named("OK")), (Some(DnsRcode(3)), None));
        assert_eq!(DnsRcode(11).to_string(), "RCODE 11");
    }
}
