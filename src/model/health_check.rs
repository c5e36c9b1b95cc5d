//! Health checks of real servers as configured.

use super::check_kinds::{HttpCheck, HttpsCheck, SmtpCheck, UdpCheck};
use super::dns_check::{DnsCheck, DnsTransport};
use super::local_checks::{ExternalCheck, FileCheck, ScriptCheck};
use crate::time::Span;
use std::fmt;

/// A health check of a real server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// Protocol, with what a good answer is.
    pub kind: CheckKind,
    /// Address that the probe is sent to; [`CheckTarget::Rip`] for one without a probe over the network.
    pub target: CheckTarget,
    /// Port, in host byte order; `None`: that of the service.
    pub port: Option<u16>,
    /// Intervals and counts.
    pub timing: CheckTiming,
}

/// Protocol of a health check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// A TCP connection that is opened and closed.
    Tcp,
    /// An HTTP/1.1 request.
    Http(HttpCheck),
    /// An HTTP/1.1 request over TLS.
    Https(HttpsCheck),
    /// A datagram.
    Udp(UdpCheck),
    /// A DNS query.
    Dns(DnsCheck),
    /// The beginning of a talk with a mail server.
    Smtp(SmtpCheck),
    /// An ICMP or ICMPv6 echo request.
    Ping,
    /// A script of the operator's on this host.
    Script(ScriptCheck),
    /// A file on this host.
    File(FileCheck),
    /// A result that a program of the operator's reports.
    External(ExternalCheck),
}

/// Address that a probe is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckTarget {
    /// The real server's own address. Does not show whether the server has the VIP.
    Rip,
    /// The VIP, in frames to the MAC address of that server: what a client needs.
    Vip,
    /// Both: the VIP decides, the RIP explains.
    Both,
}

impl fmt::Display for CheckTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rip => "RIP",
            Self::Vip => "VIP",
            Self::Both => "VIP and the RIP",
        })
    }
}

/// Intervals and counts of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckTiming {
    /// Time from one probe to the next while the server is up.
    pub interval: Span,
    /// Time for the whole probe, from connecting to the last byte that matters.
    pub timeout: Span,
    /// Failures in a row after which a server that is up is down.
    pub fall: u16,
    /// Successes in a row after which a server that is down is up.
    pub rise: u16,
    /// Interval while results differ from the state: a change is in progress.
    pub fast_interval: Span,
    /// Interval while the server is down.
    pub down_interval: Span,
    /// Time over which first probes are spread after the start, and after a change that brings the check; 0: at once.
    pub warm_up: Span,
}

/// A timing that contradicts itself: the key, the fault, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingFault {
    /// Key of the configuration file.
    pub key: &'static str,
    /// Fault in words, after the key.
    pub fault: String,
    /// Remedy in words.
    pub remedy: String,
}

impl CheckTiming {
    /// Shortest interval and timeout.
    pub const SPAN_MIN: Span = Span::from_millis(100);
    /// Longest interval and timeout: an hour.
    pub const SPAN_MAX: Span = Span::from_secs(3600);
    /// Largest number of results in a row.
    pub const COUNT_MAX: u16 = 100;

    const FAST: Span = Span::from_secs(1);
    const DOWN: Span = Span::from_secs(5);

    /// A timing with this interval. The timeout and the fast interval are one second, or the interval if that is
    /// shorter; the interval of a server that is down is five seconds, or the interval if that is longer. First probes are
    /// spread over an interval.
    #[must_use]
    pub fn every(interval: Span) -> Self {
        Self {
            interval,
            timeout: interval.min(Self::FAST),
            fall: 3,
            rise: 2,
            fast_interval: interval.min(Self::FAST),
            down_interval: interval.max(Self::DOWN),
            warm_up: interval,
        }
    }

