//! What there is to say about what was read.

use super::description::Place;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

/// How much a remark matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grade {
    /// Traffic will be treated differently, or nobody watches over it any more.
    Lost,
    /// Worth knowing; nothing is lost.
    Note,
}

/// One thing that was not carried over, or that is different now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where it is first met.
    place: Place,
    /// The lines of the same file below it with the same sentence.
    others: Vec<usize>,
    grade: Grade,
    what: String,
    instead: String,
}

impl Remark {
    /// How much it matters.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.grade
    }
}

impl fmt::Display for Remark {
    /// One line: the places, what is so, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, grade, what, instead, .. } = self;
        let label = match grade {
            Grade::Lost => "not carried over",
            Grade::Note => "note",
        };
        let what = beginning(what, WHAT_MAX);
        f.write_str(&printable(&format!("{place}{}: {label}: {what}; {instead}", self.other_lines())))
    }
}

/// Lines that a remark names; of more it says how many there are.
const LINES_MAX: usize = 10;

impl Remark {
    /// ",9,13 and 30 more"
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
        if self.others.last().unwrap_or(&self.place.line) != &line {
            self.others.push(line);
        }
    }
}

/// All remarks of an import.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<Remark>);

impl Remarks {
    pub(super) fn lost(&mut self, place: &Place, what: impl Into<String>, instead: impl Into<String>) {
        self.add(place, Grade::Lost, what.into(), instead.into());
    }

    pub(super) fn note(&mut self, place: &Place, what: impl Into<String>, instead: impl Into<String>) {
        self.add(place, Grade::Note, what.into(), instead.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, place: &Place, grade: Grade, what: String, instead: String) {
        self.0.push(Remark { place: place.clone(), others: Vec::new(), grade, what, instead });
    }

    /// File by file as they were first mentioned, line by line; the same sentence once for all its lines.
    pub(super) fn in_order(self) -> Vec<Remark> {
        let mut files = Vec::new();
        for remark in &self.0 {
            if !files.contains(&remark.place.file) {
                files.push(remark.place.file.clone());
            }
        }
        let file = |remark: &Remark| files.iter().position(|file| *file == remark.place.file);
        let mut remarks = self.0;
        remarks.sort_by_key(|remark| (file(remark), remark.place.line));
        merged(remarks)
    }
}

/// One remark for those that differ in their line only.
fn merged(remarks: Vec<Remark>) -> Vec<Remark> {
    let mut merged: Vec<Remark> = Vec::new();
    let mut seen: HashMap<(Rc<str>, Grade, String, String), usize> = HashMap::new();
    for remark in remarks {
        let Remark { place, grade, what, instead, .. } = &remark;
        let key = (place.file.clone(), *grade, what.clone(), instead.clone());
        let first = *seen.entry(key).or_insert(merged.len());
        match merged.get_mut(first) {
            Some(first) => first.add_line(remark.place.line),
            None => merged.push(remark),
        }
    }
    merged
}

/// One thing because of which a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// None: the file as a whole.
    place: Option<Place>,
    message: String,
}

impl Fault {
    pub(super) fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), message: message.into() }
    }

    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => f.write_str(&printable(&format!("{place}: {}", self.message))),
            None => f.write_str(&printable(&self.message)),
        }
    }
}

/// The text on one line, as a terminal and a TOML comment can bear it.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| -> String {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            c.escape_default().collect()
        } else {
            c.into()
        }
    };
    text.chars().map(shown).collect()
}

/// Longest remark of what is so, in characters: it may repeat a word of the file, however long.
const WHAT_MAX: usize = 400;

/// Longest part of a line that a message repeats, in characters: more hides what the message says.
pub(crate) const EXCERPT_MAX: usize = 120;

/// The beginning of a text that somebody else wrote, as a message can repeat it: on one line, without
/// control characters, at most [`EXCERPT_MAX`] characters of the text.
pub(crate) fn excerpt(text: &str) -> String {
    printable(&beginning(text, EXCERPT_MAX))
}

/// At most `max` characters of a text; that there are more is shown.
fn beginning(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        assert_eq!(excerpt("-A -t 192.0.2.1:80"), "-A -t 192.0.2.1:80");
        assert_eq!(excerpt("\x1b[2Jbell\x07\n"), "\\u{1b}[2Jbell\\u{7}\\n");
        assert_eq!(excerpt(&"é".repeat(EXCERPT_MAX)), "é".repeat(EXCERPT_MAX));
        assert_eq!(excerpt(&"é".repeat(100_000)), "é".repeat(EXCERPT_MAX) + "…");
    }

    #[test]
    fn remarks_come_file_by_file_and_line_by_line() {
        let at = |file: &str, line| Place { file: file.into(), line };
        let mut remarks = Remarks::default();
        remarks.lost(&at("b", 9), "x", "y");
        remarks.note(&at("a", 3), "x", "y");
        remarks.lost(&at("b", 2), "x\ny", "z");
        remarks.lost(&at("b", 9), "x", "y");
        remarks.lost(&at("b", 11), "x", "y");
        let shown: Vec<_> = remarks.in_order().iter().map(Remark::to_string).collect();
        assert_eq!(
            shown,
            ["b:2: not carried over: x\\ny; z", "b:9,11: not carried over: x; y", "a:3: note: x; y"]
        );
    }
}
