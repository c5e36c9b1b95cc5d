//! docs/metrics.md, held against the page and by promtool.

use crate::exposition::Exposition;
use crate::page::readings;
use crate::support::netns::host;
use directrix::control::metrics::{ExpositionFormat, page};
use std::collections::{BTreeMap, BTreeSet};

const TEXT: &str = include_str!("../../docs/metrics.md");

/// The blocks of YAML, by the file's name in their first line.
fn blocks() -> BTreeMap<&'static str, &'static str> {
    let bodies = TEXT.split("```yaml\n# ").skip(1);
    bodies.map(|rest| rest.split_once("```").unwrap().0.split_once('\n').unwrap()).collect()
}

/// The expressions of all alerts that are about a director's own metrics.
pub(crate) fn alerts() -> Vec<&'static str> {
    let expressions = blocks()["directrix.rules.yml"].lines();
    let expressions = expressions.filter_map(|line| line.trim().strip_prefix("expr: "));
    let about_directors: Vec<_> = expressions.filter(|expression| !expression.starts_with("up{")).collect();
    assert!(about_directors.len() > 5, "only {about_directors:?}");
    about_directors
}

/// Type and labels of a metric.
type Shape = (String, BTreeSet<String>);

fn documented() -> BTreeMap<String, Shape> {
    let rows =
        TEXT.lines().filter(|line| line.starts_with("| `directrix_") || line.starts_with("| `process_"));
    let shapes = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("{row}") };
        assert!(!meaning.is_empty(), "{row}");
        let labels = labels
            .split_whitespace()
            .filter(|label| *label != "none")
            .map(|label| label.trim_matches('`').to_owned());
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels.collect()))
    });
    shapes.collect()
}

/// As the page has them, by the name of the samples; a histogram by its family.
fn shown() -> BTreeMap<String, Shape> {
    let page = Exposition::read(&page(readings(), ExpositionFormat::OpenMetrics));
    let labels = page.labels();
    let shapes = page.types.iter().map(|(family, kind)| {
        let (name, sample) = match kind.as_str() {
            "info" => (format!("{family}_info"), format!("{family}_info")),
            "counter" => (format!("{family}_total"), format!("{family}_total")),
            "histogram" => (family.clone(), format!("{family}_count")),
            _ => (family.clone(), family.clone()),
        };
        let labels = labels[sample.as_str()].iter().map(|label| (*label).to_owned()).collect();
        (name, (kind.clone(), labels))
    });
    shapes.collect()
}

#[test]
fn every_metric_is_documented_as_it_is() {
    assert_eq!(documented(), shown());
}

#[test]
fn promtool_accepts_the_examples() {
    host("command -v promtool"); // of Debian's prometheus: tools/setup --tests installs it
    let place = tempfile::tempdir().unwrap();
    for (name, text) in blocks() {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    let place = place.path().display();
    let rules = host(&format!("promtool check rules {place}/directrix.rules.yml"));
    assert!(rules.contains("SUCCESS: 20 rules found"), "{rules}");
    let config = host(&format!("promtool check config {place}/prometheus.yml"));
    assert!(config.contains("prometheus.yml is valid prometheus config file syntax"), "{config}");
}
