//! A fault made on purpose at the end of a lab, and the commands that name it.

use super::deployment::Deployment;
use super::host::LabHost;
use super::runner::command;
use super::step::Step;
use super::verdict::{RunFinding, RunOutcome};
use super::{Arp, LabOptions};
use crate::model::Diagnostic;
use std::process::Stdio;

/// The server that gets the fault: it answers ARP for the VIP.
const BROKEN: LabHost = LabHost::Rs2;

/// Output and success of a command.
struct AskOutput {
    text: String,
    is_good: bool,
}

impl Deployment {
    /// Asks auditor and doctor, which find nothing wrong; lets a real server answer ARP for the VIP, which the auditor names;
    /// and mends it. Does nothing in a lab that shows other faults, or has no IPv4.
    ///
    /// # Errors
    /// `System` if a command cannot be started; `Interrupted`.
    pub fn show_fault(&self) -> Result<Vec<RunFinding>, Diagnostic> {
        if !suits(self.options()) {
            return Ok(Vec::new());
        }
        let console = self.runner().console;
        console.heading("director: auditor and doctor");
        let (quiet, healthy) = (self.audit()?, self.doctor()?);
        console.heading(&format!("{BROKEN}: a fault on purpose, it answers ARP for the VIP"));
        self.set_arp_ignore(0)?;
        let broken = self.audit()?;
        console.heading(&format!("{BROKEN}: mended"));
        self.set_arp_ignore(1)?;
        let findings = vec![
            finding("the auditor finds nothing", quiet.is_good, "directrix audit"),
            finding("the doctor finds no error", healthy.is_good, "directrix doctor"),
            finding(
                "the auditor names the broken server",
                self.names_it(&broken),
                "with the line to type there",
            ),
        ];
        console.heading("findings");
        findings.iter().for_each(|finding| console.print(&finding.to_string()));
        Ok(findings)
    }

    /// An audit of its own: that of the running director takes minutes, as it spreads its questions.
    fn audit(&self) -> Result<AskOutput, Diagnostic> {
        let answer = self.ask(&["audit", "--config"])?;
        self.runner().console.quote(&answer.text);
        Ok(answer)
    }

    /// Shows what the doctor does not find in order.
    fn doctor(&self) -> Result<AskOutput, Diagnostic> {
        let answer = self.ask(&["doctor", "--config"])?;
        let is_shown = |line: &&str| !line.starts_with("ok ");
        answer.text.lines().filter(is_shown).for_each(|line| self.runner().console.quote(line));
        Ok(answer)
    }

    /// Runs a command of directrix on the director, with its configuration file.
    fn ask(&self, words: &[&str]) -> Result<AskOutput, Diagnostic> {
        let (exe, socket) = (self.options().exe.display().to_string(), self.socket().display().to_string());
        let file = self.file("director.toml").display().to_string();
        let all = [&exe, "--socket", &socket].into_iter().chain(words.iter().copied()).chain([file.as_str()]);
        let step = self.step(LabHost::Director, all);
        self.interrupt().check()?;
        self.runner().console.print(&step.to_string());
        let output = command(&step).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Diagnostic::io(step.to_string(), &error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(AskOutput { text, is_good: output.status.success() })
    }

    fn set_arp_ignore(&self, value: u8) -> Result<(), Diagnostic> {
        let key = format!("net.ipv4.conf.all.arp_ignore={value}");
        let lo = format!("net.ipv4.conf.lo.arp_ignore={value}");
        let step: Step = self.step(BROKEN, ["sysctl", "-qw", &key, &lo]);
        self.runner().output(&step).map(drop)
    }

    /// True if an audit names the broken server, and what to type there.
    fn names_it(&self, audit: &AskOutput) -> bool {
        let rip = BROKEN.address(self.options().layout).map(|rip| rip.to_string()).unwrap_or_default();
        !audit.is_good && audit.text.contains(&rip) && audit.text.contains("arp_ignore=1")
    }
}

/// Whether the real servers are silent by the usual sysctls.
fn suits(options: &LabOptions) -> bool {
    options.arp == Arp::Sysctl && options.family.has_ipv4()
}

fn finding(what: &'static str, is_good: bool, figures: &str) -> RunFinding {
    let outcome = if is_good { RunOutcome::Ok } else { RunOutcome::Failed };
    RunFinding { what, outcome, figures: figures.to_owned() }
}
