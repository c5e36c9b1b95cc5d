//! Parsers for numbers on the command line.

use crate::control::api::request::SECONDS_MAX;
use std::ops::RangeInclusive;

/// Returns a parser for whole numbers within `range`.
pub(super) fn within<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + Into<u64> + Copy + Send + Sync + 'static,
{
    let (least, most) = ((*range.start()).into(), (*range.end()).into());
    move |text| {
        let number = whole(text).ok_or_else(|| "write a whole number in digits, as in 1000000".to_owned())?;
        let converted = T::try_from(number).ok().filter(|_| (least..=most).contains(&number));
        converted.ok_or_else(|| match most {
            u64::MAX => format!("write {least} or more"),
            _ => format!("write a number from {least} to {most}"),
        })
    }
}

/// Parses a number of seconds.
///
/// # Errors
/// The text is no number, or too large; the message gives a valid form.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    let seconds =
        whole(text).ok_or_else(|| "write whole seconds in digits: 600 is ten minutes".to_owned())?;
    let fits = u32::try_from(seconds).ok().filter(|seconds| *seconds <= SECONDS_MAX);
    fits.ok_or_else(|| format!("{seconds} s is too long; {SECONDS_MAX} s at most"))
}

/// Parses a number of digits alone, without sign.
fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_give_a_valid_form() {
        let parse = within(1..=1000_u32);
        assert_eq!(parse("1000"), Ok(1000));
        for text in ["", "1M", "1e3", "-1", "+1", "1_000", "0x1"] {
            assert_eq!(parse(text), Err("write a whole number in digits, as in 1000000".into()), "{text}");
        }
        assert_eq!(parse("0"), Err("write a number from 1 to 1000".into()));
        assert_eq!(within(1..=u64::MAX)("0"), Err("write 1 or more".into()));
        assert_eq!(within(1..=u64::MAX)("5000000000"), Ok(5_000_000_000));
        assert_eq!(seconds("600"), Ok(600));
        assert_eq!(seconds("10m"), Err("write whole seconds in digits: 600 is ten minutes".into()));
        assert!(seconds("99999999999").unwrap_err().contains("at most"));
    }
}
