//! Measurement with an external generator: DUTs forward on an interface of this machine, another machine sends.
//!
//! ```text
//!   another machine                              this machine
//!   generator ───────────── cable or switch ───────────── IF ──▶ DUT
//!   station ◀────────────── cable or switch ───────────── IF ◀───────┘
//! ```
//!
//! The generator sends continuously to IF's MAC address, TCP or UDP for [`SERVICE`](super::dut::SERVICE). All real
//! servers have the MAC address of one station, which may be the generator's own port: a switch learns it and does
//! not flood.
//!
//! An interface takes one XDP program, so DUTs run one after the other. Each trial starts its DUT, waits for frames,
//! counts, and ends the DUT. **A director begins each trial with an empty flow table.** The first frame of a UDP flow
//! and a SYN open a connection. Other TCP segments are dropped and reported as `no_connection`.
//!
//! The interface counts received and sent frames ([`counters`]). Later losses and latency are known to the generator
//! only.
//!
//! | file | holds |
//! |---|---|
//! | [`interface`] | the interface, opened and restored |
//! | [`counters`] | its counters |
//! | [`plan`] | the plan of the trials |
//! | [`trial`] | one trial |
//! | [`report`] | the report |

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
use crate::lab::{Console, Interrupt};
use crate::model::Diagnostic;
use interface::{DutInterface, DutPort};
use plan::DevicePlan;
use report::{DeviceReport, figures};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use trial::{DeviceOutcome, DeviceTestbed};

/// Overhead of a trial: a director probes its VIP before it serves.
const START: Duration = Duration::from_secs(3);

/// Request for a measurement with an external generator.
#[derive(Clone, Debug)]
pub struct DeviceRequest {
    /// Interface and next hop.
    pub port: DutPort,
    /// Plan of the trials.
    pub plan: DevicePlan,
    /// Report folder; `None` is `directrix-bench` in the working directory.
    pub out: Option<PathBuf>,
    /// DUTs that are left out, each with the reason.
    pub left_out: Vec<String>,
}

impl DeviceRequest {
    /// Runs all trials and prints progress to `console`. Writes the report after each round, so that an interruption
    /// loses one at most. `exe` is the directrix binary.
    ///
    /// # Errors
    /// `InvalidArgument` if the interface cannot be used or a DUT is repeated; `System` if a DUT fails,
    /// no frames arrive, or the report cannot be written; `Interrupted`. The interface is restored.
    pub fn run(
        &self,
        exe: PathBuf,
        console: &Console,
        interrupt: Interrupt,
    ) -> Result<DeviceReport, Diagnostic> {
        check_unique("--duts", self.plan.duts.iter().map(|dut| dut.name().to_owned()))?;
        let interface = DutInterface::open(&self.port)?;
        let testbed = DeviceTestbed::new(&self.plan, exe, interrupt)?;
        let folder = Folder::create(self.out.as_deref())?;
        let conditions = Conditions::here(interface.setting(testbed.core())).with_left_out(&self.left_out);
        report_left_out(console, &self.left_out);
        console.print(&self.announcement());
        if let Some(warning) = conditions.warning() {
            console.print(&warning);
        }
        let mut report = DeviceReport::empty(conditions, self.plan.clone());
        let mut trials = DeviceTrials::new();
        for round in 1..=self.plan.rounds {
            for &dut in &self.plan.duts {
                let outcome = testbed.trial(dut, &interface, console)?;
                trials.entry(dut).or_default().push(outcome);
            }
            console.print(&format!(
                "round {round} of {}: {}",
                self.plan.rounds,
                last_rates(&self.plan, &trials)
            ));
            report.results = figures(&self.plan, &trials);
            folder.write_text_and_json(&report.text(), &report)?;
        }
        console.print(&format!("\n{}", report.text()));
        console.print(&format!("Report: {}/report.txt and report.json", folder.path().display()));
        Ok(report)
    }

    fn announcement(&self) -> String {
        let trials = self.plan.rounds * self.plan.duts.len() as u32;
        let time = (Duration::from_secs_f64(self.plan.seconds) + START) * trials;
        format!("{}\nThis takes about {}; Ctrl-C ends it.", self.port.instruction(), format_duration(time))
    }
}

/// Outcomes of each DUT, in order of the trials.
type DeviceTrials = BTreeMap<Dut, Vec<DeviceOutcome>>;

/// Rates of the last round, for the console: "xdp 301.2 of 310.0, …".
fn last_rates(plan: &DevicePlan, trials: &DeviceTrials) -> String {
    let last = |dut: &Dut| {
        let last = trials.get(dut)?.last()?;
        let [forwarded, received] = [last.forwarded_rate(), last.received_rate()].map(|rate| rate / 1e3);
        Some(format!("{} {forwarded:.1} of {received:.1}", dut.name()))
    };
    let words: Vec<_> = plan.duts.iter().filter_map(last).collect();
    format!("{} thousand frames/s forwarded", words.join(", "))
}
