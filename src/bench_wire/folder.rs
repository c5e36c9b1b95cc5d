//! The folder of a report: `report.json` for programs, `report.txt` as on the terminal, `report.csv`, and plots.

use super::csv;
use super::plots;
use super::report::BenchReport;
use super::tables;
use crate::model::Diagnostic;
use serde::Serialize;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Default name of the report folder.
pub const DEFAULT_FOLDER: &str = "directrix-bench";

const JSON: &str = "report.json";
const TEXT: &str = "report.txt";
const CSV: &str = "report.csv";

/// A report folder. Writable, and without a report of another run.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates the folder `named`, by default `directrix-bench` in the working directory, with a number appended if
    /// it already holds a report.
    ///
    /// # Errors
    /// `InvalidArgument` if `named` already holds a report, or is not writable.
    pub fn create(named: Option<&Path>) -> Result<Self, Diagnostic> {
        let path = match named {
            Some(path) if holds_report(path) => return Err(taken(path)),
            Some(path) => path.to_owned(),
            None => first_free(Path::new(DEFAULT_FOLDER)),
        };
        check_writable(&path).map_err(|error| {
            Diagnostic::invalid_argument(format!("no report can be written to {}", path.display()))
                .cause(error.to_string())
                .remedy("name another folder with --out")
        })?;
        Ok(Self(path))
    }

    /// Path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes `report` in all formats, over an earlier state of the same run.
    ///
    /// # Errors
    /// `System` if a file cannot be written.
    pub fn write(&self, report: &BenchReport) -> Result<(), Diagnostic> {
        for (name, svg) in plots::all(report)? {
            self.file(&name, &svg)?;
        }
        self.file(CSV, &csv::text(report))?;
        self.write_text_and_json(&tables::text(report), report)
    }

    /// Writes `report.txt` and `report.json`.
    ///
    /// # Errors
    /// As [`Folder::write`].
    pub(super) fn write_text_and_json(&self, text: &str, figures: &impl Serialize) -> Result<(), Diagnostic> {
        let json =
            serde_json::to_string_pretty(figures).map_err(|error| Diagnostic::system(error.to_string()))?;
        self.file(TEXT, text)?;
        self.file(JSON, &(json + "\n"))
    }

    fn file(&self, name: &str, text: &str) -> Result<(), Diagnostic> {
        let path = self.0.join(name);
        fs::write(&path, text)
            .map_err(|error| Diagnostic::io(format!("cannot write {}", path.display()), &error))
    }
}

fn holds_report(path: &Path) -> bool {
    path.join(JSON).exists() || path.join(TEXT).exists()
}

fn taken(path: &Path) -> Diagnostic {
    Diagnostic::invalid_argument(format!("{} already holds a report", path.display()))
        .remedy("name another folder with --out, or remove it")
}

fn first_free(base: &Path) -> PathBuf {
    let numbered = (2_u32..).map(|number| PathBuf::from(format!("{}-{number}", base.display())));
    let mut names = std::iter::once(base.to_owned()).chain(numbered);
    names.find(|path| !holds_report(path)).expect("numbers do not run out")
}

/// Creates and removes a file in `folder`, so that a folder that is not writable is refused before the first trial.
fn check_writable(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join(".probe");
    File::create(&file)?;
    fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake::report;
    use crate::model::DiagnosticKind;

    #[test]
    fn report_round_trips_through_its_file() {
        let report = report();
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::create(Some(&home.path().join("new/one"))).unwrap();
        folder.write(&report).unwrap();
        let text = fs::read_to_string(folder.path().join(JSON)).unwrap();
        assert_eq!(serde_json::from_str::<BenchReport>(&text).unwrap(), report);
        for name in [TEXT, CSV, "highest-65536-flows.svg", "curve-65536-flows.svg", "latency-65536-flows.svg"]
        {
            let length = fs::metadata(folder.path().join(name)).unwrap().len();
            assert!(length > 1000, "{name}: {length} bytes");
        }
        folder.write(&report).expect("it may be written again, with more in it");
    }

    #[test]
    fn earlier_report_is_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(JSON), "{}").unwrap();
        let refused = Folder::create(Some(home.path())).unwrap_err();
        assert_eq!(refused.kind, DiagnosticKind::InvalidArgument);
        assert!(
            refused.to_string().contains("already holds a report; name another folder with --out"),
            "{refused}"
        );
    }

    #[test]
    fn taken_default_folder_gets_a_number() {
        let home = tempfile::tempdir().unwrap();
        let base = home.path().join("b");
        assert_eq!(first_free(&base), base);
        for (taken, next) in [("b", "b-2"), ("b-2", "b-3")] {
            fs::create_dir(home.path().join(taken)).unwrap();
            fs::write(home.path().join(taken).join(JSON), "{}").unwrap();
            assert_eq!(first_free(&base), home.path().join(next));
        }
    }

    #[test]
    fn unwritable_folder_is_refused() {
        let refused = Folder::create(Some(Path::new("/proc/nowhere"))).unwrap_err();
        assert_eq!(refused.kind, DiagnosticKind::InvalidArgument);
        assert_eq!(refused.what, "no report can be written to /proc/nowhere");
    }
}
