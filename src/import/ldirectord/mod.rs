//! Reader of ldirectord.cf(8): virtual services, their servers and checks.

mod checks;
mod directives;
mod real;
mod service;

use super::description::{Description, Place};
use super::environment::Environment;
use super::notice::{Notices, excerpt, printable, syntax_error};
use crate::model::{Diagnostic, Diagnostics};
use std::sync::Arc;

/// Whether a line begins a virtual service of ldirectord.cf.
pub(super) fn is_ldirectord(text: &str) -> bool {
    let key = |line: &'_ str| line.split_once('=').is_some_and(|(key, _)| is_heading(key.trim_end()));
    text.lines().any(key)
}

fn is_heading(keyword: &str) -> bool {
    matches!(keyword, "virtual" | "virtual6")
}

/// A line `keyword = value`.
#[derive(Clone, Debug)]
struct Setting {
    location: Place,
    keyword: String,
    /// As written, without spaces around it.
    value: String,
}

impl Setting {
    /// The value without quotes around it.
    fn text(&self) -> &str {
        let inner = self.value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        inner.unwrap_or(&self.value)
    }

    fn error(&self, what: &str, remedy: &str) -> Diagnostic {
        let quoted = match self.value.as_str() {
            "" => self.keyword.clone(),
            _ if matches!(self.keyword.as_str(), "passwd" | "secret") => format!("{} = …", self.keyword),
            value => format!("{} = {value}", self.keyword),
        };
        let what = format!("{}: {what}", excerpt(&quoted));
        syntax_error(&what, remedy).at(self.location.clone())
    }
}

/// A `virtual` with the lines below it.
#[derive(Debug)]
struct Virtual {
    heading: Setting,
    settings: Vec<Setting>,
}

/// The lines of a file.
#[derive(Debug, Default)]
struct Lines {
    globals: Vec<Setting>,
    services: Vec<Virtual>,
}

/// The last setting with a keyword counts.
fn last<'s>(settings: &'s [Setting], keyword: &str) -> Option<&'s Setting> {
    settings.iter().rev().find(|setting| setting.keyword == keyword)
}

/// Reads a file.
///
/// # Errors
/// Every line that ldirectord would not accept.
pub(super) fn read(
    file: &str,
    text: &str,
    host: &dyn Environment,
    notices: &mut Notices,
) -> Result<Description, Diagnostics> {
    let mut faults = Vec::new();
    let lines = lines(file, text, &mut faults);
    directives::check(&lines, notices, &mut faults);
    let (mut services, mut room) = (Vec::new(), service::COUNT_MAX);
    for of in &lines.services {
        let reader = service::Reader { of, globals: &lines.globals, host };
        match reader.read(&mut room, notices) {
            Ok(service) => services.push(service),
            Err(errors) => faults.extend(errors),
        }
    }
    if faults.is_empty() {
        return Ok(Description { services, ..Description::default() });
    }
    faults.sort_by_key(Diagnostic::line);
    Err(Diagnostics(faults))
}

/// Splits a text into settings. Lines that are indented belong to the `virtual` above.
fn lines(file: &str, text: &str, faults: &mut Vec<Diagnostic>) -> Lines {
    let file: Arc<str> = printable(file).into();
    let mut lines = Lines::default();
    for (number, line) in (1..).zip(text.lines()) {
        let location = Place { file: file.clone(), line: number };
        let content = line.split('#').next().unwrap_or_default();
        if content.trim().is_empty() {
            continue;
        }
        let (keyword, value) = content.split_once('=').unwrap_or((content, ""));
        let (keyword, value) = (keyword.trim().to_owned(), value.trim().to_owned());
        let setting = Setting { location, keyword, value };
        let is_bare = !content.contains('=') && setting.keyword != "supervised";
        match (content.starts_with([' ', '\t']), lines.services.last_mut()) {
            _ if is_bare => faults.push(setting.error("it sets nothing", "write KEYWORD = VALUE")),
            (false, _) if is_heading(&setting.keyword) => {
                lines.services.push(Virtual { heading: setting, settings: Vec::new() });
            }
            (false, _) => lines.globals.push(setting),
            (true, Some(service)) => service.settings.push(setting),
            (true, None) => {
                faults
                    .push(setting.error("it is indented, and no virtual stands above", "write it below one"));
            }
        }
    }
    lines
}
