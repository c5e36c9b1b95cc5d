//! Health checks of an imported file, as keys of the configuration.

use super::description::Place;
use super::notice::Notices;
use crate::model::CheckTiming;
use crate::time::Span;

/// A health check of one real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedCheck {
    pub(super) location: Place,
    /// Its keyword in the file.
    pub(super) name: String,
    /// Lines of the configuration for its type, `type` first.
    pub(super) keys: Vec<String>,
    pub(super) reach: CheckReach,
    pub(super) timing: CheckTiming,
}

/// Destination of a check's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckReach {
    /// A port of the server; `None`: that of the server in the file.
    Port(Option<u16>),
    /// The server's host.
    Host,
    /// None: the result comes from the director's host.
    Local,
}

/// Times of a check as the file has them, with the file's words for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedTiming {
    pub(super) interval: Named<Span>,
    pub(super) timeout: Named<Span>,
    /// Pause between failures while the server is up.
    pub(super) retry: Named<Span>,
    /// Failures in a row.
    pub(super) fall: u32,
}

/// A value, and its keyword in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<T> {
    pub(super) keyword: &'static str,
    pub(super) value: T,
}

impl WantedTiming {
    /// Bounds the times by what the configuration accepts, with a note for each change. One success is enough to
    /// come up, and a server that is down is probed at each interval.
    pub(super) fn bounded(self, location: &Place, notices: &mut Notices) -> CheckTiming {
        let mut bounded = |Named { keyword, value }: Named<Span>, max: Span, reason: &str| {
            let span = value.clamp(CheckTiming::SPAN_MIN, max);
            if span != value {
                let what = format!("{keyword} is {} s, {reason}", seconds(value));
                notices.note(location, what, format!("{} s stand in its place", seconds(span)));
            }
            span
        };
        let interval = bounded(self.interval, CheckTiming::SPAN_MAX, "out of range");
        let usual = CheckTiming::every(interval);
        let longer = format!("longer than {}", self.interval.keyword);
        let timeout = bounded(self.timeout, interval, &longer);
        let fast_interval = match self.fall {
            0 | 1 => usual.fast_interval,
            _ => bounded(self.retry, interval, &longer),
        };
        let fall = self.fall.clamp(1, CheckTiming::COUNT_MAX.into());
        if fall < self.fall {
            let what = format!("a server is down after {} failures, more than {fall}", self.fall);
            notices.note(location, what, format!("it is down after {fall}"));
        }
        let fall = fall as u16;
        CheckTiming { timeout, fall, rise: 1, fast_interval, down_interval: interval, ..usual }
    }
}

/// Lines of the configuration for the times; those of defaults are left out.
pub(super) fn timing_keys(timing: &CheckTiming) -> Vec<String> {
    let usual = CheckTiming::every(timing.interval);
    let mut keys = vec![format!("interval = {}", seconds(timing.interval))];
    let mut add = |key: &str, value: String, is_usual: bool| {
        if !is_usual {
            keys.push(format!("{key} = {value}"));
        }
    };
    let CheckTiming { interval, timeout, fall, rise, fast_interval, down_interval, warm_up } = *timing;
    add("timeout", seconds(timeout).to_string(), timeout == usual.timeout);
    add("fall", fall.to_string(), fall == usual.fall);
    add("rise", rise.to_string(), rise == usual.rise);
    add("fast_interval", seconds(fast_interval).to_string(), fast_interval == usual.fast_interval);
    let down = down_interval.max(fast_interval);
    add("down_interval", seconds(down).to_string(), down == usual.down_interval);
    add("warm_up", seconds(warm_up).to_string(), warm_up == interval);
    keys
}

/// Seconds of a file, with decimals; `None`: not a number above 0.
pub(super) fn span(text: &str) -> Option<Span> {
    let millis = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0)? * 1000.0;
    Some(Span::from_millis(millis.round().clamp(1.0, f64::from(u32::MAX)) as u32))
}

fn seconds(span: Span) -> f64 {
    f64::from(span.millis()) / 1000.0
}