    /// Checks that no key contradicts another.
    ///
    /// # Errors
    /// The first fault. A probe may not outlast its interval, and a change in progress is never watched less often.
    pub fn check(&self) -> Result<(), TimingFault> {
        let spans = [
            ("interval", self.interval),
            ("timeout", self.timeout),
            ("fast_interval", self.fast_interval),
            ("down_interval", self.down_interval),
        ];
        for (key, span) in spans {
            if !(Self::SPAN_MIN..=Self::SPAN_MAX).contains(&span) {
                return Err(fault(key, "is out of range".into(), "write 0.1 to 3600 seconds".into()));
            }
        }
        if self.warm_up.millis() > 0 && !(Self::SPAN_MIN..=Self::SPAN_MAX).contains(&self.warm_up) {
            return Err(fault("warm_up", "is out of range".into(), "write 0, or 0.1 to 3600 seconds".into()));
        }
        for (key, count) in [("fall", self.fall), ("rise", self.rise)] {
            if !(1..=Self::COUNT_MAX).contains(&count) {
                return Err(fault(key, "is out of range".into(), "write 1 to 100".into()));
            }
        }
        let longer = |key, span: Span| {
            let limit = seconds(self.interval);
            (span > self.interval).then(|| {
                let what = format!("is {} s, longer than interval", seconds(span));
                fault(key, what, format!("write at most {limit} s, or a longer interval"))
            })
        };
        let found = longer("timeout", self.timeout).or_else(|| longer("fast_interval", self.fast_interval));
        let shorter = self.down_interval < self.fast_interval;
        let down = shorter.then(|| {
            let what = format!("is {} s, shorter than fast_interval", seconds(self.down_interval));
            fault("down_interval", what, format!("write at least {} s", seconds(self.fast_interval)))
        });
        found.or(down).map_or(Ok(()), Err)
    }
}

impl Default for CheckTiming {
    /// Every two seconds.
    fn default() -> Self {
        Self::every(Span::from_secs(2))
    }
}

fn fault(key: &'static str, fault: String, remedy: String) -> TimingFault {
    TimingFault { key, fault, remedy }
}

fn seconds(span: Span) -> f64 {
    f64::from(span.millis()) / 1000.0
}

impl fmt::Display for HealthCheck {
    /// As in the differences of a service: `tcp to the VIP port 8080 every 2 s, timeout 1 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, target, port, timing } = self;
        write!(f, "{kind} to the {target}")?;
        if let Some(port) = port {
            write!(f, " port {port}")?;
        }
        let CheckTiming { interval, timeout, fall, rise, fast_interval, down_interval, warm_up } = *timing;
        let spans = [timeout, fast_interval, down_interval].map(seconds);
        write!(f, " every {} s, timeout {} s, fall {fall}, rise {rise}", seconds(interval), spans[0])?;
        write!(f, ", fast_interval {} s, down_interval {} s", spans[1], spans[2])?;
        if warm_up != interval {
            write!(f, ", warm_up {} s", seconds(warm_up))?;
        }
        match kind {
            CheckKind::Tcp | CheckKind::Ping => Ok(()),
            CheckKind::Script(of) if of.dynamic_weight => f.write_str(", dynamic_weight"),
            CheckKind::Script(_) => Ok(()),
            CheckKind::File(of) => {
                write!(f, ", good {}", of.good.name())?;
                of.weight.iter().try_for_each(|weight| write!(f, ", weight {weight}"))
            }
            CheckKind::External(of) => write!(f, ", max_age {} s", seconds(of.max_age)),
            CheckKind::Http(of) => http(f, of),
            CheckKind::Https(of) => https(f, of),
            CheckKind::Udp(of) => write!(f, ", payload {}, reply {}", of.hex(), of.reply),
            CheckKind::Dns(of) => write!(f, ", rcode {}", of.rcodes()),
            CheckKind::Smtp(of) => write!(f, ", hello {}", of.hello),
        }
    }
}

