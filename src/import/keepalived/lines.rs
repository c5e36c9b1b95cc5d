//! From keepalived's files to lines without comments, includes, conditions and parameters, each
//! with its place (keepalived.conf(5), "Advanced configuration").

use super::parameters::{self, Sequence};
use crate::import::description::Place;
use crate::import::host::Host;
use crate::import::remark::{Fault, Remarks};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

/// Files that include files; more is taken for a file that includes itself.
const INCLUDES_MAX: usize = 16;
/// Parameters within parameters; more is taken for one that contains itself.
const DEPTH_MAX: usize = 32;
/// Parameters put into one line, one after the other; likewise.
const SUBSTITUTIONS_MAX: usize = 256;
/// Lines looked at, with those that parameters and sequences make, and rounds of sequences.
const STEPS_MAX: usize = 1_000_000;
/// Bytes of a line; keepalived's own limit is 1024.
const LINE_MAX: usize = 4096;
/// Bytes of all lines.
const BYTES_MAX: usize = 64 << 20;

/// A line with something on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Reads a file and all that it includes. `id` is what `@` lines ask for.
///
/// # Errors
/// What never comes to an end.
pub(super) fn read(
    file: &str,
    text: &str,
    id: &str,
    host: &dyn Host,
    remarks: &mut Remarks,
) -> Result<Vec<Line>, Fault> {
    let parameters = HashMap::from([("_INSTANCE".to_owned(), vec![id.to_owned()])]);
    let mut reader =
        Reader { id, host, remarks, parameters, lines: Vec::new(), bytes: 0, steps: 0, included: 0 };
    reader.file(file, text)?;
    Ok(reader.lines)
}

struct Reader<'a> {
    id: &'a str,
    host: &'a dyn Host,
    remarks: &'a mut Remarks,
    /// Each with its lines.
    parameters: HashMap<String, Vec<String>>,
    lines: Vec<Line>,
    bytes: usize,
    steps: usize,
    /// How many files are open besides the first.
    included: usize,
}

