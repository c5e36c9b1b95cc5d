//! Reads a page of metrics, in either format.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A page taken apart.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    pub(crate) samples: Vec<Sample>,
    /// Type by family.
    pub(crate) types: BTreeMap<String, String>,
    /// Help by family.
    pub(crate) help: BTreeMap<String, String>,
}

impl Exposition {
    pub(crate) fn read(page: &str) -> Self {
        let mut read = Self::default();
        for line in page.lines() {
            let comment = line.strip_prefix("# ").map(|rest| rest.splitn(3, ' ').collect::<Vec<_>>());
            match comment.as_deref() {
                Some(["TYPE", family, kind]) => {
                    let before = read.types.insert((*family).into(), (*kind).into());
                    assert_eq!(before, None, "{family} twice");
                }
                Some(["HELP", family, help]) => {
                    read.help.insert((*family).into(), (*help).into());
                }
                Some(["UNIT", ..] | ["EOF"]) => {}
                Some(other) => panic!("{other:?}"),
                None => read.samples.push(sample(line)),
            }
        }
        read
    }

    /// The labels that each metric has, by the name of its samples.
    pub(crate) fn labels(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut labels = BTreeMap::<_, BTreeSet<_>>::new();
        for sample in &self.samples {
            labels.entry(sample.name.as_str()).or_default().extend(sample.labels.keys().map(String::as_str));
        }
        labels
    }

    /// The sum of the samples of `name` that have all of `labels`.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|there| there == value))
        };
        let found: Vec<_> = self.samples.iter().filter(|sample| sample.name == name).filter(has).collect();
        assert!(!found.is_empty(), "no {name} with {labels:?}");
        found.iter().map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        (key.to_owned(), value.trim_end_matches('"').to_owned())
    });
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    Sample { name: name.to_owned(), labels: pairs.collect(), value }
}
