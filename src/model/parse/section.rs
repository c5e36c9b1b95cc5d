//! A TOML table under conversion: reads values by key, and reports keys that were never read.

use super::report::{ErrorReport, invalid};
use super::{Diagnostic, DiagnosticKind, Place};
use std::cell::RefCell;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Name of the table of a sorry server.
pub(super) const SORRY_SERVER: &str = "[service.sorry_server]";
/// Name of an included file in diagnostics.
pub(super) const INCLUDED: &str = "an included file";

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section<'a, 'i> {
    /// Name as in the file, with brackets.
    name: &'static str,
    table: &'a DeTable<'i>,
    /// Byte offset of the header.
    start: usize,
    report: &'a ErrorReport<'a>,
    /// The keys read so far.
    known: RefCell<Vec<&'static str>>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// Opens a value as a table; reports any other type.
    pub(super) fn open(
        name: &'static str,
        value: &'a Value<'i>,
        report: &'a ErrorReport<'a>,
    ) -> Option<Self> {
        let start = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            let what = format!("{name} is {}", article(value.get_ref().type_str()));
            report.add(start, invalid(what, format!("write it as a table that begins with {name}")));
            return None;
        };
        Some(Self { name, table, start, report, known: RefCell::default() })
    }

    /// Converts the value of `key` by `read`; reports its error.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'i>) -> Result<T, Diagnostic>,
    ) -> Option<T> {
        let value = self.value(key)?;
        read(value.get_ref()).map_err(|fault| self.object(key, fault)).ok()
    }

    /// Like [`Section::get`] for a required key; `example` is a valid value.
    pub(super) fn require<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'i>) -> Result<T, Diagnostic>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            let what = format!("{} has no {key}", self.name);
            self.report.add_missing(self.start, invalid(what, format!("add {key} = {example}")));
        }
        self.get(key, read)
    }

    /// True if `key` is present, with any value.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.table.contains_key(key)
    }

    /// Opens the table below `key`.
    pub(super) fn table(&self, key: &'static str, name: &'static str) -> Option<Section<'a, 'i>> {
        Section::open(name, self.value(key)?, self.report)
    }

    /// Opens the table below `key`, under the key's name; `remedy` is the remedy for a value of another type.
    pub(super) fn table_or(
        &self,
        key: &'static str,
        remedy: impl FnOnce(&DeValue<'i>) -> String,
    ) -> Option<Section<'a, 'i>> {
        let value = self.value(key)?;
        if value.get_ref().as_table().is_none() {
            let what = format!("is {}", article(value.get_ref().type_str()));
            self.object(key, invalid(what, remedy(value.get_ref())));
            return None;
        }
        Section::open(key, value, self.report)
    }

    /// Opens each table of the array below `key`; reports any other type.
    pub(super) fn tables(&self, key: &'static str, name: &'static str) -> Option<Vec<Section<'a, 'i>>> {
        let Some(value) = self.value(key) else { return Some(Vec::new()) };
        let Some(array) = value.get_ref().as_array() else {
            let what = format!("{key} is {}", article(value.get_ref().type_str()));
            self.report.add(value.span().start, invalid(what, format!("write {name}, once for each")));
            return None;
        };
        Some(array.iter().filter_map(|item| Section::open(name, item, self.report)).collect())
    }

    /// Reports a fault of the value of `key`, or of the table if the key is missing.
    pub(super) fn object(&self, key: &'static str, fault: Diagnostic) {
        let what = format!("{key} {}", fault.what);
        self.report.add(self.place(key), Diagnostic { what, ..fault });
    }

    /// Reports a fault of the table, unless a broken line may be the reason.
    pub(super) fn lacks(&self, what: &str, remedy: &str) {
        self.report.add_missing(self.start, invalid(format!("{} {what}", self.name), remedy));
    }

    /// The 1-based line of `key`, or of the table if it has none.
    pub(super) fn line(&self, key: &'static str) -> usize {
        self.report.line(self.place(key))
    }

    /// The lines of the table and of its keys.
    pub(super) fn lines(&self) -> (usize, BTreeMap<String, usize>) {
        let keys = self.table.iter();
        let keys = keys.map(|(key, value)| (key.get_ref().to_string(), self.report.line(value.span().start)));
        (self.report.line(self.start), keys.collect())
    }

    /// The place of `key`, or of the table if the key is missing.
    pub(super) fn at(&self, key: &'static str) -> Place {
        Place { file: self.report.file().clone(), line: self.line(key) }
    }

    /// Names another place in an error about this table: "on line 5", or "at conf.d/web.toml:5".
    pub(super) fn seen_from_here(&self, Place { file, line }: &Place) -> String {
        if file == self.report.file() { format!("on line {line}") } else { format!("at {file}:{line}") }
    }

    /// Reports every key that was never read.
    pub(super) fn close(&self) {
        for key in self.table.keys() {
            if !self.known.borrow().contains(&key.get_ref().as_ref()) {
                self.report.add(key.span().start, self.unknown(key.get_ref()));
            }
        }
    }

    fn value(&self, key: &'static str) -> Option<&'a Value<'i>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.get(key)
    }

    fn place(&self, key: &'static str) -> usize {
        self.table.get(key).map_or(self.start, |value| value.span().start)
    }

    fn unknown(&self, key: &str) -> Diagnostic {
        let what = format!("{key:?} is not a key of {}", self.name);
        let known = self.known.borrow();
        let remedy = match (key, nearest(key, &known)) {
            ("port", _) if self.name == "[[service.server]]" || self.name == SORRY_SERVER => {
                "remove it: the port is the service's, direct routing cannot change it".into()
            }
            (key, _) if self.name == "[[service.server]]" && OF_THE_SERVICE.contains(&key) => {
                "it is a key of [[service]]; write it above the service's first [[service.server]]".into()
            }
            ("check", _) if self.name == SORRY_SERVER => {
                "remove it: the sorry server has no health checks".into()
            }
            (key, _) if self.name == SORRY_SERVER && OF_THE_SERVICE.contains(&key) => {
                "it is a key of [[service]]; write it above the service's first [[service.server]]".into()
            }
            (key, _) if self.name == INCLUDED => {
                format!("move {key} to the file that includes this one, or write [[service]]")
            }
            ("include", _) => "write it above all tables, as the first line".into(),
            ("port", _) => r#"write it into address, as in "192.168.195.150:80""#.into(),
            (_, Some(near)) => format!("did you mean {near}?"),
            _ => format!("its keys are {}", known.join(", ")),
        };
        invalid(what, remedy).of_kind(DiagnosticKind::UnknownKey)
    }
}

