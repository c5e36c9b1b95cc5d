//! The folder of a report: `report.json` for programs, `report.txt` as on the terminal, `report.csv`, and plots.

use super::csv;
use super::plots;
use super::report::BenchReport;
use super::tables;
use crate::lab::LabError;
use serde::Serialize;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The folder where reports go unless told otherwise.
pub const DEFAULT_FOLDER: &str = "directrix-bench";

const JSON: &str = "report.json";
const TEXT: &str = "report.txt";
const CSV: &str = "report.csv";

/// A folder without a report, into which one can be written.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder `named`, or one called `directrix-bench` in this directory, with a number
    /// behind it if earlier reports have taken the name.
    ///
    /// # Errors
    /// [`LabError::Input`] if `named` holds a report already, or nothing can be written there.
    pub fn make(named: Option<&Path>) -> Result<Self, LabError> {
        let path = match named {
            Some(path) if holds_report(path) => return Err(taken(path)),
            Some(path) => path.to_owned(),
            None => first_free(Path::new(DEFAULT_FOLDER)),
        };
        probe(&path).map_err(|error| {
            LabError::Input(format!(
                "no report can be written to {}: {error}; name another folder with --out",
                path.display()
            ))
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes `report` in all its forms; a former state of it gives way.
    ///
    /// # Errors
    /// [`LabError::Failed`] if a file cannot be written.
    pub fn write(&self, report: &BenchReport) -> Result<(), LabError> {
        for (name, svg) in plots::all(report)? {
            self.file(&name, &svg)?;
        }
        self.file(CSV, &csv::text(report))?;
        self.keep(&tables::text(report), report)
    }

    /// Writes a report: `text` for people, `figures` for programs.
    ///
    /// # Errors
    /// As [`Folder::write`].
    pub(super) fn keep(&self, text: &str, figures: &impl Serialize) -> Result<(), LabError> {
        let json =
            serde_json::to_string_pretty(figures).map_err(|error| LabError::Failed(error.to_string()))?;
        self.file(TEXT, text)?;
        self.file(JSON, &(json + "\n"))
    }

    fn file(&self, name: &str, text: &str) -> Result<(), LabError> {
        let path = self.0.join(name);
        fs::write(&path, text)
            .map_err(|error| LabError::io(format!("cannot write {}", path.display()), &error))
    }
}

fn holds_report(path: &Path) -> bool {
    path.join(JSON).exists() || path.join(TEXT).exists()
}

fn taken(path: &Path) -> LabError {
    LabError::Input(format!(
        "{} already holds a report; name another folder with --out, or remove it",
        path.display()
    ))
}

fn first_free(base: &Path) -> PathBuf {
    let numbered = |number| PathBuf::from(format!("{}-{number}", base.display()));
    let names = std::iter::once(base.to_owned()).chain((2_u32..).map(numbered));
    names.into_iter().find(|path| !holds_report(path)).expect("numbers do not run out")
}

/// Better now than when the figures are there.
fn probe(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join(".probe");
    File::create(&file)?;
    fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake::report;

    #[test]
    fn a_report_survives_its_file() {
        let report = report();
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(Some(&home.path().join("new/one"))).unwrap();
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
    fn an_earlier_report_is_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(JSON), "{}").unwrap();
        let Err(LabError::Input(said)) = Folder::make(Some(home.path())) else { panic!("it was") };
        assert!(said.contains("already holds a report; name another folder with --out"), "{said}");
    }

    #[test]
    fn a_default_folder_that_is_taken_gets_a_number() {
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
    fn a_folder_that_cannot_be_written_is_refused_at_once() {
        let Err(LabError::Input(said)) = Folder::make(Some(Path::new("/proc/nowhere"))) else { panic!() };
        assert!(said.starts_with("no report can be written to /proc/nowhere: "), "{said}");
    }
}
