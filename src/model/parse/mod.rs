//! From TOML text to a checked [`Config`].
//!
//! The text is parsed once, with the position of every key and value. Readers convert values into the model's
//! types. Their errors are collected, so that one run reports all faults of a file.

mod check_kinds;
mod checks;
mod director;
mod effects;
mod ha;
mod mark;
mod readers;
mod report;
mod section;
mod service;
mod sync;

use super::{Config, Diagnostic, DiagnosticKind, Diagnostics, DirectorConfig, Place, Places};
pub use readers::SECONDS_MAX;

use report::ErrorReport;
use section::Section;
use std::iter;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Parses a configuration file without its includes. `file` is only named in diagnostics.
///
/// # Errors
/// Invalid UTF-8, or the errors of [`parse`].
pub fn parse_bytes(file: &Path, bytes: &[u8]) -> Result<Config, Diagnostics> {
    parse(file, utf8(file, bytes)?)
}

/// Parses a configuration file without its includes. `file` is only named in diagnostics.
///
/// # Errors
/// Every error in it, in file order.
pub fn parse(file: &Path, text: &str) -> Result<Config, Diagnostics> {
    parse_all(&[(&file.display().to_string(), text)])
}

/// Reads `include`: its patterns, and its 1-based line. [`parse`] reports its faults.
pub(super) fn includes(file: &str, text: &str) -> (Vec<String>, usize) {
    let text = Text::new(file, text);
    let patterns = text.root("the file").and_then(|root| {
        let line = root.line("include");
        root.get("include", readers::patterns).map(|patterns| (patterns, line))
    });
    patterns.unwrap_or_default()
}

/// The text of a file.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn utf8<'b>(file: &Path, bytes: &'b [u8]) -> Result<&'b str, Diagnostics> {
    std::str::from_utf8(bytes).map_err(|end| not_utf8(file, &bytes[..end.valid_up_to()]))
}

/// Parses files: names and texts of the including file and of the included ones.
pub(super) fn parse_all(files: &[(&str, &str)]) -> Result<Config, Diagnostics> {
    let texts: Vec<_> = files.iter().map(|(file, text)| Text::new(file, text)).collect();
    let config = if texts.iter().all(|text| text.sound) { read(&texts) } else { None };
    report::verdict(texts.into_iter().map(|text| text.report), config)
}

/// A file as TOML, with its error report.
struct Text<'t> {
    root: section::Value<'t>,
    report: ErrorReport<'t>,
    /// False after a broken header: the keys below it are in the wrong table, and errors about them would
    /// mislead.
    sound: bool,
}

impl<'t> Text<'t> {
    fn new(file: &str, text: &'t str) -> Self {
        let (root, syntax) = DeTable::parse_recoverable(text);
        let report = ErrorReport::new(file, text);
        let sound = syntax.iter().filter(|error| report.syntax(error)).count() == 0;
        let span = root.span();
        Self { root: Spanned::new(span, DeValue::Table(root.into_inner())), report, sound }
    }

    fn root(&self, name: &'static str) -> Option<Section<'_, 't>> {
        Section::open(name, &self.root, &self.report)
    }
}

fn read(texts: &[Text<'_>]) -> Option<Config> {
    let (main, included) = texts.split_first()?;
    let root = main.root("the file")?;
    let mut places = Places { file: main.report.file().to_string(), ..Places::default() };
    places.included = included.iter().map(|text| text.report.file().to_string()).collect();
    let _ = root.get("include", readers::patterns);
    let director = director::read(&root, &mut places);
    let ha = ha::read(&root, director.as_ref(), &mut places);
    let sync = sync::read(&root, &mut places);
    let included = included.iter().filter_map(|text| text.root(section::INCLUDED));
    let roots: Vec<_> = iter::once(root).chain(included).collect();
    let services = service::read(&roots, &mut places);
    let marks = mark::read(&roots, &services, &places);
    roots.iter().for_each(Section::close);
    Some(Config { director: DirectorConfig { ha, sync, ..director? }, services, marks, places })
}

fn not_utf8(path: &Path, good: &[u8]) -> Diagnostics {
    let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
    let place = Place { file: path.display().to_string().into(), line };
    let error = Diagnostic::new(DiagnosticKind::UnreadableFile, "this is not UTF-8 text");
    error.remedy("save the file in UTF-8").at(place).into()
}

#[cfg(test)]
mod tests;
