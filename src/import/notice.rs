//! Notices: differences between the imported file and the configuration; and texts quoted from the input.

use super::description::Place;
use crate::model::{Diagnostic, DiagnosticKind};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Weight of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeLevel {
    /// Traffic or its supervision changes.
    Warning,
    /// Information without effect on traffic.
    Note,
}

/// A part of the file that is not carried over, or that has a different meaning now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// First line that it applies to.
    location: Place,
    /// Later lines of the same file with the same text.
    others: Vec<usize>,
    level: NoticeLevel,
    what: String,
    instead: String,
}

impl Notice {
    /// Weight of the notice.
    #[must_use]
    pub fn level(&self) -> NoticeLevel {
        self.level
    }
}

impl fmt::Display for Notice {
    /// Writes one line: locations, difference, remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, level, what, instead, .. } = self;
        let label = match level {
            NoticeLevel::Warning => "not carried over",
            NoticeLevel::Note => "note",
        };
        let what = truncated(what, WHAT_MAX);
        f.write_str(&printable(&format!("{location}{}: {label}: {what}; {instead}", self.other_lines())))
    }
}

/// Most lines listed in a notice; further ones are only counted.
const LINES_MAX: usize = 10;

impl Notice {
    /// Formats later lines as ",9,13 and 30 more".
    fn other_lines(&self) -> String {
        let named = self.others.len().min(LINES_MAX - 1);
        let (named, rest) = self.others.split_at(named);
        let mut shown: String = named.iter().map(|line| format!(",{line}")).collect();
        if !rest.is_empty() {
            shown += &format!(" and {} more", rest.len());
        }
        shown
    }

    fn add_line(&mut self, line: usize) {
        if self.others.last().unwrap_or(&self.location.line) != &line {
            self.others.push(line);
        }
    }
}

/// Statement on the sync daemon of a list of rules.
pub(super) const SYNC_DAEMON: &str = "a sync daemon is none of the rules";
/// Place of connection sync.
pub(super) const SYNC_DAEMON_REMEDY: &str =
    "add [sync] with interface and syncid, or start it by \"directrix ipvsadm --start-daemon\"";
/// Reason for which IPVS's settings of sync have no counterpart.
pub(super) const SYNC_BY_CHANGES: &str = "connection sync tells each change of a connection at once, and all connections again each minute, by one port";

/// Notices of an import, in the order of detection.
#[derive(Debug, Default)]
pub(super) struct Notices(Vec<Notice>);

impl Notices {
    pub(super) fn warn(&mut self, location: &Place, what: impl Into<String>, instead: impl Into<String>) {
        self.add(location, NoticeLevel::Warning, what.into(), instead.into());
    }

    pub(super) fn note(&mut self, location: &Place, what: impl Into<String>, instead: impl Into<String>) {
        self.add(location, NoticeLevel::Note, what.into(), instead.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, location: &Place, level: NoticeLevel, what: String, instead: String) {
        self.0.push(Notice { location: location.clone(), others: Vec::new(), level, what, instead });
    }

    /// Sorts by file, in the order of detection, then by line, and merges equal texts.
    pub(super) fn in_order(self) -> Vec<Notice> {
        let mut files = Vec::new();
        for notice in &self.0 {
            if !files.contains(&notice.location.file) {
                files.push(notice.location.file.clone());
            }
        }
        let file = |notice: &Notice| files.iter().position(|file| *file == notice.location.file);
        let mut notices = self.0;
        notices.sort_by_key(|notice| (file(notice), notice.location.line));
        merged(notices)
    }
}

/// Merges notices that differ only in their line.
fn merged(notices: Vec<Notice>) -> Vec<Notice> {
    let mut merged: Vec<Notice> = Vec::new();
    let mut seen: HashMap<(Arc<str>, NoticeLevel, String, String), usize> = HashMap::new();
    for notice in notices {
        let Notice { location, level, what, instead, .. } = &notice;
        let key = (location.file.clone(), *level, what.clone(), instead.clone());
        let first = *seen.entry(key).or_insert(merged.len());
        match merged.get_mut(first) {
            Some(first) => first.add_line(notice.location.line),
            None => merged.push(notice),
        }
    }
    merged
}

/// Error of the input's syntax. Control characters are escaped.
pub(super) fn syntax_error(what: &str, remedy: &str) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::Syntax, printable(what)).remedy(printable(remedy))
}

/// Escapes control characters and line separators, for terminals and TOML comments.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// Longest statement of a notice, in characters: it may quote a word of any length.
const WHAT_MAX: usize = 400;

/// Longest excerpt of a line in a message, in characters.
pub(crate) const EXCERPT_MAX: usize = 120;

/// Returns the first [`EXCERPT_MAX`] characters of foreign text, escaped for a message.
pub(crate) fn excerpt(text: &str) -> String {
    printable(&truncated(text, EXCERPT_MAX))
}

/// Truncates a text to `max` characters and marks the cut by an ellipsis.
fn truncated(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_is_truncated_and_escaped() {
        assert_eq!(excerpt("-A -t 192.0.2.1:80"), "-A -t 192.0.2.1:80");
        assert_eq!(excerpt("\x1b[2Jbell\x07\n"), "\\u{1b}[2Jbell\\u{7}\\n");
        assert_eq!(excerpt(&"é".repeat(EXCERPT_MAX)), "é".repeat(EXCERPT_MAX));
        assert_eq!(excerpt(&"é".repeat(100_000)), "é".repeat(EXCERPT_MAX) + "…");
    }

    #[test]
    fn notices_are_sorted_and_merged() {
        let at = |file: &str, line| Place { file: file.into(), line };
        let mut notices = Notices::default();
        notices.warn(&at("b", 9), "x", "y");
        notices.note(&at("a", 3), "x", "y");
        notices.warn(&at("b", 2), "x\ny", "z");
        notices.warn(&at("b", 9), "x", "y");
        notices.warn(&at("b", 11), "x", "y");
        let shown: Vec<_> = notices.in_order().iter().map(Notice::to_string).collect();
        assert_eq!(
            shown,
            ["b:2: not carried over: x\\ny; z", "b:9,11: not carried over: x; y", "a:3: note: x; y"]
        );
    }
}
