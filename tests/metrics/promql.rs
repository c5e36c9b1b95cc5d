//! Metrics and labels of a PromQL expression. Enough of the language for
//! dashboards and alerts; Prometheus itself checks the syntax.

use std::collections::BTreeSet;

/// The names in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) metrics: BTreeSet<String>,
    /// In selectors and groupings.
    pub(crate) labels: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Sign(char),
    /// A text, a number or a time, which name nothing.
    Value,
}

/// Words that take a list of labels.
const GROUPINGS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are none of the metrics and are not always followed by a parenthesis.
const KEYWORDS: &[&str] = &[
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "count_values",
    "and",
    "or",
    "unless",
    "offset",
    "bool",
    "inf",
    "nan",
];

pub(crate) fn names(expression: &str) -> Names {
    let tokens = tokens(expression);
    let mut names = Names::default();
    let (mut braces, mut grouping) = (false, false);
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        match token {
            Token::Sign('{') => braces = true,
            Token::Sign('}') => braces = false,
            Token::Sign(')') => grouping = false,
            Token::Word(word) if GROUPINGS.contains(&word.as_str()) => {
                grouping = next == Some(&Token::Sign('('));
            }
            Token::Word(word) if braces || grouping => drop(names.labels.insert(word.clone())),
            Token::Word(word) if KEYWORDS.contains(&word.to_lowercase().as_str()) => {}
            Token::Word(_) if next == Some(&Token::Sign('(')) => {} // a function
            Token::Word(word) => drop(names.metrics.insert(word.clone())),
            Token::Sign(_) | Token::Value => {}
        }
    }
    names
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            'a'..='z' | 'A'..='Z' | '_' | ':' => run(rest, |c| c.is_alphanumeric() || matches!(c, '_' | ':')),
            '0'..='9' | '$' => run(rest, |c| c.is_alphanumeric() || matches!(c, '_' | '.' | '$')),
            '"' | '\'' => 2 + rest[1..].find(first).expect("the text ends"),
            '[' => 1 + rest.find(']').expect("the range ends"),
            _ => first.len_utf8(),
        };
        tokens.push(match first {
            'a'..='z' | 'A'..='Z' | '_' | ':' => Token::Word(rest[..length].to_owned()),
            '0'..='9' | '$' | '"' | '\'' | '[' => Token::Value,
            sign => Token::Sign(sign),
        });
        rest = rest[length..].trim_start();
    }
    tokens
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The labels of a legend: `{{label}}`.
pub(crate) fn legend_labels(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).map(|rest| rest.split_once("}}").expect("it ends").0.trim()).collect()
}

#[test]
fn metrics_and_labels_are_distinguished_from_the_rest() {
    let cases = [
        ("up", "up", ""),
        (r#"rate(a_total{x="y", z=~"w|v"}[5m])"#, "a_total", "x z"),
        (r#"sum by (le, b) (rate(c[1h:5m] offset 3d)) / 2.5e3"#, "c", "b le"),
        (r#"sum(a{b!="}c{"}) by (d) > bool 0"#, "a", "b d"),
        ("a / on (b, c) group_left () sum without (d) (e)", "a e", "b c d"),
        ("a / on(b) group_left sum(c)", "a c", "b"),
        ("histogram_quantile(0.99, x_bucket) and time() - y > 3 or vector(1)", "x_bucket y", ""),
        ("rate(a{b='c'}[$__rate_interval]) unless $d", "a", "b"),
        ("a:b:c == +Inf", "a:b:c", ""),
    ];
    for (expression, metrics, labels) in cases {
        let set = |words: &str| words.split_whitespace().map(str::to_owned).collect();
        assert_eq!(names(expression), Names { metrics: set(metrics), labels: set(labels) }, "{expression}");
    }
    assert_eq!(legend_labels("{{a}} to {{ b }}:{{c}}"), ["a", "b", "c"]);
}
