//! The drill: events, what the client has lost at each, and the verdict.

use super::super::console::Console;
use super::super::interrupt::Interrupt;
use super::DrillOptions;
use super::events::DrillEvent;
use super::holder::{HolderAnswer, HolderCommand};
use super::site::DrillSite;
use crate::model::Diagnostic;
use std::fmt;
use std::time::Duration;

/// Part of the connections that a failure may cost: one in so many.
const LOST_IN: usize = 1000;
/// Time after an event until the connections are checked: longer than any silence that is expected.
const AFTER: Duration = Duration::from_millis(500);

/// Outcome of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventResult {
    /// Event.
    pub event: DrillEvent,
    /// Connections before it.
    pub held: usize,
    /// Connections that did not go on.
    pub lost: usize,
    /// Longest time without an answer to datagrams of one a millisecond.
    pub silence: Duration,
    /// Datagrams without an answer.
    pub unanswered: u64,
}

/// Outcome of a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillReport {
    /// In the order of the events.
    pub results: Vec<EventResult>,
}

/// Builds two directors, strikes the master with each event, and takes everything down.
///
/// # Errors
/// A command fails, a process does not start, no director becomes master; `Interrupted`.
pub fn run(
    options: &DrillOptions,
    console: &Console,
    interrupt: &Interrupt,
) -> Result<DrillReport, Diagnostic> {
    let mut site = DrillSite::build(options, console, interrupt)?;
    let counts = |event| match event {
        DrillEvent::Kill => options.kills,
        DrillEvent::Upgrade => options.upgrades,
        _ => 1,
    };
    let events = DrillEvent::ALL.into_iter().flat_map(|event| std::iter::repeat_n(event, counts(event)));
    let mut results = Vec::new();
    for event in events {
        let result = strike(&mut site, event, options.connections)?;
        console.print(&result.to_string());
        results.push(result);
    }
    Ok(DrillReport { results })
}

fn strike(site: &mut DrillSite<'_>, event: DrillEvent, wanted: usize) -> Result<EventResult, Diagnostic> {
    site.wait_for_pair()?;
    let HolderAnswer { alive: held, .. } = site.ask(HolderCommand::Open(wanted))?;
    if held < wanted {
        return Err(Diagnostic::system(format!("the client has opened {held} of {wanted} connections")));
    }
    site.wait_for_sync()?;
    let master = site.master().ok_or_else(|| Diagnostic::system("no director is master"))?;
    site.ask(HolderCommand::Reset)?;
    begin(site, event, master)?;
    if event.moves_the_role() {
        site.wait_for_master(1 - master)?;
    }
    site.sleep(AFTER)?;
    let HolderAnswer { lost, silence_us, unanswered, .. } = site.ask(HolderCommand::Check)?;
    mend(site, event, master)?;
    Ok(EventResult { event, held, lost, silence: Duration::from_micros(silence_us), unanswered })
}

fn begin(site: &mut DrillSite<'_>, event: DrillEvent, master: usize) -> Result<(), Diagnostic> {
    let (member, runner) = site.member(master);
    match event {
        DrillEvent::PlannedSwitch => member.stop_keepalived(&runner),
        DrillEvent::Kill => {
            member.kill();
            Ok(())
        }
        DrillEvent::LinkPulled => site.set_port(master, "down"),
        DrillEvent::Restart => {
            member.stop_director(&runner)?;
            member.start_director(&runner)
        }
        DrillEvent::Upgrade => member.upgrade(&runner),
    }
}

/// Restores what the event has broken.
fn mend(site: &mut DrillSite<'_>, event: DrillEvent, struck: usize) -> Result<(), Diagnostic> {
    let (member, runner) = site.member(struck);
    match event {
        DrillEvent::PlannedSwitch => member.start_keepalived(&runner),
        DrillEvent::Kill => {
            member.start_director(&runner)?;
            member.start_keepalived(&runner)
        }
        DrillEvent::LinkPulled => site.set_port(struck, "up"),
        DrillEvent::Restart | DrillEvent::Upgrade => Ok(()),
    }
}

impl EventResult {
    /// True if no more was lost than the event may cost.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let may_lose = if self.event.loses_nothing() { 0 } else { self.held / LOST_IN };
        self.lost <= may_lose
    }
}

impl fmt::Display for EventResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, held, lost, silence, unanswered } = self;
        let verdict = if self.is_good() { "" } else { "  <- too many" };
        write!(
            f,
            "{event:<15} {lost:>5} of {held} lost, silence {:>7.1} ms, {unanswered} datagrams unanswered{verdict}",
            silence.as_secs_f64() * 1e3
        )
    }
}

impl DrillReport {
    /// True if each event is good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.results.iter().all(EventResult::is_good)
    }

    fn of(&self, event: DrillEvent) -> Vec<EventResult> {
        self.results.iter().filter(|result| result.event == event).copied().collect()
    }
}

impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DrillEvent::ALL.into_iter().try_for_each(|event| match &self.of(event)[..] {
            [] => Ok(()),
            [one] => writeln!(f, "{one}"),
            several => writeln!(f, "{}", Repeated(several)),
        })
    }
}

/// Several results of one event.
struct Repeated<'a>(&'a [EventResult]);

impl fmt::Display for Repeated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut silences: Vec<_> = self.0.iter().map(|of| of.silence.as_secs_f64() * 1e3).collect();
        silences.sort_by(f64::total_cmp);
        let at = |percent: usize| silences[(silences.len() * percent).div_ceil(100).max(1) - 1];
        let (event, count) = (self.0[0].event, self.0.len());
        let lost: usize = self.0.iter().map(|of| of.lost).sum();
        let good = if self.0.iter().all(EventResult::is_good) { "" } else { "  <- too many" };
        write!(
            f,
            "{}, {count} times: {lost} lost in all, silence in ms: min {:.1}, ",
            event.name(),
            silences[0]
        )?;
        write!(f, "p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1}; ", at(50), at(90), at(99), at(100))?;
        let unanswered = || self.0.iter().map(|of| of.unanswered);
        let (most, all) = (unanswered().max().unwrap_or_default(), unanswered().sum::<u64>());
        write!(f, "datagrams unanswered: {all}, {most} at most{good}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(event: DrillEvent, lost: usize, ms: u64) -> EventResult {
        EventResult { event, held: 1000, lost, silence: Duration::from_millis(ms), unanswered: ms }
    }

    #[test]
    fn a_failure_may_cost_one_in_a_thousand() {
        assert!(result(DrillEvent::Kill, 1, 40).is_good() && !result(DrillEvent::Kill, 2, 40).is_good());
        for event in [DrillEvent::PlannedSwitch, DrillEvent::Restart, DrillEvent::Upgrade] {
            assert!(result(event, 0, 40).is_good() && !result(event, 1, 40).is_good());
        }
    }

    #[test]
    fn several_kills_are_one_line_with_percentiles() {
        let mut results: Vec<_> = (1..=100).map(|ms| result(DrillEvent::Kill, 0, ms)).collect();
        results.push(result(DrillEvent::Restart, 1, 300));
        let report = DrillReport { results };
        assert_eq!(
            report.to_string(),
            "kill -9, 100 times: 0 lost in all, silence in ms: min 1.0, p50 50.0, p90 90.0, p99 99.0, max 100.0; \
             datagrams unanswered: 5050, 100 at most\n\
             restart             1 of 1000 lost, silence   300.0 ms, 300 datagrams unanswered  <- too many\n"
        );
        assert!(!report.is_good());
    }
}
