//! directrix.toml(5), generated from the example configuration with its comments.

use super::roff_page::{Page, paragraph, section, source, verbatim};
use roff::{Roff, bold, roman};

const EXAMPLE: &str = include_str!("../../../tools/directrix.example.toml");

/// A table of the example file.
#[derive(Debug, Default)]
struct TomlTable {
    /// Header with its brackets; empty for the keys above all tables.
    name: String,
    /// Comment above the header.
    prose: String,
    keys: Vec<ConfigKey>,
}

/// A key with its comment.
#[derive(Debug)]
struct ConfigKey {
    key: String,
    value: String,
    is_default: bool,
    /// Lines of the comment.
    meaning: Vec<String>,
}

/// Generates the page. Returns its file name and text.
pub(super) fn page() -> Page {
    let mut page = Roff::new();
    page.control("TH", ["directrix.toml", "5", "", &source(), "directrix"]);
    section(&mut page, "NAME");
    page.text([roman("directrix.toml - configuration of directrix, an LVS-DR director")]);
    section(&mut page, "DESCRIPTION");
    paragraph(
        &mut page,
        "A file in TOML. Errors in it are reported before the director starts, each with its line and the remedy; \
         directrix run --check only checks the file. Unknown keys are errors.",
    );
    for table in tables(EXAMPLE) {
        section(&mut page, if table.name.is_empty() { "ABOVE ALL TABLES" } else { &table.name });
        paragraph(&mut page, &table.prose);
        table.keys.iter().for_each(|key| render(&mut page, key));
    }
    section(&mut page, "EXAMPLE");
    verbatim(&mut page, EXAMPLE);
    section(&mut page, "SEE ALSO");
    paragraph(&mut page, "directrix(8), directrix-run(8)");
    ("directrix.toml.5".into(), page.render().into_bytes())
}

fn render(page: &mut Roff, entry: &ConfigKey) {
    page.control("TP", []);
    let note = if entry.is_default { "  (the default)" } else { "" };
    page.text([bold(entry.key.as_str()), roman(format!(" = {}{note}", entry.value))]);
    for (number, line) in entry.meaning.iter().enumerate() {
        // Lines without a quoted value continue the sentence.
        if number > 0 && line.starts_with('"') {
            page.control("br", []);
        }
        page.text([roman(line.as_str())]);
    }
}

/// Parses the example. Tables stand in the order of their first headers, with each key once.
fn tables(example: &str) -> Vec<TomlTable> {
    let mut tables: Vec<TomlTable> = Vec::new();
    let (mut current, mut prose) = (0, Vec::new());
    for line in example.lines() {
        if line.starts_with('[') {
            current = header(&mut tables, line, &prose.join(" "));
            prose.clear();
        } else if let Some(key) = key(line) {
            if tables.is_empty() {
                current = header(&mut tables, "", "");
            }
            add(&mut tables[current], key);
        } else if let Some(more) = line.trim_start().strip_prefix("# ") {
            match tables.get_mut(current).and_then(|table| table.keys.last_mut()) {
                Some(key) if line.starts_with(' ') => key.meaning.push(more.into()),
                _ => prose.push(more),
            }
        } else {
            prose.truncate(0);
        }
    }
    tables
}

/// Returns the index of the table of that name; adds it if missing.
fn header(tables: &mut Vec<TomlTable>, name: &str, prose: &str) -> usize {
    tables.iter().position(|table| table.name == name).unwrap_or_else(|| {
        tables.push(TomlTable { name: name.into(), prose: prose.into(), keys: Vec::new() });
        tables.len() - 1
    })
}

fn add(table: &mut TomlTable, key: ConfigKey) {
    if table.keys.iter().all(|known| known.key != key.key) {
        table.keys.push(key);
    }
}

/// Parses `key = value  # meaning`. A key behind `# ` shows its default.
fn key(line: &str) -> Option<ConfigKey> {
    let bare = line.strip_prefix("# ");
    let (key, rest) = bare.unwrap_or(line).split_once(" = ")?;
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return None;
    }
    let (value, meaning) = rest.split_once(" # ").unwrap_or((rest, ""));
    let meaning = if meaning.is_empty() { Vec::new() } else { vec![meaning.trim().to_owned()] };
    Some(ConfigKey { key: key.into(), value: value.trim().into(), is_default: bare.is_some(), meaning })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects (table, key) of a TOML table and the tables below it.
    fn keys(name: &str, table: &toml::Table, found: &mut Vec<(String, String)>) {
        for (key, value) in table {
            let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            match value {
                // The names in this one are the operator's.
                toml::Value::Table(table) if key != "headers" => keys(&below, table, found),
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
    fn every_key_of_the_example_is_explained() {
        let with_defaults: Vec<_> = EXAMPLE
            .lines()
            .map(|line| if key(line).is_some() { line.trim_start_matches("# ") } else { line })
            .collect();
        let mut wanted = Vec::new();
        keys("", &with_defaults.join("\n").parse().unwrap(), &mut wanted);
        assert!(wanted.len() > 20, "{wanted:?}");
        let tables = tables(EXAMPLE);
        for (table, key) in wanted {
            let mut here = tables.iter().filter(|known| known.name.trim_matches(['[', ']']) == table);
            let known = here.find_map(|table| table.keys.iter().find(|known| known.key == key));
            let known = known.unwrap_or_else(|| panic!("{key} of {table} is not explained"));
            assert!(!known.value.is_empty());
        }
    }

    #[test]
    fn defaults_and_comments_are_parsed() {
        assert_eq!(tables("# x = 1\n[a]\n")[0].keys[0].key, "x");
        let example = "# About.\n\n# The table.\n[a]\nx = 1   # one\n# y = \"b\"  # two\n         # three\n[[b]]\n[a]\nx = 2\n";
        let tables = tables(example);
        assert_eq!(tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["[a]", "[[b]]"]);
        assert_eq!(tables[0].prose, "The table.");
        let [x, y] = tables[0].keys.as_slice() else { panic!("{tables:?}") };
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
    fn page_is_roff() {
        let (name, page) = page();
        let text = String::from_utf8(page).unwrap();
        assert_eq!(name, "directrix.toml.5");
        assert!(text.contains("\\fBconnections\\fR = 1_048_576"), "{text}");
    }
}
