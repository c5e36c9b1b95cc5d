//! Lines of ldirectord.cf.

use crate::import::description::Place;
use crate::import::notice::{excerpt, printable, syntax_error};
use crate::model::Diagnostic;
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
pub(super) struct Setting {
    pub(super) location: Place,
    pub(super) keyword: String,
    /// As written, without spaces around it.
    pub(super) value: String,
}

impl Setting {
    /// The value without quotes around it.
    pub(super) fn text(&self) -> &str {
        let inner = self.value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        inner.unwrap_or(&self.value)
    }

    pub(super) fn error(&self, what: &str, remedy: &str) -> Diagnostic {
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
pub(super) struct Virtual {
    pub(super) heading: Setting,
    pub(super) settings: Vec<Setting>,
}

/// The lines of a file.
#[derive(Debug, Default)]
pub(super) struct FileLines {
    pub(super) globals: Vec<Setting>,
    pub(super) services: Vec<Virtual>,
}

/// The last setting with a keyword counts.
pub(super) fn last<'s>(settings: &'s [Setting], keyword: &str) -> Option<&'s Setting> {
    settings.iter().rev().find(|setting| setting.keyword == keyword)
}

/// Splits a text into settings. Lines that are indented belong to the `virtual` above.
pub(super) fn read(file: &str, text: &str, faults: &mut Vec<Diagnostic>) -> FileLines {
    let file: Arc<str> = printable(file).into();
    let mut lines = FileLines::default();
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
