//! Parameters of keepalived.conf: `$NAME=value`, `$NAME`, `${NAME}`, and the sequences `~SEQ` and `~LST`.

use crate::import::notice::{excerpt, syntax_error};
use crate::model::Diagnostic;

/// Bound of the rounds of a sequence: the addresses of an IPv4 /16.
const ROUNDS_MAX: usize = 1 << 16;

/// Splits `$NAME=value`.
pub(super) fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let name = name.trim_end();
    is_name(name).then(|| (name, value.trim_start()))
}

fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(letter) && text.starts_with(|c: char| letter(c) && !c.is_ascii_digit())
}

/// Substitutes the first known parameter of a line; one of several lines yields several lines.
pub(super) fn substituted(text: &str, value: impl Fn(&str) -> Option<Vec<String>>) -> Option<Vec<String>> {
    let uses = text.match_indices('$').filter_map(|(at, _)| {
        let (name, length) = used(&text[at + 1..])?;
        Some((at, at + 1 + length, value(name)?))
    });
    let (start, end, value) = uses.into_iter().next()?;
    let mut lines = if value.is_empty() { vec![String::new()] } else { value };
    lines[0] = format!("{}{}{}", &text[..start], lines[0], &text[end..]);
    Some(lines)
}

/// Returns the name after a `$` and its length in bytes: `{NAME}`, or `NAME` up to a space or the end.
fn used(rest: &str) -> Option<(&str, usize)> {
    if let Some((name, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return is_name(name).then_some((name, name.len() + 2));
    }
    let name = rest.split([' ', '\t']).next()?;
    is_name(name).then_some((name, name.len()))
}

/// A `~SEQ` or `~LST` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) names: Vec<String>,
    /// One value for each name in each round.
    pub(super) rounds: Vec<Vec<String>>,
    pub(super) rest: String,
}

/// Bound of the substitutions in one item of a sequence; above it the parameter is taken to contain itself.
const SUBSTITUTIONS_MAX: usize = 32;

