//! Health checks of real servers as configured.

use crate::time::Span;
use std::fmt;

/// A health check of a real server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// Protocol, with what a good answer is.
    pub kind: CheckKind,
    /// Address that the probe is sent to.
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
    /// An HTTP/1.1 request with GET.
    Http(HttpCheck),
    /// A datagram.
    Udp(UdpCheck),
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

/// Request and expected answer of an HTTP check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpCheck {
    /// Path with the query, from "/" on.
    pub path: String,
    /// The Host header; `None`: the address and port of the probe.
    pub host: Option<String>,
    /// Status codes that are good; never empty.
    pub expect: Vec<StatusRange>,
    /// Text that the body must contain, within its first 64 KiB.
    pub body: Option<String>,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self { path: "/".into(), host: None, expect: vec![StatusRange::SUCCESS], body: None }
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

/// Datagram and expected answer of a UDP check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpCheck {
    /// Content of the datagram.
    pub payload: Vec<u8>,
    /// Whether an answer must come. If not, silence is good, and an ICMP error is a failure.
    pub reply: bool,
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
    /// shorter; the interval of a server that is down is five seconds, or the interval if that is longer.
    #[must_use]
    pub fn every(interval: Span) -> Self {
        Self {
            interval,
            timeout: interval.min(Self::FAST),
            fall: 3,
            rise: 2,
            fast_interval: interval.min(Self::FAST),
            down_interval: interval.max(Self::DOWN),
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
    /// As in the differences of a service: `tcp port 8080 every 2 s, timeout 1 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, port, timing, .. } = self;
        write!(f, "{kind}")?;
        if let Some(port) = port {
            write!(f, " port {port}")?;
        }
        let CheckTiming { interval, timeout, fall, rise, fast_interval, down_interval } = *timing;
        let spans = [timeout, fast_interval, down_interval].map(seconds);
        write!(f, " every {} s, timeout {} s, fall {fall}, rise {rise}", seconds(interval), spans[0])?;
        write!(f, ", fast_interval {} s, down_interval {} s", spans[1], spans[2])?;
        match kind {
            CheckKind::Tcp => Ok(()),
            CheckKind::Http(of) => {
                write!(f, ", expect {}", of.statuses())?;
                of.body.iter().try_for_each(|body| write!(f, ", body {body:?}"))
            }
            CheckKind::Udp(of) => write!(f, ", payload {}, reply {}", of.hex(), of.reply),
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

impl UdpCheck {
    /// The payload in hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        self.payload.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Http(HttpCheck { path, host: None, .. }) => write!(f, "http {path}"),
            Self::Http(HttpCheck { path, host: Some(host), .. }) => write!(f, "http {host}{path}"),
            Self::Udp(_) => f.write_str("udp"),
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
            (CheckTiming { fall: 0, ..usual }, "fall"),
            (CheckTiming { rise: 101, ..usual }, "rise"),
        ] {
            assert_eq!(timing.check().map_err(|fault| fault.key), Err(key), "{timing:?}");
        }
    }

    #[test]
    fn status_ranges_include_both_ends() {
        let found = [199, 200, 299, 300].map(|status| StatusRange::SUCCESS.contains(status));
        assert_eq!(found, [false, true, true, false]);
        assert_eq!(StatusRange { first: 404, last: 404 }.to_string(), "404");
    }
}
