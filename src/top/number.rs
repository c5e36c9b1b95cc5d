//! Numbers for narrow columns.

use std::time::Duration;

/// Formats up to five digits in full, else three and a unit: "99999", "100k", "1.23M".
pub(super) fn count(number: u64) -> String {
    if number < 100_000 {
        return number.to_string();
    }
    scaled(number as f64, &["", "k", "M", "G", "T", "P", "E"])
}

/// Formats a rate: "-" if unknown, one decimal below ten, at least 0.1 unless it is 0.
pub(super) fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{:.1}", rate.max(0.1)),
        Some(rate) => count(rate.round() as u64),
    }
}

/// Formats nanoseconds: "900ns", "3.00µs", "70.0µs", "1.20ms".
pub(super) fn nanoseconds(time: u64) -> String {
    if time < 1000 {
        return format!("{time}ns");
    }
    scaled(time as f64 / 1000.0, &["µs", "ms", "s"])
}

/// Formats a fraction in percent: "33.3 %".
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// Formats a duration in its two largest units: "45 s", "12 min", "3 h 12 min", "3 d 4 h".
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

/// Formats three digits and a unit.
fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // 999.5 and above would round to 1000.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_at_most_five_characters() {
        let cases = [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (1_048_576, "1.05M"),
            (9_876_543_210, "9.88G"),
            (u64::MAX, "18.4E"),
        ];
        for (number, text) in cases {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn small_rates_are_not_zero() {
        let cases = [(0.0, "0"), (0.01, "0.1"), (0.5, "0.5"), (9.94, "9.9"), (9.95, "10"), (1e6, "1.00M")];
        for (rate, text) in cases {
            assert_eq!(per_second(Some(rate)), text);
        }
        assert_eq!(per_second(None), "-");
    }

    #[test]
    fn times_have_a_suitable_unit() {
        let cases = [(0, "0ns"), (999, "999ns"), (1000, "1.00µs"), (70_000, "70.0µs"), (999_600, "1.00ms")];
        for (time, text) in cases {
            assert_eq!(nanoseconds(time), text);
        }
        assert_eq!(nanoseconds(2_500_000_000), "2.50s");
        let cases = [(0, "0 s"), (59, "59 s"), (60, "1 min"), (11_520, "3 h 12 min"), (273_600, "3 d 4 h")];
        for (seconds, text) in cases {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn fractions_are_percent() {
        assert_eq!([percent(0.0), percent(1.0 / 3.0), percent(1.0)], ["0.0 %", "33.3 %", "100.0 %"]);
    }
}