/// Rewrites an expression of Perl or PCRE, in which "$" also matches before a line feed at the end of the text.
/// One with the flag "m" stays as it is: there, "$" means the same in both.
pub(super) fn perl_pattern(pattern: &str) -> String {
    if has_multiline_flag(pattern) {
        return pattern.to_owned();
    }
    let (mut rewritten, mut escaped, mut in_class) = (String::new(), false, false);
    for letter in pattern.chars() {
        match letter {
            '$' if !escaped && !in_class => rewritten.push_str(END_OF_TEXT),
            _ => rewritten.push(letter),
        }
        match letter {
            '[' if !escaped => in_class = true,
            ']' if !escaped => in_class = false,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    rewritten
}

/// Whether a group of flags, as in "(?im)" or "(?m:", has "m".
fn has_multiline_flag(pattern: &str) -> bool {
    let mut groups = pattern.split("(?").skip(1);
    groups.any(|group| group.chars().take_while(char::is_ascii_alphabetic).any(|flag| flag == 'm'))
}

/// The end of a text, or the line feed before it.
const END_OF_TEXT: &str = r"(?:\n?\z)";

/// Splits a command line at its spaces; quoted parts stay together. Nothing else has a meaning.
pub(super) fn command(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, None) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The line `command = [...]`.
pub(super) fn command_key(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| toml::Value::from(word.as_str()).to_string()).collect();
    format!("command = [{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BodyPattern;

    #[test]
    fn commands_are_split_at_spaces_outside_of_quotes() {
        for (text, expected) in [
            ("/bin/check 10.0.0.1  80", &["/bin/check", "10.0.0.1", "80"][..]),
            ("/bin/check 'a b' \"c 'd\" e\"f g\"", &["/bin/check", "a b", "c 'd", "ef g"]),
            (" /bin/check \"\" ", &["/bin/check", ""]),
            ("", &[]),
        ] {
            assert_eq!(command(text), expected, "{text}");
        }
    }

    #[test]
    fn the_end_of_a_text_may_have_a_line_feed() {
        for (pattern, body, good) in [
            ("^OK$", "OK", true),
            ("^OK$", "OK\n", true),
            ("^OK$", "OK\n\n", false),
            ("OK$|fine", "it is fine now", true),
            (r"5\$", "5$ each", true),
            (r"\\$", "\\\n", true),
            (r"[\]$]x", "$x", true),
        ] {
            let rewritten = BodyPattern::new(&perl_pattern(pattern)).unwrap();
            assert_eq!(rewritten.matches(body.as_bytes()), good, "{pattern} in {body:?}");
        }
        for same in ["a[$]b", "(?im)^ok$"] {
            assert_eq!(perl_pattern(same), same);
        }
    }

    #[test]
    fn times_are_bounded_with_notes() {
        let location = Place { file: "k".into(), line: 7 };
        let named = |keyword, secs| Named { keyword, value: Span::from_secs(secs) };
        let wanted = |interval, timeout, retry, fall| WantedTiming {
            interval: named("delay_loop", interval),
            timeout: named("connect_timeout", timeout),
            retry: named("delay_before_retry", retry),
            fall,
        };
        let of = |wanted: WantedTiming| {
            let mut notices = Notices::default();
            let timing = wanted.bounded(&location, &mut notices);
            assert_eq!(timing.check(), Ok(()), "{wanted:?}");
            (timing_keys(&timing).join(", "), notices.in_order().len())
        };
        assert_eq!(of(wanted(6, 3, 1, 2)), ("interval = 6, timeout = 3, fall = 2, rise = 1".into(), 0));
        assert_eq!(of(wanted(1, 5, 3, 1)), ("interval = 1, fall = 1, rise = 1, down_interval = 1".into(), 1));
        let slow = "interval = 10, timeout = 5, rise = 1, fast_interval = 10";
        assert_eq!(of(wanted(10, 5, 20, 3)), (slow.into(), 1));
        let long = "interval = 3600, timeout = 5, fall = 100, rise = 1, fast_interval = 3";
        assert_eq!(of(wanted(7200, 5, 3, 101)), (long.into(), 2));
    }
}
