//! This machine is the device that is measured: DUTs forward on one of its interfaces, and
//! somebody else's machine makes the frames.
//!
//! ```text
//!   another machine                              this machine
//!   generator ───────────── cable or switch ───────────── IF ──▶ DUT
//!   station ◀────────────── cable or switch ───────────── IF ◀───────┘
//! ```
//!
//! The generator sends without a pause, to IF's MAC address, for TCP or UDP at
//! [`SERVICE`](super::DUT::SERVICE). Whichever real server a DUT chooses, the frame goes to
//! the MAC address of one station, which may be the generator's own: a switch learns it, and
//! nothing is flooded.
//!
//! An interface has room for one XDP program, so DUTs come one after the other: each trial starts
//! its DUT, waits for frames, counts for a while, and ends it. **A director begins each trial
//! without connections.** It opens one for the first frame of a UDP flow and for a SYN; other segments
//! of TCP connections that it has not seen are dropped, and the report says so.
//!
//! Frames are counted by the interface ([`counters`]), received and sent. Where they are lost after
//! that, and how long they take, only the generator's side can tell.
//!
//! | file | holds |
//! |---|---|
//! | [`arm`] | the interface, taken and given back |
//! | [`counters`] | what it counts |
//! | [`trial`] | one DUT for a while |
//! | [`report`] | what was found |

pub mod counters;
pub mod interface;
pub mod plan;
pub mod report;
pub mod trial;

use super::conditions::Conditions;
use super::folder::Folder;
use super::plan::format_duration;
use super::session::{check_unique, report_left_out};
use super::trial::Dut;
use crate::lab::{Console, Interrupt, LabError};
use interface::{DutInterface, DutPort};
use plan::DevicePlan;
use report::{DeviceReport, figures};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use trial::{DeviceOutcome, DeviceTestbed};

/// What a trial takes beside its own length: a director asks for conflicts before it serves.
const START: Duration = Duration::from_secs(3);

/// What is to be measured, and where the report goes.
#[derive(Clone, Debug)]
pub struct DeviceRequest {
    /// Where.
    pub place: DutPort,
    /// Who, how often and how long.
    pub plan: DevicePlan,
    /// The report's folder; `None` is one called `directrix-bench` in this directory.
    pub out: Option<PathBuf>,
    /// DUTs that do not take part, each with the reason.
    pub left_out: Vec<String>,
}

impl DeviceRequest {
    /// Measures, tells `console` how it goes on, and writes the report; again after each round,
    /// so that an interruption costs one of them. `exe` is the directrix binary.
    ///
    /// # Errors
    /// [`LabError::Input`] if the interface cannot be used or a DUT is there twice;
    /// [`LabError::Failed`] if a DUT does not work, nobody sends, or the report cannot be
    /// written; [`LabError::Interrupted`]. The interface is as it was then.
    pub fn run(
        &self,
        exe: PathBuf,
        console: &Console,
        interrupt: Interrupt,
    ) -> Result<DeviceReport, LabError> {
        check_unique("--duts", self.plan.duts.iter().map(|dut| dut.name().to_owned()))?;
        let arm = DutInterface::take(&self.place)?;
        let stage = DeviceTestbed::new(&self.plan, exe, interrupt)?;
        let folder = Folder::make(self.out.as_deref())?;
        let conditions = Conditions::here(arm.setting(stage.core())).without(&self.left_out);
        report_left_out(console, &self.left_out);
        console.say(&self.announcement());
        if let Some(warning) = conditions.warning() {
            console.say(&warning);
        }
        let mut report = DeviceReport::begin(conditions, self.plan.clone());
        let mut trials = BTreeMap::new();
        for round in 1..=self.plan.rounds {
            self.round((&stage, &arm, console), &mut trials)?;
            console.say(&format!("round {round} of {}: {}", self.plan.rounds, in_words(&self.plan, &trials)));
            report.results = figures(&self.plan, &trials);
            folder.keep(&report.text(), &report)?;
        }
        console.say(&format!("\n{}", report.text()));
        console.say(&format!("Report: {}/report.txt and report.json", folder.path().display()));
        Ok(report)
    }

    fn round(
        &self,
        (stage, arm, console): (&DeviceTestbed, &DutInterface, &Console),
        trials: &mut Trials,
    ) -> Result<(), LabError> {
        for &dut in &self.plan.duts {
            let forwarded = stage.trial(dut, arm, console)?;
            trials.entry(dut).or_default().push(forwarded);
        }
        Ok(())
    }

    fn announcement(&self) -> String {
        let trials = self.plan.rounds * self.plan.duts.len() as u32;
        let time = (Duration::from_secs_f64(self.plan.seconds) + START) * trials;
        format!("{}\nThis takes about {}; Ctrl-C ends it.", self.place.instruction(), format_duration(time))
    }
}

/// The trials of each DUT, in the order they were made.
type Trials = BTreeMap<Dut, Vec<DeviceOutcome>>;

/// The last trial of each for the person who waits: "xdp 301.2 of 310.0, …".
fn in_words(plan: &DevicePlan, trials: &Trials) -> String {
    let last = |dut: &Dut| {
        let last = trials.get(dut)?.last()?;
        let [forwarded, received] = [last.forwarded_rate(), last.received_rate()].map(|rate| rate / 1e3);
        Some(format!("{} {forwarded:.1} of {received:.1}", dut.name()))
    };
    let words: Vec<_> = plan.duts.iter().filter_map(last).collect();
    format!("{} thousand frames/s forwarded", words.join(", "))
}