/// A parameter whose lines are being read.
struct Definition {
    name: String,
    lines: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, file: &str, text: &str) -> Result<(), Fault> {
        let name: Rc<str> = file.into();
        let dir = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        let mut open: Option<Definition> = None;
        for (line, text) in (1..).zip(text.lines()) {
            let place = Place { file: name.clone(), line };
            let text = significant(text, open.is_some());
            open = match open {
                Some(definition) => self.define(definition, &text),
                None => self.line(Line { place, text }, &dir, 0)?,
            };
        }
        if let Some(Definition { name, lines }) = open {
            self.parameters.insert(name, lines);
        }
        Ok(())
    }

    /// Adds a line to a parameter; gives it back while the line ends in a backslash.
    fn define(&mut self, mut definition: Definition, text: &str) -> Option<Definition> {
        let (text, goes_on) = continued(text);
        if !text.is_empty() {
            definition.lines.push(text.to_owned());
        }
        if goes_on {
            return Some(definition);
        }
        self.parameters.insert(definition.name, definition.lines);
        None
    }

    /// Takes a line apart until it is plain; gives back the parameter that it begins to define.
    fn line(&mut self, mut line: Line, dir: &Path, depth: usize) -> Result<Option<Definition>, Fault> {
        self.steps += 1;
        self.bound(&line, depth)?;
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
                Some(lines) => return self.lines(&line.place, lines, dir, depth),
            }
            self.steps += 1;
            self.bound(&line, depth)?;
        }
        Err(Fault::at(&line.place, "a parameter contains itself; write a value without it"))
    }

    /// The lines of a parameter, each of which may use others.
    fn lines(
        &mut self,
        place: &Place,
        lines: Vec<String>,
        dir: &Path,
        depth: usize,
    ) -> Result<Option<Definition>, Fault> {
        let mut open = None;
        for text in lines {
            open = match open {
                Some(definition) => self.define(definition, &text),
                None => self.line(Line { place: place.clone(), text }, dir, depth + 1)?,
            };
        }
        Ok(open)
    }

    /// The rest of a `~SEQ` or `~LST` line, once for each value.
    fn sequence(&mut self, line: &Line, dir: &Path, depth: usize) -> Result<(), Fault> {
        let Sequence { names, rounds, rest } =
            parameters::sequence(&line.text, |name| self.single(name, dir))
                .map_err(|what| Fault::at(&line.place, what))?;
        self.steps += rounds.len();
        for values in rounds {
            for (name, value) in names.iter().zip(values) {
                self.parameters.insert(name.clone(), vec![value]);
            }
            self.line(Line { place: line.place.clone(), text: rest.clone() }, dir, depth + 1)?;
        }
        Ok(())
    }

    /// The line with its first known parameter put in, or none if there is none.
    fn substituted(&self, line: &Line, dir: &Path) -> Option<Vec<String>> {
        parameters::substituted(&line.text, |name| self.value(name, dir))
    }

    fn value(&self, name: &str, dir: &Path) -> Option<Vec<String>> {
        match name {
            "_PWD" => Some(vec![dir.display().to_string()]),
            _ => self.parameters.get(name).cloned(),
        }
    }

    /// The value of a parameter that has one line.
    fn single(&self, name: &str, dir: &Path) -> Option<String> {
        let lines = self.value(name, dir)?;
        if lines.len() == 1 { lines.into_iter().next() } else { None }
    }

    fn plain(&mut self, line: Line, dir: &Path) -> Result<(), Fault> {
        if let Some(pattern) = include(&line.text) {
            return self.include(pattern, &line.place, dir);
        }
        let text = line.text.trim();
        if !text.is_empty() {
            self.bytes += text.len();
            self.lines.push(Line { text: text.to_owned(), place: line.place });
        }
        Ok(())
    }

    fn include(&mut self, pattern: &str, place: &Place, dir: &Path) -> Result<(), Fault> {
        if self.included == INCLUDES_MAX {
            return Err(Fault::at(place, "files include each other without end; remove this line"));
        }
        let pattern = dir.join(pattern);
        let files = self.host.files(&pattern.to_string_lossy());
        if files.is_empty() {
            let what = format!("{} is not a file, so nothing is included", pattern.display());
            self.remarks.lost(
                place,
                what,
                "run this where the file is, or give it to another directrix import",
            );
        }
        self.included += 1;
        files.iter().try_for_each(|file| self.included_file(file, place))?;
        self.included -= 1;
        Ok(())
    }

    fn included_file(&mut self, file: &Path, place: &Place) -> Result<(), Fault> {
        match self.host.read(file) {
            Ok(bytes) => self.file(&file.to_string_lossy(), &String::from_utf8_lossy(&bytes)),
            Err(cause) => {
                let what = format!("{} cannot be read: {cause}", file.display());
                self.remarks.lost(place, what, "run this as a user who may read it");
                Ok(())
            }
        }
    }

    fn bound(&self, line: &Line, depth: usize) -> Result<(), Fault> {
        let fault = |what: &str| Err(Fault::at(&line.place, what));
        match () {
            () if depth > DEPTH_MAX => fault("a parameter contains itself; write a value without it"),
            () if line.text.len() > LINE_MAX => fault("the line is longer than 4096 bytes; break it"),
            () if self.steps > STEPS_MAX || self.bytes > BYTES_MAX => {
                fault("includes and parameters make more than a million lines of it; import a part at a time")
            }
            () => Ok(()),
        }
    }
}

/// The line without its comment. A backslash at the end of a comment goes on with a definition, as for keepalived.
fn significant(line: &str, in_definition: bool) -> String {
    let text = without_comment(line);
    let defines =
        || parameters::definition(text.strip_prefix('@').map_or(&*text, behind_condition)).is_some();
    let goes_on = line.trim_end().ends_with('\\') && !text.ends_with('\\');
    if goes_on && (in_definition || defines()) { text + "\\" } else { text }
}

/// What stands behind "id " of a condition, whether it holds or not.
fn behind_condition(rest: &str) -> &str {
    rest.split_once([' ', '\t']).map_or("", |(_, kept)| kept.trim_start())
}

/// The line without its comment and the space around it; `\#` and `\!` begin none.
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

/// The text without a backslash at its end, and whether there was one.
fn continued(text: &str) -> (&str, bool) {
    match text.strip_suffix('\\') {
        Some(text) => (text.trim_end(), true),
        None => (text, false),
    }
}

/// What stands behind "@id " if the line is for this id ("^id ": for every other one).
fn conditional<'t>(rest: &'t str, id: &str) -> Option<&'t str> {
    let (wanted, kept) = rest.split_once([' ', '\t'])?;
    let (wanted, reverse) = match wanted.strip_prefix('^') {
        Some(wanted) => (wanted, true),
        None => (wanted, false),
    };
    ((wanted == id) != reverse).then_some(kept.trim_start())
}

/// The pattern of an include line, in any of its variants.
fn include(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("include")?;
    let rest = rest.strip_prefix(['r', 'm', 'w', 'b', 'a']).unwrap_or(rest);
    let pattern = rest.strip_prefix([' ', '\t'])?.trim();
    (!pattern.is_empty()).then_some(pattern.trim_matches('"'))
}

#[cfg(test)]
mod tests;