/// Keys of [[service]] that [[service.server]] has not: in TOML, a key belongs to the last table above it.
const OF_THE_SERVICE: [&str; 18] = [
    "protocol",
    "vlan",
    "scheduler",
    "scheduler_flags",
    "persistence",
    "one_packet",
    "slow_start",
    "panic",
    "on_down",
    "inhibit_on_failure",
    "alpha",
    "passive",
    "quorum",
    "hysteresis",
    "notify",
    "quorum_up",
    "quorum_down",
    "sorry_server",
];

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The nearest of `names`, at most a third of its letters away from `text`, ignoring case.
pub(super) fn nearest<'n>(text: &str, names: &[&'n str]) -> Option<&'n str> {
    let text = text.to_lowercase();
    let scored = names.iter().map(|name| (distance(&text, name), *name));
    scored
        .filter(|(far, name)| *far <= name.len().div_ceil(3))
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Levenshtein distance: number of letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_letters() {
        for (a, b, far) in [
            ("", "", 0),
            ("", "abc", 3),
            ("adress", "address", 1),
            ("mac", "max", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), far, "{a} {b}");
            assert_eq!(distance(b, a), far, "{b} {a}");
        }
    }

    #[test]
    fn a_key_that_resembles_nothing_has_no_nearest() {
        assert_eq!(nearest("colour", &["mac", "weight", "address"]), None);
        assert_eq!(nearest("wieght", &["mac", "weight", "address"]), Some("weight"));
        assert_eq!(nearest("WEIGHT", &["mac", "weight", "address"]), Some("weight"));
    }
}
