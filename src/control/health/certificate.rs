//! Certificates of checked servers: their end, and the warning before it.

use crate::health::CheckKey;
use crate::model::CheckKind;
use std::collections::{BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// A certificate expires soon, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExpiryChange {
    /// Days to the end, rounded down; negative once it has passed.
    pub(super) days: i64,
    /// Whether it is soon.
    pub(super) is_soon: bool,
}

/// The latest certificate of each check that has one.
#[derive(Debug, Default)]
pub(super) struct CertificateWatch {
    /// Time of the end, in Unix seconds.
    ends: HashMap<CheckKey, i64>,
    /// Checks with a warning.
    warned: BTreeSet<CheckKey>,
}

impl CertificateWatch {
    /// Takes note of the end of a certificate, at `now`, both in Unix seconds. Returns a change of the
    /// warning.
    pub(super) fn observe(&mut self, key: &CheckKey, end: i64, now: i64) -> Option<ExpiryChange> {
        self.ends.insert(key.clone(), end);
        let days = days_to(end, now);
        let limit = match &*key.kind {
            CheckKind::Https(check) => i64::from(check.expiry_warning),
            _ => return None,
        };
        let is_soon = limit > 0 && days < limit;
        let changed = if is_soon { self.warned.insert(key.clone()) } else { self.warned.remove(key) };
        changed.then_some(ExpiryChange { days, is_soon })
    }

    /// The end of the latest certificate of each check, in Unix seconds.
    pub(super) fn ends(&self) -> HashMap<CheckKey, i64> {
        self.ends.clone()
    }

    /// Forgets checks that are not in use.
    pub(super) fn retain(&mut self, is_used: impl Fn(&CheckKey) -> bool) {
        self.ends.retain(|key, _| is_used(key));
        self.warned.retain(|key| is_used(key));
    }
}

/// Whole days from `now` to `end`; negative once it has passed.
pub(super) fn days_to(end: i64, now: i64) -> i64 {
    (end - now).div_euclid(DAY)
}

/// The present time in Unix seconds.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The date in UTC: "2026-11-30".
pub(super) fn date(unix: i64) -> String {
    let date = jiff::Timestamp::from_second(unix);
    date.map_or("?".into(), |time| time.to_string().chars().take(10).collect())
}

/// Returns the end of a certificate in Unix seconds: notAfter in its validity (RFC 5280 section 4.1).
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (certificate, _) = element(der, tag::SEQUENCE)?;
    let (signed, _) = element(certificate, tag::SEQUENCE)?;
    let rest = element(signed, tag::VERSION).map_or(signed, |(_, rest)| rest); // it may be missing: version 1
    let (_serial, rest) = element(rest, tag::INTEGER)?;
    let (_algorithm, rest) = element(rest, tag::SEQUENCE)?;
    let (_issuer, rest) = element(rest, tag::SEQUENCE)?;
    let (validity, _) = element(rest, tag::SEQUENCE)?;
    let (_not_before, rest) = time(validity)?;
    time(rest).map(|(end, _)| end)
}

/// Identifier octets of DER (ITU-T X.690 section 8.1.2).
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    /// \[0\], constructed.
    pub(super) const VERSION: u8 = 0xa0;
}

/// Splits off an element with this tag; returns its content and the bytes behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None, // indefinite, or absurd
    };
    rest.split_at_checked(length).filter(|_| found == tag)
}

