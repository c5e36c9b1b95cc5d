//! A run of the bench: from the request to the report folder.

use super::conditions::Conditions;
use super::experiment;
use super::folder::Folder;
use super::plan::{TrialPlan, format_duration};
use super::report::{BenchReport, SCHEMA};
use super::tables;
use super::trial::{Dut, Testbed, Traffic};
use crate::lab::Console;
use crate::model::Diagnostic;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Request for a run of the bench.
#[derive(Clone, Debug)]
pub struct BenchRequest {
    /// Plan of the trials.
    pub plan: TrialPlan,
    /// Traffic patterns, measured one after the other.
    pub traffics: Vec<Traffic>,
    /// Report folder; `None` is `directrix-bench` in the working directory.
    pub out: Option<PathBuf>,
    /// Description of the testbed for the report.
    pub setting: String,
    /// DUTs that are left out, each with the reason.
    pub left_out: Vec<String>,
}

impl BenchRequest {
    /// Validates the request.
    ///
    /// # Errors
    /// `InvalidArgument` if a DUT or a number of flows is repeated.
    pub fn check(&self) -> Result<(), Diagnostic> {
        let flows = self.traffics.iter().map(|traffic| traffic.flows.to_string());
        let names = self.plan.duts.iter().map(|dut| dut.name().to_owned());
        check_unique("--duts", names)?;
        check_unique("--flows", flows)
    }

    /// Measures each traffic pattern on the testbed made by `build` and prints progress to `console`. Writes the
    /// report after each pattern, so that an interruption loses one at most.
    ///
    /// # Errors
    /// [`Diagnostic`] if the report cannot be written, a testbed fails, or a signal has arrived.
    pub fn run<A: Testbed>(
        &self,
        console: &Console,
        mut build: impl FnMut(&[Dut], Traffic) -> Result<A, Diagnostic>,
    ) -> Result<BenchReport, Diagnostic> {
        self.check()?;
        let folder = Folder::create(self.out.as_deref())?;
        let conditions = Conditions::here(self.setting.clone()).with_left_out(&self.left_out);
        let plan = self.plan.clone();
        let mut report = BenchReport { schema: SCHEMA, conditions, plan, results: Vec::new() };
        report_left_out(console, &self.left_out);
        console.print(&self.announcement());
        if let Some(warning) = report.conditions.warning() {
            console.print(&warning);
        }
        for &traffic in &self.traffics {
            console.heading(&tables::heading(&traffic));
            let mut testbed = build(&self.plan.duts, traffic)?;
            report.results.push(experiment::run(&mut testbed, &self.plan, traffic, console)?);
            folder.write(&report)?;
        }
        console.print(&format!("\n{}", tables::text(&report)));
        console.print(&format!(
            "Report: {}/report.txt, report.json, report.csv and plots (*.svg)",
            folder.path().display()
        ));
        Ok(report)
    }

    fn announcement(&self) -> String {
        let (least, most) = self.plan.estimate(&self.traffics);
        format!(
            "This takes about {}, on a noisy machine up to {}; Ctrl-C ends it.",
            format_duration(least),
            format_duration(most)
        )
    }
}

/// Prints the DUTs that are left out, with the reasons.
pub(super) fn report_left_out(console: &Console, left_out: &[String]) {
    for reason in left_out {
        console.print(&format!("left out: {reason}"));
    }
}

/// Refuses a repeated value of `option`.
pub(super) fn check_unique(option: &str, words: impl Iterator<Item = String>) -> Result<(), Diagnostic> {
    let mut seen = BTreeSet::new();
    for word in words {
        if seen.contains(&word) {
            return Err(
                Diagnostic::invalid_argument(format!("{option} names {word} twice")).remedy("name it once")
            );
        }
        seen.insert(word);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake::{self, Fake};
    use crate::lab::Interrupt;
    use crate::model::DiagnosticKind;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    /// Output of a console.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn request(out: PathBuf) -> BenchRequest {
        let traffics = [65_536, 1_048_576].map(|flows| Traffic { flows, ..fake::TRAFFIC });
        let (plan, setting) = (fake::plan(), "simulated".to_owned());
        BenchRequest { plan, traffics: traffics.to_vec(), out: Some(out), setting, left_out: Vec::new() }
    }

    #[test]
    fn run_prints_estimate_and_report() {
        let home = tempfile::tempdir().unwrap();
        let (output, out) = (Output::default(), home.path().join("out"));
        let report = request(out.clone()).run(&Console::to(output.clone()), |_, _| Ok(Fake::new())).unwrap();
        assert_eq!(report.results.len(), 2);
        let output = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        assert!(output.starts_with("This takes about 5 min, on a noisy machine up to "), "{output}");
        assert!(
            output.contains("highest rate, 3 of 3: xdp 313.5, l2fwd 285.0, nft 570.0 thousand frames/s"),
            "{output}"
        );
        let text = std::fs::read_to_string(out.join("report.txt")).unwrap();
        assert!(text.contains("# 1048576 flows, 100 servers, 60-byte frames, established"), "{text}");
        assert!(output.contains(&text), "the terminal shows the report");
        assert!(output.ends_with(&format!(
            "Report: {}/report.txt, report.json, report.csv and plots (*.svg)\n",
            out.display()
        )));
    }

    #[test]
    fn left_out_duts_are_printed_and_reported() {
        let home = tempfile::tempdir().unwrap();
        let (output, out) = (Output::default(), home.path().join("out"));
        let request = BenchRequest { left_out: vec!["nft: not there".into()], ..request(out.clone()) };
        let report = request.run(&Console::to(output.clone()), |_, _| Ok(Fake::new())).unwrap();
        assert_eq!(report.conditions.left_out, ["nft: not there"]);
        let output = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        assert!(output.starts_with("left out: nft: not there\n"), "{output}");
        let text = std::fs::read_to_string(out.join("report.txt")).unwrap();
        assert!(text.contains("\nleft out     nft: not there\n"), "{text}");
    }

    #[test]
    fn interruption_keeps_finished_results() {
        let home = tempfile::tempdir().unwrap();
        let mut testbeds = vec![Err(Interrupt::diagnostic()), Ok(Fake::new())];
        let ended = request(home.path().join("out")).run(&Console::silent(), |_, _| testbeds.pop().unwrap());
        assert_eq!(ended.unwrap_err().kind, DiagnosticKind::Interrupted);
        let text = std::fs::read_to_string(home.path().join("out/report.json")).unwrap();
        let report: BenchReport = serde_json::from_str(&text).unwrap();
        assert_eq!(report.results.len(), 1);
    }

    #[test]
    fn repeated_duts_are_refused_before_writing() {
        let home = tempfile::tempdir().unwrap();
        let mut request = request(home.path().join("out"));
        request.plan.duts.push(Dut::Xdp);
        let refused = request.run(&Console::silent(), |_, _| Ok(Fake::new()));
        assert_eq!(refused.unwrap_err().to_string(), "--duts names xdp twice; name it once");
        assert!(!home.path().join("out").exists());
    }
}
