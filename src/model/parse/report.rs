//! Collection of the errors in a file.

use super::{Diagnostic, DiagnosticKind, Diagnostics, Place};
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// A fault of one value, without its place: `what` is the part of the sentence after the key, as in
/// "is 70000, out of range".
pub(super) fn invalid(what: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::InvalidValue, what).remedy(remedy)
}

/// The errors found so far, shared by all readers of a file.
#[derive(Debug)]
pub(super) struct ErrorReport<'t> {
    file: Arc<str>,
    text: &'t str,
    /// Byte offset of the end of each line but the last.
    ends: Vec<usize>,
    errors: RefCell<Vec<(usize, Diagnostic)>>,
    /// Lines that are not TOML: values recovered from them are guesses.
    broken: RefCell<HashSet<usize>>,
}

impl<'t> ErrorReport<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Self {
        Self {
            file: file.into(),
            text,
            ends: text.match_indices('\n').map(|(at, _)| at).collect(),
            errors: RefCell::default(),
            broken: RefCell::default(),
        }
    }

    /// The file as named by the user.
    pub(super) fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The 1-based line of a byte offset. The end of the file is on the last line, not below it.
    pub(super) fn line(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len().saturating_sub(1));
        1 + self.ends.partition_point(|&end| end < offset)
    }

    /// Adds an error at a byte offset, unless the line is broken anyway.
    pub(super) fn add(&self, offset: usize, fault: Diagnostic) {
        let line = self.line(offset);
        if !self.broken.borrow().contains(&line) {
            self.push(offset, fault);
        }
    }

    /// Adds an error about something missing, unless the file has broken lines: it may be on one of them.
    pub(super) fn add_missing(&self, offset: usize, fault: Diagnostic) {
        if self.broken.borrow().is_empty() {
            self.push(offset, fault);
        }
    }

    /// Adds a syntax error. True if it breaks a table's header.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> bool {
        let offset = error.span().map_or(0, |span| span.start);
        let line = self.line(offset);
        self.push(offset, syntax_fault(error.message()));
        self.broken.borrow_mut().insert(line);
        self.line_text(line).trim_start().starts_with('[')
    }

    /// The errors in the order of their lines.
    fn into_errors(self) -> impl Iterator<Item = Diagnostic> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|&(offset, _)| offset);
        errors.into_iter().map(|(_, error)| error)
    }

    fn push(&self, offset: usize, fault: Diagnostic) {
        let place = Place { file: self.file.clone(), line: self.line(offset) };
        self.errors.borrow_mut().push((offset, fault.at(place)));
    }

    fn line_text(&self, line: usize) -> &'t str {
        self.text.lines().nth(line - 1).unwrap_or_default()
    }
}

/// The errors of all files in their order, or the configuration if there is none.
pub(super) fn verdict<'t, T>(
    reports: impl Iterator<Item = ErrorReport<'t>>,
    config: Option<T>,
) -> Result<T, Diagnostics> {
    let errors: Vec<_> = reports.flat_map(ErrorReport::into_errors).collect();
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(Diagnostics(errors)),
    }
}

fn syntax_fault(message: &str) -> Diagnostic {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let remedy = match what {
        "duplicate key" => "keep one of the two".into(),
        "string values must be quoted" => r#"write the value in quotes, as in "eth0""#.into(),
        "invalid boolean" => "write true or false, or a text in quotes".into(),
        _ if matches!(expected, "" | "nothing") => "correct this line".into(),
        _ => format!("TOML expects {expected} here"),
    };
    invalid(format!("not TOML: {what}"), remedy).of_kind(DiagnosticKind::Syntax)
}
