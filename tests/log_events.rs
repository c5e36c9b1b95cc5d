//! Log events against docs/operations.md: every event of the source is documented with its level, and no other.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use support::rust::{Piece, pieces, without_tests};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A log event: its level in capitals, as the log has it, and its message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Event {
    level: String,
    message: String,
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src can be listed") {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn in_the_source() -> BTreeSet<Event> {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("sources are UTF-8"));
    texts.flat_map(|text| events(&without_tests(&text).join("\n"))).collect()
}

/// The events of a source: the last text among the arguments of a macro of `tracing` is the message.
fn events(source: &str) -> Vec<Event> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize, String)> = None;
    for (_, piece) in pieces(source) {
        match piece {
            Piece::Comment(_) => {}
            Piece::Text(text) => {
                if let Some((_, 1, message)) = &mut open {
                    *message = unquoted(text);
                }
            }
            Piece::Code(code) => {
                for (at, c) in code.char_indices() {
                    match (&mut open, c) {
                        (None, '(') => open = level(&code[..at]).map(|level| (level, 1, String::new())),
                        (Some((_, depth, _)), '(' | '[' | '{') => *depth += 1,
                        (Some((_, depth, _)), ')' | ']' | '}') => *depth -= 1,
                        _ => {}
                    }
                    if let Some((level, _, message)) = open.take_if(|(_, depth, _)| *depth == 0) {
                        found.push(Event { level: level.to_uppercase(), message });
                    }
                }
            }
        }
    }
    found
}

/// The level of the macro whose parenthesis comes next: `warn!`, with `tracing::` or without.
fn level(before: &str) -> Option<&'static str> {
    let name = before.strip_suffix('!')?;
    let word = name.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    LEVELS.into_iter().find(|level| *level == word)
}

fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let joined: Vec<_> = inner.split("\\\n").map(str::trim_start).collect();
    joined.concat().replace("\\\"", "\"")
}

/// The rows of the table of log events: level, message, meaning, remedy.
fn documented() -> Vec<Vec<String>> {
    let text = include_str!("../docs/operations.md");
    let table =
        text.split_once("\n### All log events\n").expect("operations.md has the table of log events").1;
    let table = table.split("\n#").next().unwrap_or(table);
    let rows = table.lines().filter(|line| {
        line.starts_with("| ERROR")
            || LEVELS.iter().any(|level| {
                line.strip_prefix("| ").is_some_and(|row| row.starts_with(&level.to_uppercase()))
            })
    });
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The text of a code span, which has two backticks at each end if it holds one.
fn message(cell: &str) -> String {
    let inner = cell.strip_prefix("`` ").and_then(|cell| cell.strip_suffix(" ``"));
    inner.unwrap_or(cell.trim_matches('`')).to_owned()
}

#[test]
fn every_log_event_is_documented() {
    let source = in_the_source();
    assert!(source.len() > 50, "only {} log events were found: the search is broken", source.len());
    let rows = documented();
    let listed: BTreeSet<_> =
        rows.iter().map(|row| Event { level: row[0].clone(), message: message(&row[1]) }).collect();
    let missing: Vec<_> = source.difference(&listed).collect();
    let surplus: Vec<_> = listed.difference(&source).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "not in docs/operations.md: {missing:#?}\nnot in src: {surplus:#?}"
    );
    let incomplete: Vec<_> =
        rows.iter().filter(|row| row.len() != 4 || row.iter().any(String::is_empty)).collect();
    assert!(incomplete.is_empty(), "rows without level, message, meaning and remedy: {incomplete:#?}");
}

#[test]
fn messages_are_stable() {
    let wrong: Vec<_> = in_the_source()
        .into_iter()
        .filter(|event| event.message.is_empty() || event.message.contains(['{', '}']))
        .collect();
    assert!(wrong.is_empty(), "values belong into fields, not into the message: {wrong:#?}");
}

#[test]
fn the_reader_takes_the_last_text_of_a_call() {
    let source = r#"fn f() { tracing::warn!(%a, b = g("x"), "a \"b\" c"); info!("d"); println!("e") }"#;
    let event = |level: &str, message: &str| Event { level: level.to_owned(), message: message.to_owned() };
    assert_eq!(events(source), [event("WARN", "a \"b\" c"), event("INFO", "d")]);
}
