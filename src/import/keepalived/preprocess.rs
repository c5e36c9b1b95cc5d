//! Preprocessor of keepalived.conf: resolves comments, includes, conditions and parameters into plain lines with
//! their locations (keepalived.conf(5), "Advanced configuration").

use super::parameters::{self, Sequence};
use crate::import::description::Place;
use crate::import::environment::Environment;
use crate::import::notice::{Notices, printable, syntax_error};
use crate::model::Diagnostic;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Bound of nested includes; above it a file is taken to include itself.
const INCLUDES_MAX: usize = 16;
/// Bound of nested parameters; above it a parameter is taken to contain itself.
const DEPTH_MAX: usize = 32;
/// Bound of the substitutions in one line, for the same reason.
const SUBSTITUTIONS_MAX: usize = 256;
/// Bound of the lines, including lines of parameters and sequences, and of the rounds of sequences.
const STEPS_MAX: usize = 1_000_000;
/// Longest line in bytes; keepalived's own limit is 1024.
const LINE_MAX: usize = 4096;
/// Bound of the bytes of all lines.
const BYTES_MAX: usize = 64 << 20;

/// A plain line, not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) location: Place,
    pub(super) text: String,
}

/// Reads a file and its includes. `id` selects the `@` lines.
///
/// # Errors
/// Endless includes, parameters or sequences; a line that is too long.
pub(super) fn read(
    file: &str,
    text: &str,
    id: &str,
    host: &dyn Environment,
    notices: &mut Notices,
) -> Result<Vec<Line>, Diagnostic> {
    let parameters = HashMap::from([("_INSTANCE".to_owned(), vec![id.to_owned()])]);
    let mut reader =
        Preprocessor { id, host, notices, parameters, lines: Vec::new(), bytes: 0, steps: 0, included: 0 };
    reader.file(file, text)?;
    Ok(reader.lines)
}

struct Preprocessor<'a> {
    id: &'a str,
    host: &'a dyn Environment,
    notices: &'a mut Notices,
    /// Lines of each parameter by name.
    parameters: HashMap<String, Vec<String>>,
    lines: Vec<Line>,
    bytes: usize,
    steps: usize,
    /// Depth of includes.
    included: usize,
}

/// A parameter whose lines are being read.
struct Definition {
    name: String,
    lines: Vec<String>,
}

impl Preprocessor<'_> {
    fn file(&mut self, file: &str, text: &str) -> Result<(), Diagnostic> {
        let name: Arc<str> = printable(file).into();
        let dir = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        let mut open: Option<Definition> = None;
        for (line, text) in (1..).zip(text.lines()) {
            let location = Place { file: name.clone(), line };
            let text = significant(text, open.is_some());
            open = match open {
                Some(definition) => self.define(definition, &text),
                None => self.line(Line { location, text }, &dir, 0)?,
            };
        }
        if let Some(Definition { name, lines }) = open {
            self.parameters.insert(name, lines);
        }
        Ok(())
    }

    /// Adds a line to a definition; returns the definition while lines end in a backslash.
    fn define(&mut self, mut definition: Definition, text: &str) -> Option<Definition> {
        let (text, continues) = continued(text);
        if !text.is_empty() {
            definition.lines.push(text.to_owned());
        }
        if continues {
            return Some(definition);
        }
        self.parameters.insert(definition.name, definition.lines);
        None
    }

    /// Resolves a line until it is plain; returns a definition that it begins.
    fn line(&mut self, mut line: Line, dir: &Path, depth: usize) -> Result<Option<Definition>, Diagnostic> {
        self.steps += 1;
        self.check_bounds(&line, depth)?;
        for _ in 0..SUBSTITUTIONS_MAX {
            if let Some(rest) = line.text.strip_prefix('@') {
                let Some(kept) = conditional(rest, self.id) else { return Ok(None) };
                line.text = kept.to_owned();
            }
            if let Some((name, value)) = parameters::definition(&line.text) {
                let definition = Definition { name: name.to_owned(), lines: Vec::new() };
                return Ok(self.define(definition, value));
            }
            if line.text.starts_with("~SEQ") || line.text.starts_with("~LST") {
                return self.sequence(&line, dir, depth).map(|()| None);
            }
            match self.substituted(&line, dir) {
                None => return self.plain(line, dir).map(|()| None),
                Some(lines) if lines.len() == 1 => line.text = lines.into_iter().next().unwrap_or_default(),
                Some(lines) => return self.lines(&line.location, lines, dir, depth),
            }
            self.steps += 1;
            self.check_bounds(&line, depth)?;
        }
        Err(contains_itself().at(line.location))
    }

    /// Resolves the lines of a parameter.
    fn lines(
        &mut self,
        location: &Place,
        lines: Vec<String>,
        dir: &Path,
        depth: usize,
    ) -> Result<Option<Definition>, Diagnostic> {
        let mut open = None;
        for text in lines {
            open = match open {
                Some(definition) => self.define(definition, &text),
                None => self.line(Line { location: location.clone(), text }, dir, depth + 1)?,
            };
        }
        Ok(open)
    }

    /// Resolves the rest of a `~SEQ` or `~LST` line once per round.
    fn sequence(&mut self, line: &Line, dir: &Path, depth: usize) -> Result<(), Diagnostic> {
        let Sequence { names, rounds, rest } =
            parameters::sequence(&line.text, |name| self.single(name, dir))
                .map_err(|error| error.at(line.location.clone()))?;
        self.steps += rounds.len();
        for values in rounds {
            for (name, value) in names.iter().zip(values) {
                self.parameters.insert(name.clone(), vec![value]);
            }
            self.line(Line { location: line.location.clone(), text: rest.clone() }, dir, depth + 1)?;
        }
        Ok(())
    }

    /// Substitutes the first known parameter; `None` without one.
    fn substituted(&self, line: &Line, dir: &Path) -> Option<Vec<String>> {
        parameters::substituted(&line.text, |name| self.value(name, dir))
    }

    fn value(&self, name: &str, dir: &Path) -> Option<Vec<String>> {
        match name {
            "_PWD" => Some(vec![dir.display().to_string()]),
            _ => self.parameters.get(name).cloned(),
        }
    }

    /// Returns the value of a parameter of one line.
    fn single(&self, name: &str, dir: &Path) -> Option<String> {
        let lines = self.value(name, dir)?;
        if lines.len() == 1 { lines.into_iter().next() } else { None }
    }

    fn plain(&mut self, line: Line, dir: &Path) -> Result<(), Diagnostic> {
        if let Some(pattern) = include(&line.text) {
            return self.include(pattern, &line.location, dir);
        }
        let text = line.text.trim();
        if !text.is_empty() {
            self.bytes += text.len();
            self.lines.push(Line { text: text.to_owned(), location: line.location });
        }
        Ok(())
    }

    fn include(&mut self, pattern: &str, location: &Place, dir: &Path) -> Result<(), Diagnostic> {
        if self.included == INCLUDES_MAX {
            return Err(
                syntax_error("files include each other without end", "remove this line").at(location.clone())
            );
        }
        let pattern = dir.join(pattern);
        let files = self.host.files(&pattern.to_string_lossy());
        if files.is_empty() {
            let what = format!("{} is not a file, so nothing is included", pattern.display());
            self.notices.warn(
                location,
                what,
                "run this where the file is, or give it to another directrix import",
            );
        }
        self.included += 1;
        files.iter().try_for_each(|file| self.included_file(file, location))?;
        self.included -= 1;
        Ok(())
    }

    fn included_file(&mut self, file: &Path, location: &Place) -> Result<(), Diagnostic> {
        match self.host.read(file) {
            Ok(bytes) => self.file(&file.to_string_lossy(), &String::from_utf8_lossy(&bytes)),
            Err(cause) => {
                let what = format!("{} cannot be read: {cause}", file.display());
                self.notices.warn(location, what, "run this as a user with read permission");
                Ok(())
            }
        }
    }

    fn check_bounds(&self, line: &Line, depth: usize) -> Result<(), Diagnostic> {
        let error = if depth > DEPTH_MAX {
            contains_itself()
        } else if line.text.len() > LINE_MAX {
            syntax_error("the line is longer than 4096 bytes", "break it")
        } else if self.steps > STEPS_MAX || self.bytes > BYTES_MAX {
            let what = "includes and parameters make more than a million lines of it";
            syntax_error(what, "import a part at a time")
        } else {
            return Ok(());
        };
        Err(error.at(line.location.clone()))
    }
}

