//! The findings of one run, and their forms: text, JSON, shell script.

use super::finding::{Finding, FindingLevel, Remedy};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// Levels in the order of the report.
const LEVELS: [FindingLevel; 5] =
    [FindingLevel::Error, FindingLevel::Warn, FindingLevel::Unknown, FindingLevel::Hint, FindingLevel::Ok];

/// Every finding of a run, the most urgent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoctorReport {
    /// Findings by level, and by the order of the checks within a level.
    pub findings: Vec<Finding>,
}

impl DoctorReport {
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.level);
        Self { findings }
    }

    /// True if a finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == FindingLevel::Error)
    }

    /// A shell script of the remedies that are commands, each once, below the finding. It does nothing else.
    #[must_use]
    pub fn script(&self) -> String {
        let (mut lines, mut seen) = (vec!["#!/bin/sh".to_owned(), "set -e".to_owned()], BTreeSet::new());
        for finding in &self.findings {
            match &finding.remedy {
                Some(Remedy::Command(line)) if seen.insert(line) => {
                    lines.extend([heading(finding), line.clone()])
                }
                Some(Remedy::Advice(action)) => {
                    lines.extend([heading(finding), format!("#   no command: {}", one_line(action))]);
                }
                _ => {}
            }
        }
        lines.join("\n") + "\n"
    }
}

fn heading(finding: &Finding) -> String {
    format!("\n# {} {}: {}", finding.level.name(), finding.id, one_line(&finding.what))
}

/// A text that stays within a comment.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let counts: Vec<_> = LEVELS.map(|level| format!("{} {}", count(level), level.name())).into();
        writeln!(f, "{}; docs/doctor.md has a section for each name", counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &'static str, level: FindingLevel, remedy: Option<Remedy>) -> Finding {
        Finding { id, level, what: format!("{id} is\nso"), effect: "it fails".into(), remedy }
    }

    #[test]
    fn findings_are_in_the_order_of_levels() {
        let report = DoctorReport::new(vec![
            finding("a", FindingLevel::Ok, None),
            finding("b", FindingLevel::Error, None),
            finding("c", FindingLevel::Hint, None),
            finding("d", FindingLevel::Error, None),
        ]);
        assert_eq!(
            report.findings.iter().map(|finding| finding.id).collect::<Vec<_>>(),
            ["b", "d", "c", "a"]
        );
        assert!(report.has_errors());
        assert!(report.to_string().ends_with(
            "2 error, 0 warn, 0 unknown, 1 hint, 1 ok; docs/doctor.md has a section for each name\n"
        ));
    }

    #[test]
    fn the_script_has_each_command_once_and_advice_as_comment() {
        let command = || Some(Remedy::Command("ip link set a up".into()));
        let report = DoctorReport::new(vec![
            finding("a", FindingLevel::Error, command()),
            finding("b", FindingLevel::Warn, command()),
            finding("c", FindingLevel::Hint, Some(Remedy::Advice("replace it;\nreboot".into()))),
        ]);
        let wanted = "#!/bin/sh\nset -e\n\n# error a: a is so\nip link set a up\n\n# hint c: c is so\n\
                      #   no command: replace it; reboot\n";
        assert_eq!(report.script(), wanted);
    }
}