/// Reads a UTCTime or a GeneralizedTime as RFC 5280 section 4.1.2.5 restricts them, in Unix seconds.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, century, rest) = match element(der, tag::UTC_TIME) {
        Some((text, rest)) => {
            let late = text.first().is_some_and(|decade| *decade >= b'5');
            (text, Some(if late { 1900 } else { 2000 }), rest)
        }
        None => {
            let (text, rest) = element(der, tag::GENERALIZED_TIME)?;
            (text, None, rest)
        }
    };
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + i16::from(digit - b'0'));
    let (year, digits) = match century {
        Some(century) => digits.split_at_checked(2).map(|(year, rest)| (century + number(year), rest))?,
        None => digits.split_at_checked(4).map(|(year, rest)| (number(year), rest))?,
    };
    let fields: Vec<i8> = digits.chunks(2).map(|pair| number(pair) as i8).collect();
    let &[month, day, hour, minute, second] = fields.as_slice() else { return None };
    let moment = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    // 9999-12-31, which stands for no end, is beyond jiff's range by some hours.
    let moment = jiff::tz::Offset::UTC.to_timestamp(moment).unwrap_or(jiff::Timestamp::MAX);
    Some((moment.as_second(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckTiming, HttpCheck, HttpsCheck};
    use std::sync::Arc;

    fn key(expiry_warning: u16) -> CheckKey {
        let check =
            HttpsCheck { http: HttpCheck::default(), sni: None, verify: false, ca: None, expiry_warning };
        CheckKey {
            server: [192, 0, 2, 7].into(),
            vip: None,
            port: 443,
            kind: Arc::new(CheckKind::Https(check)),
            timing: CheckTiming::default(),
        }
    }

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = if length < 0x80 {
            vec![tag, length as u8]
        } else {
            vec![tag, 0x82, (length >> 8) as u8, length as u8]
        };
        [head, content.to_vec()].concat()
    }

    /// The fields of a certificate up to its validity.
    fn certificate(version: bool, before: (u8, &str), after: (u8, &str)) -> Vec<u8> {
        let times = [before, after].map(|(tag, text)| der(tag, text.as_bytes())).concat();
        let issuer = der(tag::SEQUENCE, &[0x31; 300]); // a length of two octets
        let version = if version { vec![tag::VERSION, 3, 2, 1, 2] } else { Vec::new() };
        let fields = [
            version,
            der(tag::INTEGER, &[5]),
            der(tag::SEQUENCE, &[6, 0]),
            issuer,
            der(tag::SEQUENCE, &times),
        ];
        der(tag::SEQUENCE, &der(tag::SEQUENCE, &fields.concat()))
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        let before = (tag::UTC_TIME, "240101000000Z");
        for (after, end) in [
            ((tag::UTC_TIME, "261130041530Z"), Some(1_796_012_130)),
            ((tag::UTC_TIME, "491231235959Z"), Some(2_524_607_999)),
            ((tag::UTC_TIME, "500101000000Z"), Some(-631_152_000)),
            ((tag::GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000)),
            ((tag::GENERALIZED_TIME, "99991231235959Z"), Some(jiff::Timestamp::MAX.as_second())),
            ((tag::UTC_TIME, "261330041530Z"), None),
            ((tag::UTC_TIME, "261130041530"), None),
            ((tag::INTEGER, "261130041530Z"), None),
        ] {
            assert_eq!(not_after(&certificate(true, before, after)), end, "{after:?}");
            assert_eq!(not_after(&certificate(false, before, after)), end, "version 1: {after:?}");
        }
        assert_eq!(date(1_796_012_130), "2026-11-30");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = certificate(true, (tag::UTC_TIME, "240101000000Z"), (tag::UTC_TIME, "261130041530Z"));
        for end in 0..good.len() {
            let _ = not_after(&good[..end]);
        }
        for (at, byte) in (0..good.len()).flat_map(|at| [0, 0x7f, 0x80, 0x84, 0xff].map(|byte| (at, byte))) {
            let mut bad = good.clone();
            bad[at] = byte;
            let _ = not_after(&bad);
        }
    }

    #[test]
    fn a_warning_comes_once_until_the_certificate_is_renewed() {
        let (mut watch, key, now) = (CertificateWatch::default(), key(14), 1_000 * DAY);
        let report = |days, is_soon| Some(ExpiryChange { days, is_soon });
        assert_eq!(watch.observe(&key, now + 14 * DAY, now), None);
        assert_eq!(watch.observe(&key, now + 14 * DAY - 1, now), report(13, true));
        assert_eq!(watch.observe(&key, now - 1, now), None, "it is known");
        assert_eq!(watch.observe(&key, now + 90 * DAY, now), report(90, false));
        watch.retain(|_| false);
        assert!(watch.ends().is_empty());
    }

    #[test]
    fn without_a_limit_there_is_no_warning() {
        let (mut watch, key) = (CertificateWatch::default(), key(0));
        assert_eq!(watch.observe(&key, 5, 1_000 * DAY), None);
        assert_eq!(watch.ends()[&key], 5);
    }
}