fn contains_itself() -> Diagnostic {
    syntax_error("a parameter contains itself", "write a value without it")
}

/// Removes the comment of a line. As in keepalived, a backslash at the end of a comment continues a definition.
fn significant(line: &str, in_definition: bool) -> String {
    let text = without_comment(line);
    let comment_continues = line.trim_end().ends_with('\\') && !text.ends_with('\\');
    if comment_continues && (in_definition || is_definition(&text)) { text + "\\" } else { text }
}

fn is_definition(text: &str) -> bool {
    parameters::definition(text.strip_prefix('@').map_or(text, after_condition)).is_some()
}

/// Returns the text after the id of a condition, true or not.
fn after_condition(rest: &str) -> &str {
    rest.split_once([' ', '\t']).map_or("", |(_, kept)| kept.trim_start())
}

/// Removes the comment and surrounding space; `\#` and `\!` begin no comment.
fn without_comment(line: &str) -> String {
    let (mut text, mut quoted, mut letters) = (String::new(), false, line.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '#' | '!' if !quoted => break,
            '\\' => {
                let next = letters.next();
                let plain = !quoted && matches!(next, Some('#' | '!'));
                text.extend((!plain).then_some('\\'));
                text.extend(next);
            }
            _ => {
                quoted ^= letter == '"';
                text.push(letter);
            }
        }
    }
    text.trim().to_owned()
}

/// Strips a backslash at the end; true if there was one.
fn continued(text: &str) -> (&str, bool) {
    match text.strip_suffix('\\') {
        Some(text) => (text.trim_end(), true),
        None => (text, false),
    }
}

/// Returns the text after "@id " if the condition is true ("@^id ": for every other id).
fn conditional<'t>(rest: &'t str, id: &str) -> Option<&'t str> {
    let (wanted, kept) = rest.split_once([' ', '\t'])?;
    let (wanted, reverse) = match wanted.strip_prefix('^') {
        Some(wanted) => (wanted, true),
        None => (wanted, false),
    };
    ((wanted == id) != reverse).then_some(kept.trim_start())
}

/// Returns the pattern of an include line, in any of its variants.
fn include(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("include")?;
    let rest = rest.strip_prefix(['r', 'm', 'w', 'b', 'a']).unwrap_or(rest);
    let pattern = rest.strip_prefix([' ', '\t'])?.trim();
    (!pattern.is_empty()).then_some(pattern.trim_matches('"'))
}

#[cfg(test)]
mod tests;
