//! What there is to say about what was read.

use super::description::Place;
use std::collections::HashSet;
use std::fmt;

/// How much a remark matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Traffic will be treated differently, or nobody watches over it any more.
    Lost,
    /// Worth knowing; nothing is lost.
    Note,
}

/// One thing that was not carried over, or that is different now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    place: Place,
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
    /// One line: the place, what is so, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, grade, what, instead } = self;
        let label = match grade {
            Grade::Lost => "not carried over",
            Grade::Note => "note",
        };
        f.write_str(&printable(&format!("{place}: {label}: {what}; {instead}")))
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
        self.0.push(Remark { place: place.clone(), grade, what, instead });
    }

    /// File by file as they were first mentioned, line by line, nothing twice.
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
        let mut seen = HashSet::new();
        remarks.retain(|remark| seen.insert(remark.to_string()));
        remarks
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_come_file_by_file_and_line_by_line_and_nothing_twice() {
        let at = |file: &str, line| Place { file: file.into(), line };
        let mut remarks = Remarks::default();
        remarks.lost(&at("b", 9), "x", "y");
        remarks.note(&at("a", 3), "x", "y");
        remarks.lost(&at("b", 2), "x\ny", "z");
        remarks.lost(&at("b", 9), "x", "y");
        let shown: Vec<_> = remarks.in_order().iter().map(Remark::to_string).collect();
        assert_eq!(
            shown,
            ["b:2: not carried over: x\\ny; z", "b:9: not carried over: x; y", "a:3: note: x; y"]
        );
    }
}