fn http(f: &mut fmt::Formatter<'_>, of: &HttpCheck) -> fmt::Result {
    write!(f, ", expect {}", of.statuses())?;
    of.headers.iter().try_for_each(|(name, value)| write!(f, ", header {name}: {value}"))?;
    of.body.iter().try_for_each(|body| write!(f, ", body {body:?}"))?;
    of.regex.iter().try_for_each(|regex| write!(f, ", regex {regex:?}"))
}

fn https(f: &mut fmt::Formatter<'_>, of: &HttpsCheck) -> fmt::Result {
    http(f, &of.http)?;
    of.sni.iter().try_for_each(|sni| write!(f, ", sni {sni}"))?;
    write!(f, ", verify {}", of.verify)?;
    of.ca.iter().try_for_each(|ca| write!(f, ", ca {ca}"))?;
    write!(f, ", expiry_warning {} days", of.expiry_warning)
}

impl CheckKind {
    /// Value of the key `type` in the configuration file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(_) => "http",
            Self::Https(_) => "https",
            Self::Udp(_) => "udp",
            Self::Dns(_) => "dns",
            Self::Smtp(_) => "smtp",
            Self::Ping => "ping",
            Self::Script(_) => "script",
            Self::File(_) => "file",
            Self::External(_) => "external",
        }
    }

    /// Whether probes go to a port.
    #[must_use]
    pub fn has_port(&self) -> bool {
        !self.is_local() && *self != Self::Ping
    }

    /// Whether the result comes from this host instead of a probe over the network.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Script(_) | Self::File(_) | Self::External(_))
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Http(of) => write!(f, "http {of}"),
            Self::Https(of) => write!(f, "https {}", of.http),
            Self::Udp(_) => f.write_str("udp"),
            Self::Dns(of) => {
                let over = if of.transport == DnsTransport::Tcp { " over TCP" } else { "" };
                write!(f, "dns {} {}{over}", of.name, of.query.name())
            }
            Self::Smtp(_) => f.write_str("smtp"),
            Self::Ping => f.write_str("ping"),
            Self::Script(of) => write!(f, "script {of}"),
            Self::File(of) => write!(f, "file {}", of.path),
            Self::External(of) => write!(f, "external {}", of.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: u32) -> Span {
        Span::from_millis(ms)
    }

    #[test]
    fn defaults_follow_the_interval_and_agree() {
        let of = |ms| {
            let timing = CheckTiming::every(millis(ms));
            assert_eq!(timing.check(), Ok(()));
            [timing.timeout, timing.fast_interval, timing.down_interval].map(Span::millis)
        };
        assert_eq!(of(2_000), [1_000, 1_000, 5_000]);
        assert_eq!(of(500), [500, 500, 5_000]);
        assert_eq!(of(60_000), [1_000, 1_000, 60_000]);
        let CheckTiming { interval, fall, rise, .. } = CheckTiming::default();
        assert_eq!((interval.millis(), fall, rise), (2_000, 3, 2));
    }

    #[test]
    fn contradictions_name_the_key() {
        let usual = CheckTiming::default();
        for (timing, key) in [
            (CheckTiming { interval: millis(99), ..usual }, "interval"),
            (CheckTiming { timeout: millis(3_600_001), ..usual }, "timeout"),
            (CheckTiming { timeout: millis(2_001), ..usual }, "timeout"),
            (CheckTiming { fast_interval: millis(2_001), ..usual }, "fast_interval"),
            (CheckTiming { down_interval: millis(999), ..usual }, "down_interval"),
            (CheckTiming { warm_up: millis(3_600_001), ..usual }, "warm_up"),
            (CheckTiming { warm_up: millis(99), ..usual }, "warm_up"),
            (CheckTiming { fall: 0, ..usual }, "fall"),
            (CheckTiming { rise: 101, ..usual }, "rise"),
        ] {
            assert_eq!(timing.check().map_err(|fault| fault.key), Err(key), "{timing:?}");
        }
    }
}
