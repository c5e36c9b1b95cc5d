//! directrix.toml(5), made of the example file: a key that is shown there is explained here.

use super::pages::{Page, paragraph, section, source, verbatim};
use roff::{Roff, bold, roman};

const EXAMPLE: &str = include_str!("../../../tools/directrix.example.toml");

/// A table of the file.
#[derive(Debug, Default)]
struct Table {
    /// With its brackets; empty: of the keys above all tables.
    name: String,
    /// What stands above its header.
    prose: String,
    entries: Vec<Entry>,
}

/// A key with its comment.
#[derive(Debug)]
struct Entry {
    key: String,
    value: String,
    is_default: bool,
    /// The comment's lines.
    meaning: Vec<String>,
}

/// The page's file name, and the page.
pub(super) fn page() -> Page {
    let mut page = Roff::new();
    page.control("TH", ["directrix.toml", "5", "", &source(), "directrix"]);
    section(&mut page, "NAME");
    page.text([roman("directrix.toml - configuration of directrix, an LVS-DR director")]);
    section(&mut page, "DESCRIPTION");
    paragraph(
        &mut page,
        "A file in TOML. A wrong one is refused before anything starts, each error with its line and what to write \
         instead; directrix run --check only looks. Unknown keys are errors.",
    );
    for table in tables(EXAMPLE) {
        section(&mut page, if table.name.is_empty() { "ABOVE ALL TABLES" } else { &table.name });
        paragraph(&mut page, &table.prose);
        table.entries.iter().for_each(|entry| render(&mut page, entry));
    }
    section(&mut page, "EXAMPLE");
    verbatim(&mut page, EXAMPLE);
    section(&mut page, "SEE ALSO");
    paragraph(&mut page, "directrix(8), directrix-run(8)");
    ("directrix.toml.5".into(), page.render().into_bytes())
}

fn render(page: &mut Roff, entry: &Entry) {
    page.control("TP", []);
    let note = if entry.is_default { "  (the default)" } else { "" };
    page.text([bold(entry.key.as_str()), roman(format!(" = {}{note}", entry.value))]);
    for (number, line) in entry.meaning.iter().enumerate() {
        // Other lines go on with the sentence before.
        if number > 0 && line.starts_with('"') {
            page.control("br", []);
        }
        page.text([roman(line.as_str())]);
    }
}

/// The tables in the order of their first headers, every key once.
fn tables(example: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let (mut current, mut prose) = (0, Vec::new());
    for line in example.lines() {
        if line.starts_with('[') {
            current = header(&mut tables, line, &prose.join(" "));
            prose.clear();
        } else if let Some(entry) = entry(line) {
            if tables.is_empty() {
                current = header(&mut tables, "", "");
            }
            add(&mut tables[current], entry);
        } else if let Some(more) = line.trim_start().strip_prefix("# ") {
            match tables.get_mut(current).and_then(|table| table.entries.last_mut()) {
                Some(entry) if line.starts_with(' ') => entry.meaning.push(more.into()),
                _ => prose.push(more),
            }
        } else {
            prose.truncate(0);
        }
    }
    tables
}

/// The place of a table among the others.
fn header(tables: &mut Vec<Table>, name: &str, prose: &str) -> usize {
    tables.iter().position(|table| table.name == name).unwrap_or_else(|| {
        tables.push(Table { name: name.into(), prose: prose.into(), entries: Vec::new() });
        tables.len() - 1
    })
}

fn add(table: &mut Table, entry: Entry) {
    if table.entries.iter().all(|known| known.key != entry.key) {
        table.entries.push(entry);
    }
}

/// `key = value  # meaning`; behind `# ` if the value is the default.
fn entry(line: &str) -> Option<Entry> {
    let bare = line.strip_prefix("# ");
    let (key, rest) = bare.unwrap_or(line).split_once(" = ")?;
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return None;
    }
    let (value, meaning) = rest.split_once(" # ").unwrap_or((rest, ""));
    let meaning = if meaning.is_empty() { Vec::new() } else { vec![meaning.trim().to_owned()] };
    Some(Entry { key: key.into(), value: value.trim().into(), is_default: bare.is_some(), meaning })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (table, key) of everything in a TOML table, as deep as it goes.
    fn keys(name: &str, table: &toml::Table, found: &mut Vec<(String, String)>) {
        for (key, value) in table {
            let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            match value {
                toml::Value::Table(table) => keys(&below, table, found),
                toml::Value::Array(array) if array.iter().all(toml::Value::is_table) => {
                    array
                        .iter()
                        .filter_map(toml::Value::as_table)
                        .for_each(|table| keys(&below, table, found));
                }
                _ => found.push((name.into(), key.clone())),
            }
        }
    }

    #[test]
    fn every_key_of_the_example_file_is_explained() {
        let with_defaults: Vec<_> = EXAMPLE
            .lines()
            .map(|line| if entry(line).is_some() { line.trim_start_matches("# ") } else { line })
            .collect();
        let mut wanted = Vec::new();
        keys("", &with_defaults.join("\n").parse().unwrap(), &mut wanted);
        assert!(wanted.len() > 20, "{wanted:?}");
        let tables = tables(EXAMPLE);
        for (table, key) in wanted {
            let mut here = tables.iter().filter(|known| known.name.trim_matches(['[', ']']) == table);
            let entry = here.find_map(|table| table.entries.iter().find(|entry| entry.key == key));
            let entry = entry.unwrap_or_else(|| panic!("{key} of {table} is not explained"));
            assert!(!entry.value.is_empty());
        }
    }

    #[test]
    fn defaults_are_told_from_examples_and_comments_go_on() {
        assert_eq!(tables("# x = 1\n[a]\n")[0].entries[0].key, "x");
        let example = "# About.\n\n# The table.\n[a]\nx = 1   # one\n# y = \"b\"  # two\n         # three\n[[b]]\n[a]\nx = 2\n";
        let tables = tables(example);
        assert_eq!(tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["[a]", "[[b]]"]);
        assert_eq!(tables[0].prose, "The table.");
        let [x, y] = tables[0].entries.as_slice() else { panic!("{tables:?}") };
        assert_eq!(
            (x.value.as_str(), x.is_default, x.meaning.as_slice()),
            ("1", false, ["one".to_owned()].as_slice())
        );
        assert_eq!(
            (y.value.as_str(), y.is_default, y.meaning.join(", ")),
            ("\"b\"", true, "two, three".into())
        );
    }

    #[test]
    fn the_page_is_roff() {
        let (name, page) = page();
        let text = String::from_utf8(page).unwrap();
        assert_eq!(name, "directrix.toml.5");
        assert!(text.contains("\\fBconnections\\fR = 1_048_576"), "{text}");
    }
}