/// Parses `~SEQ(var, start, step, end) rest` or `~LST(var, value, ...) rest`. Items may be parameters of one line,
/// looked up by `value`; parameters in the rest are substituted later, in each round.
///
/// # Errors
/// The line is not a sequence.
pub(super) fn sequence(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<Sequence, Diagnostic> {
    let error = || {
        let what = format!("\"{}\" is not a sequence", excerpt(text));
        syntax_error(&what, "write ~SEQ(NAME, FIRST, STEP, LAST) or ~LST(NAME, VALUE, ...)")
    };
    let (head, rest) = text.split_once(')').ok_or_else(error)?;
    let (kind, list) = head.split_once('(').ok_or_else(error)?;
    let items = items(list).iter().map(|item| substituted_item(item, &value)).collect::<Option<Vec<_>>>();
    let items = items.ok_or_else(error)?;
    let (first, values) = items.split_first().ok_or_else(error)?;
    let rounds = match kind.trim() {
        "~SEQ" => steps(values, false).map(single),
        "~SEQx" => steps(values, true).map(single),
        "~LST" => Some(values.iter().map(|item| parts(item)).collect()),
        _ => None,
    };
    let (names, rounds) = (parts(first), rounds.ok_or_else(error)?);
    let complete = rounds.iter().all(|round: &Vec<_>| round.len() == names.len());
    if !complete || rounds.is_empty() || !names.iter().all(|name| is_name(name)) {
        return Err(error());
    }
    Ok(Sequence { names, rounds, rest: rest.trim().to_owned() })
}

/// Splits at commas outside braces.
fn items(list: &str) -> Vec<String> {
    let (mut items, mut depth) = (vec![String::new()], 0_usize);
    for letter in list.chars() {
        depth = match letter {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        match (letter, items.last_mut()) {
            (',', _) if depth == 0 => items.push(String::new()),
            (_, Some(item)) => item.push(letter),
            (_, None) => {}
        }
    }
    items.iter().map(|item| item.trim().to_owned()).collect()
}

/// Substitutes the parameters of an item; `None` if that has no end.
fn substituted_item(item: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut item = item.to_owned();
    for _ in 0..SUBSTITUTIONS_MAX {
        let mut uses = item.match_indices('$').map(|(at, _)| at);
        let found = uses.find_map(|at| {
            let (name, length) = used_in_item(&item[at + 1..])?;
            Some((at, at + 1 + length, value(name)?))
        });
        let Some((start, end, value)) = found else { return Some(item) };
        item.replace_range(start..end, &value);
    }
    None
}

/// Like [`used`], but a name also ends at a separator of items.
fn used_in_item(rest: &str) -> Option<(&str, usize)> {
    if rest.starts_with('{') {
        return used(rest);
    }
    used(rest.split([',', '}', ' ', '\t']).next()?)
}

/// Splits "{a, b}" into two parts; "a" is one.
fn parts(item: &str) -> Vec<String> {
    match item.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(list) => list.split(',').map(|part| part.trim().to_owned()).collect(),
        None => vec![item.to_owned()],
    }
}

fn single(values: Vec<String>) -> Vec<Vec<String>> {
    values.into_iter().map(|value| vec![value]).collect()
}

/// Values of `~SEQ`; start and step are optional, 1 towards the end.
fn steps(values: &[String], hex: bool) -> Option<Vec<String>> {
    let numbers: Vec<i64> = values.iter().map(|value| integer(value)).collect::<Option<_>>()?;
    let (first, step, last) = match numbers[..] {
        [last] => (last.signum(), last.signum(), last),
        [first, last] => (first, if last < first { -1 } else { 1 }, last),
        [first, step, last] => (first, step, last),
        _ => return None,
    };
    let ends = step != 0 && !(hex && (first < 0 || last < 0));
    let rounds: Vec<_> = std::iter::successors(Some(first), |at| at.checked_add(step))
        .take_while(|at| if step > 0 { *at <= last } else { *at >= last })
        .map(|at| if hex { format!("{at:x}") } else { at.to_string() })
        .take(if ends { ROUNDS_MAX + 1 } else { 0 })
        .collect();
    (rounds.len() <= ROUNDS_MAX).then_some(rounds)
}

fn integer(text: &str) -> Option<i64> {
    let (digits, sign) = text.strip_prefix('-').map_or((text, 1), |digits| (digits, -1));
    let hex = digits.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16));
    let number = hex.unwrap_or_else(|| digits.parse()).ok()?;
    number.checked_mul(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_have_a_name_and_a_value() {
        for (text, expected) in [
            ("$A=b c", Some(("A", "b c"))),
            ("$_A1 = b", Some(("_A1", "b"))),
            ("$A=", Some(("A", ""))),
            ("$1A=b", None),
            ("A=b", None),
            ("$A B=c", None),
            ("$A", None),
        ] {
            assert_eq!(definition(text), expected, "{text}");
        }
    }

    #[test]
    fn known_parameters_are_substituted() {
        let value = |name: &str| match name {
            "A" => Some(vec!["1".to_owned()]),
            "M" => Some(vec!["one".to_owned(), "two".to_owned()]),
            "E" => Some(Vec::new()),
            _ => None,
        };
        for (text, expected) in [
            ("x $A y", Some(vec!["x 1 y"])),
            ("x${A}y", Some(vec!["x1y"])),
            ("$Ay ${B} $$A", Some(vec!["$Ay ${B} $1"])),
            ("a $M b", Some(vec!["a one b", "two"])),
            ("[$E]", None),
            ("[${E}]", Some(vec!["[]"])),
            ("$", None),
            ("é$é", None),
        ] {
            let expected = expected.map(|lines| lines.into_iter().map(str::to_owned).collect());
            assert_eq!(substituted(text, value), expected, "{text}");
        }
    }

    /// Formats "names: round round | rest", with slashes between the values of a round.
    fn shown(text: &str) -> String {
        match sequence(text, |_| None) {
            Ok(Sequence { names, rounds, rest }) => {
                let rounds: Vec<_> = rounds.iter().map(|round| round.join("/")).collect();
                format!("{}: {} | {rest}", names.join("/"), rounds.join(" "))
            }
            Err(_) => "wrong".to_owned(),
        }
    }

    #[test]
    fn sequences_are_expanded() {
        for (text, expected) in [
            ("~SEQ(S, 0, 3) ip 10.0.${S}.1", "S: 0 1 2 3 | ip 10.0.${S}.1"),
            ("~SEQ(S, 2) $S", "S: 1 2 | $S"),
            ("~SEQ(S, 5, -2, 0) x", "S: 5 3 1 | x"),
            ("~SEQ(S, 3, 1) x", "S: 3 2 1 | x"),
            ("~SEQx(S, 0x90, 0x10, 0xc0) x", "S: 90 a0 b0 c0 | x"),
            ("~LST(IP, 1, b,c) x", "IP: 1 b c | x"),
            ("~LST({A, B}, {10,1},{20,4}) ~SEQ(C,1,2) x", "A/B: 10/1 20/4 | ~SEQ(C,1,2) x"),
            ("~LST({A,B}, 1, 2) x", "wrong"),
            ("~SEQ(S, 1, 0, 3) x", "wrong"),
            ("~SEQ(S, 1, 100000000) x", "wrong"),
            ("~SEQ(S, a) x", "wrong"),
            ("~SEQ(S) x", "wrong"),
            ("~SEQ(, 1) x", "wrong"),
            ("~SEQ S", "wrong"),
            ("~LST(S)", "wrong"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
