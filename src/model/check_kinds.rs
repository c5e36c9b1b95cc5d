//! Kinds of health checks: the request, and what a good answer is.

use regex::bytes::{Regex, RegexBuilder};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Request and expected answer of an HTTP check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpCheck {
    /// Method of the request.
    pub method: HttpMethod,
    /// Path with the query, from "/" on.
    pub path: String,
    /// The Host header; `None`: the address and port of the probe.
    pub host: Option<String>,
    /// Other headers of the request, by name.
    pub headers: Vec<(String, String)>,
    /// Status codes that are good; never empty.
    pub expect: Vec<StatusRange>,
    /// Text that the body must contain, within its first 64 KiB.
    pub body: Option<String>,
    /// Regular expression that must match the first 64 KiB of the body.
    pub regex: Option<BodyPattern>,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            method: HttpMethod::Get,
            path: "/".into(),
            host: None,
            headers: Vec::new(),
            expect: vec![StatusRange::SUCCESS],
            body: None,
            regex: None,
        }
    }
}

impl HttpCheck {
    /// The expected status codes as in the configuration file: "200-299,404".
    #[must_use]
    pub fn statuses(&self) -> String {
        self.expect.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for HttpCheck {
    /// Method unless it is GET, host and path: `HEAD www.example.org/alive`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method != HttpMethod::Get {
            write!(f, "{} ", self.method.name())?;
        }
        write!(f, "{}{}", self.host.as_deref().unwrap_or_default(), self.path)
    }
}

/// Method of an HTTP request (RFC 9110 section 9). The request has no body: a POST or PUT is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// HEAD: the answer has no body.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// OPTIONS.
    Options,
}

impl HttpMethod {
    /// Every method with its name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("GET", Self::Get),
        ("HEAD", Self::Head),
        ("POST", Self::Post),
        ("PUT", Self::Put),
        ("OPTIONS", Self::Options),
    ];

    /// The name in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// HTTP status codes from `first` to `last`, both included; 100..=599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl StatusRange {
    /// 200 to 299 (RFC 9110 section 15.3).
    pub const SUCCESS: Self = Self { first: 200, last: 299 };

    /// Returns true if `status` is in the range.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last == self.first { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

/// A regular expression for the body of an answer. Two are equal if their texts are.
#[derive(Clone)]
pub struct BodyPattern(Regex);

impl BodyPattern {
    /// Largest size of the compiled expression, and of what a search of it keeps, in bytes.
    const SIZE_MAX: usize = 1 << 20;

    /// Compiles an expression of the crate `regex`. A search takes time linear in the length of the body.
    ///
    /// # Errors
    /// The fault in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(Self::SIZE_MAX).dfa_size_limit(Self::SIZE_MAX).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "is larger than 1 MiB once compiled".to_owned(),
            // Of several lines the last one is the fault, behind a picture of its place.
            other => {
                other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").into()
            }
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns true if it matches somewhere in `body`.
    #[must_use]
    pub fn matches(&self, body: &[u8]) -> bool {
        self.0.is_match(body)
    }
}

impl fmt::Debug for BodyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl PartialEq for BodyPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for BodyPattern {}

impl PartialOrd for BodyPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BodyPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for BodyPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// An HTTP check over TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpsCheck {
    /// Request and expected answer.
    pub http: HttpCheck,
    /// Server name in the handshake; `None`: the host of the request.
    pub sni: Option<String>,
    /// Whether the certificate must be valid: trusted, of that name, not expired.
    pub verify: bool,
    /// PEM file of the certificates to trust; `None`: those of the host.
    pub ca: Option<String>,
    /// Days to the end of the certificate from which on there is a warning; 0: none.
    pub expiry_warning: u16,
}

impl HttpsCheck {
    /// Days from which on there is a warning, unless configured.
    pub const EXPIRY_WARNING: u16 = 14;

    /// The name that is sent, and that the certificate must be valid for; `None`: there is only the address.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.sni.as_deref().or_else(|| self.http.host.as_deref().map(without_port))
    }
}

/// The name in a Host header: "www.example.org" of "www.example.org:8443", "2001:db8::1" of "[2001:db8::1]:8443".
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

/// A talk with a mail server: greeting, EHLO or HELO, QUIT.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SmtpCheck {
    /// Name that the director gives itself (RFC 5321 section 4.1.1.1).
    pub hello: String,
}

impl Default for SmtpCheck {
    fn default() -> Self {
        Self { hello: "localhost".into() }
    }
}

/// Datagram and expected answer of a UDP check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpCheck {
    /// Content of the datagram.
    pub payload: Vec<u8>,
    /// Whether an answer must come. If not, silence is good, and an ICMP error is a failure.
    pub reply: bool,
}

impl UdpCheck {
    /// The payload in hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        self.payload.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_ranges_include_both_ends() {
        let found = [199, 200, 299, 300].map(|status| StatusRange::SUCCESS.contains(status));
        assert_eq!(found, [false, true, true, false]);
        assert_eq!(StatusRange { first: 404, last: 404 }.to_string(), "404");
    }

    #[test]
    fn every_method_has_its_name() {
        for (name, method) in HttpMethod::NAMES {
            assert_eq!(method.name(), name);
        }
    }

    #[test]
    fn a_pattern_is_bounded_and_its_fault_named_in_a_line() {
        let pattern = BodyPattern::new("^ok [0-9]+$").unwrap();
        assert_eq!([&b"ok 7"[..], b"not ok 7"].map(|body| pattern.matches(body)), [true, false]);
        assert_eq!(BodyPattern::new("(").unwrap_err(), "unclosed group");
        assert_eq!(BodyPattern::new("(a{1000}){1000}").unwrap_err(), "is larger than 1 MiB once compiled");
    }

    #[test]
    fn the_server_name_is_the_sni_or_the_host_without_port() {
        let name = |sni: Option<&str>, host: Option<&str>| {
            let http = HttpCheck { host: host.map(str::to_owned), ..HttpCheck::default() };
            let sni = sni.map(str::to_owned);
            let check = HttpsCheck { http, sni, verify: true, ca: None, expiry_warning: 14 };
            check.server_name().map(str::to_owned)
        };
        assert_eq!(name(None, None), None);
        assert_eq!(name(None, Some("www.example.org:8443")), Some("www.example.org".into()));
        assert_eq!(name(None, Some("[2001:db8::1]:8443")), Some("2001:db8::1".into()));
        assert_eq!(name(Some("a.example.org"), Some("www.example.org")), Some("a.example.org".into()));
    }
}
