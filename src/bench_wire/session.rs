//! A run from the command line's words to the report's folder.

use super::conditions::Conditions;
use super::experiment;
use super::plan::{Plan, spoken};
use super::report::{Folder, Report, SCHEMA};
use super::tables;
use super::trial::{Dut, Testbed, Traffic};
use crate::lab::{Console, LabError};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What is to be measured, and where the report goes.
#[derive(Clone, Debug)]
pub struct Request {
    /// How it is measured.
    pub plan: Plan,
    /// With what, one after the other.
    pub traffics: Vec<Traffic>,
    /// The report's folder; `None` is one called `directrix-bench` in this directory.
    pub out: Option<PathBuf>,
    /// Where the frames go, for the reader of the report.
    pub setting: String,
    /// DUTs that do not take part, each with the reason.
    pub left_out: Vec<String>,
}

impl Request {
    /// # Errors
    /// [`LabError::Input`] if a DUT or a number of flows is there twice.
    pub fn check(&self) -> Result<(), LabError> {
        let flows = self.traffics.iter().map(|traffic| traffic.flows.to_string());
        let names = self.plan.duts.iter().map(|dut| dut.name().to_owned());
        no_twin("--duts", names)?;
        no_twin("--flows", flows)
    }

    /// Measures each traffic on the testbed that `build` makes for it, tells `console` how it goes on,
    /// and writes the report; again after each traffic, so that an interruption costs one of them.
    ///
    /// # Errors
    /// [`LabError`] if the report cannot be written, a testbed fails, or a signal has arrived.
    pub fn run<A: Testbed>(
        &self,
        console: &Console,
        mut build: impl FnMut(&[Dut], Traffic) -> Result<A, LabError>,
    ) -> Result<Report, LabError> {
        self.check()?;
        let folder = Folder::make(self.out.as_deref())?;
        let conditions = Conditions::here(self.setting.clone()).without(&self.left_out);
        let plan = self.plan.clone();
        let mut report = Report { schema: SCHEMA, conditions, plan, results: Vec::new() };
        tell_left_out(console, &self.left_out);
        console.say(&self.announcement());
        if let Some(warning) = report.conditions.warning() {
            console.say(&warning);
        }
        for &traffic in &self.traffics {
            console.heading(&tables::heading(&traffic));
            let mut testbed = build(&self.plan.duts, traffic)?;
            report.results.push(experiment::run(&mut testbed, &self.plan, traffic, console)?);
            folder.write(&report)?;
        }
        console.say(&format!("\n{}", tables::text(&report)));
        console.say(&format!(
            "Report: {}/report.txt, report.json, report.csv and plots (*.svg)",
            folder.path().display()
        ));
        Ok(report)
    }

    fn announcement(&self) -> String {
        let (least, most) = self.plan.estimate(&self.traffics);
        format!(
            "This takes about {}, on a noisy machine up to {}; Ctrl-C ends it.",
            spoken(least),
            spoken(most)
        )
    }
}

/// Says which DUTs do not take part before the others do.
pub(super) fn tell_left_out(console: &Console, left_out: &[String]) {
    left_out.iter().for_each(|why| console.say(&format!("left out: {why}")));
}

/// Refuses one word for `option` that is there twice.
pub(super) fn no_twin(option: &str, words: impl Iterator<Item = String>) -> Result<(), LabError> {
    let mut seen = BTreeSet::new();
    for word in words {
        if seen.contains(&word) {
            return Err(LabError::Input(format!("{option} names {word} twice; name it once")));
        }
        seen.insert(word);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake::{self, Fake};
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    /// What a console was told.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn request(out: PathBuf) -> Request {
        let traffics = [65_536, 1_048_576].map(|flows| Traffic { flows, ..fake::TRAFFIC });
        let (plan, setting) = (fake::plan(), "simulated".to_owned());
        Request { plan, traffics: traffics.to_vec(), out: Some(out), setting, left_out: Vec::new() }
    }

    #[test]
    fn a_run_says_how_long_it_takes_and_ends_with_what_the_file_says() {
        let home = tempfile::tempdir().unwrap();
        let (paper, out) = (Paper::default(), home.path().join("out"));
        let report = request(out.clone()).run(&Console::to(paper.clone()), |_, _| Ok(Fake::new())).unwrap();
        assert_eq!(report.results.len(), 2);
        let said = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(said.starts_with("This takes about 5 min, on a noisy machine up to "), "{said}");
        assert!(
            said.contains("highest rate, 3 of 3: xdp 313.5, l2fwd 285.0, nft 570.0 thousand frames/s"),
            "{said}"
        );
        let text = std::fs::read_to_string(out.join("report.txt")).unwrap();
        assert!(text.contains("# 1048576 flows, 100 servers, 60-byte frames, established"), "{text}");
        assert!(said.contains(&text), "the terminal shows the report");
        assert!(said.ends_with(&format!(
            "Report: {}/report.txt, report.json, report.csv and plots (*.svg)\n",
            out.display()
        )));
    }

    #[test]
    fn what_is_left_out_is_said_at_once_and_in_the_report() {
        let home = tempfile::tempdir().unwrap();
        let (paper, out) = (Paper::default(), home.path().join("out"));
        let request = Request { left_out: vec!["nft: not there".into()], ..request(out.clone()) };
        let report = request.run(&Console::to(paper.clone()), |_, _| Ok(Fake::new())).unwrap();
        assert_eq!(report.conditions.left_out, ["nft: not there"]);
        let said = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(said.starts_with("left out: nft: not there\n"), "{said}");
        let text = std::fs::read_to_string(out.join("report.txt")).unwrap();
        assert!(text.contains("\nleft out     nft: not there\n"), "{text}");
    }

    #[test]
    fn what_was_measured_before_an_interruption_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let mut testbeds = vec![Err(LabError::Interrupted), Ok(Fake::new())];
        let ended = request(home.path().join("out")).run(&Console::silent(), |_, _| testbeds.pop().unwrap());
        assert_eq!(ended, Err(LabError::Interrupted));
        let text = std::fs::read_to_string(home.path().join("out/report.json")).unwrap();
        let report: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(report.results.len(), 1);
    }

    #[test]
    fn twins_are_refused_before_anything_is_made() {
        let home = tempfile::tempdir().unwrap();
        let mut request = request(home.path().join("out"));
        request.plan.duts.push(Dut::Xdp);
        let refused = request.run(&Console::silent(), |_, _| Ok(Fake::new()));
        assert_eq!(refused, Err(LabError::Input("--duts names xdp twice; name it once".into())));
        assert!(!home.path().join("out").exists());
    }
}
