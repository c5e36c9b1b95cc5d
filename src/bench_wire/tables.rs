//! Report as text, for the terminal and `report.txt`.

use super::conditions::Conditions;
use super::report::BenchReport;
use super::results::{DutFigures, LatencyQuantiles, Results};
use super::statistics::Spread;
use super::trial::{Traffic, TrafficKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Formats the whole report.
#[must_use]
pub fn text(report: &BenchReport) -> String {
    let plan = &report.plan;
    let rounds = if plan.rounds == 1 { "round" } else { "rounds" };
    let trials =
        format!("{} s each; {} {rounds}, {} for curves", plan.seconds, plan.rounds, plan.curve_rounds);
    let mut text = conditions(&report.conditions, trials);
    for results in &report.results {
        text += &traffic(results);
    }
    text
}

/// Formats the conditions and the description of the trials.
pub(super) fn conditions(here: &Conditions, trials: String) -> String {
    let machine = if here.virtual_machine { "virtual machine" } else { "no virtual machine" };
    let lines = [
        ("directrix", here.directrix.clone()),
        ("command", here.command.clone()),
        ("date", here.date.clone()),
        ("system", here.kernel.clone()),
        ("processor", format!("{}, {} cores online, {machine}", here.cpu, here.cores)),
        ("load", format!("{:.2} in the minute before", here.load_average)),
        ("testbed", here.setting.clone()),
        ("trials", trials),
    ];
    let left_out = here.left_out.iter().map(|why| ("left out", why.clone()));
    lines.into_iter().chain(left_out).fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<12} {value}");
        text
    })
}

/// Heading of a traffic pattern: "65536 flows, 100 servers, 60-byte frames, established".
#[must_use]
pub fn heading(traffic: &Traffic) -> String {
    let kind = match traffic.kind {
        TrafficKind::Established => "established",
        TrafficKind::Flood => "SYN flood",
        TrafficKind::Mixed => "half established, half SYN flood",
    };
    let Traffic { flows, servers, frame_len, .. } = traffic;
    format!("{flows} flows, {servers} servers, {frame_len}-byte frames, {kind}")
}

fn traffic(results: &Results) -> String {
    let sections = [highest, overload, ndr, loaded, low, cores];
    let sections = sections.map(|section| section(&results.duts));
    format!("\n# {}\n\n{}", heading(&results.traffic), sections.join("\n"))
}

fn highest(duts: &[DutFigures]) -> String {
    let title = "Highest rate, thousand frames/s: offered at full speed; ratio to l2fwd round by round";
    let heads = ["", "offered", "delivered", "min", "q1", "q3", "max", "x l2fwd", "q1", "q3"];
    let row = |figures: &DutFigures| {
        let (offered, delivered) = (&figures.highest.offered, &figures.highest.delivered);
        let mut row = vec![name(figures), thousands(offered.median), thousands(delivered.median)];
        row.extend([delivered.min, delivered.q1, delivered.q3, delivered.max].map(thousands));
        row.extend(ratio(figures.highest.to_l2fwd));
        row
    };
    table(title, &heads, duts.iter().map(row))
}

fn overload(duts: &[DutFigures]) -> String {
    let title = "Overload, thousand frames/s: kept is delivered over that at the peak, round by round";
    let heads = ["", "peak at", "offered", "x peak", "delivered", "kept", "q1", "q3", "lost, % of sent"];
    let row = |figures: &DutFigures| {
        let overload = &figures.overload;
        let mut row = vec![name(figures), thousands(overload.peak.offered), thousands(overload.offered)];
        row.extend([format!("{:.1}", overload.times), thousands(overload.delivered.median)]);
        row.extend(ratio(overload.to_peak));
        row.push(causes(&overload.losses));
        row
    };
    table(title, &heads, duts.iter().map(row))
}

fn ndr(duts: &[DutFigures]) -> String {
    let title = "Rate without loss (NDR), thousand frames/s: binary search, losses verified";
    let heads = ["", "NDR", "within", "x peak", "lossless confirmations", "trials"];
    let row = |figures: &DutFigures| {
        let ndr = &figures.ndr;
        let of_peak = ndr.rate as f64 / figures.overload.peak.delivered.max(1.0);
        vec![
            name(figures),
            thousands(ndr.rate as f64),
            thousands(ndr.within as f64),
            format!("{of_peak:.2}"),
            format!("{} of {}", ndr.lossless, ndr.confirmations),
            ndr.trials.to_string(),
        ]
    };
    table(title, &heads, duts.iter().map(row))
}

fn loaded(duts: &[DutFigures]) -> String {
    let title = "Latency under load, us, generator to sink";
    let heads = ["", "% of NDR", "k/s", "p50", "p90", "p99", "p99.9", "max", "frames timed"];
    let rows = duts.iter().flat_map(|figures| {
        figures.loaded.iter().map(|level| {
            let share = format!("{:.0}", level.of_ndr * 100.0);
            let mut row = vec![name(figures), share];
            row.extend(latency(&level.latency));
            row
        })
    });
    table(title, &heads, rows)
}

fn low(duts: &[DutFigures]) -> String {
    let title = "Latency at one low rate, us; compared with l2fwd round by round";
    let heads = [
        "",
        "k/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "frames timed",
        "added p50",
        "q1",
        "q3",
        "p99 x l2fwd",
        "q1",
        "q3",
    ];
    let row = |figures: &DutFigures| {
        let mut row = vec![name(figures)];
        row.extend(latency(&figures.low.latency));
        row.extend(three(figures.low.added_p50, |ns| format!("{:+.2}", ns / 1e3)));
        row.extend(ratio(figures.low.p99_to_l2fwd));
        row
    };
    table(title, &heads, duts.iter().map(row))
}

fn cores(duts: &[DutFigures]) -> String {
    let title = "Cores, % busy at full speed, and cost of a delivered frame on the DUT's core";
    let count = duts.iter().map(|figures| figures.highest.cores.len()).max().unwrap_or(0);
    let mut heads = vec![String::new()];
    heads.extend((0..count).map(|core| format!("core {core}")));
    heads.extend(["cycles".into(), "instructions".into()]);
    let row = |figures: &DutFigures| {
        let share = |core: usize| figures.highest.cores.get(core).map(|busy| format!("{:.0}", busy * 100.0));
        let cost = figures.highest.per_frame;
        let mut row = vec![name(figures)];
        row.extend((0..count).map(|core| share(core).unwrap_or_else(none)));
        row.push(cost.map_or_else(not_counted, |cost| format!("{:.0}", cost.cycles)));
        row.push(cost.map_or_else(not_counted, |cost| format!("{:.0}", cost.instructions)));
        row
    };
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    table(title, &heads, duts.iter().map(row))
}

fn name(figures: &DutFigures) -> String {
    figures.dut.name().to_owned()
}

pub(super) fn thousands(rate: f64) -> String {
    format!("{:.1}", rate / 1e3)
}

fn micros(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e3)
}

fn none() -> String {
    "-".to_owned()
}

fn not_counted() -> String {
    "not counted".to_owned()
}

pub(super) fn ratio(spread: Option<Spread>) -> [String; 3] {
    three(spread, |ratio| format!("{ratio:.3}"))
}

fn three(spread: Option<Spread>, format: impl Fn(f64) -> String) -> [String; 3] {
    spread.map_or_else(|| [none(), none(), none()], |s| [s.median, s.q1, s.q3].map(format))
}

fn latency(latency: &LatencyQuantiles) -> Vec<String> {
    let mut cells = vec![thousands(latency.offered)];
    cells.extend(latency.percentiles().map(|(_, ns)| micros(ns)));
    cells.push(latency.samples.to_string());
    cells
}

pub(super) fn causes(losses: &BTreeMap<String, f64>) -> String {
    let mut causes: Vec<_> = losses.iter().collect();
    causes.sort_by(|a, b| b.1.total_cmp(a.1));
    let words: Vec<_> =
        causes.iter().map(|(cause, share)| format!("{cause} {:.2}", *share * 100.0)).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// Formats a table. The first column is left-aligned, as is a last column of words; the others are right-aligned.
pub(super) fn table(title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let widths = (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max());
    let widths: Vec<usize> = widths.map(Option::unwrap_or_default).collect();
    let words = rows[0].last().is_some_and(|head| head.starts_with("lost"));
    let mut table = format!("{title}\n");
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let left = column == 0 || words && column + 1 == row.len();
            if left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        table += &format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let rows = [["xdp", "301.2", "ring_full 75.00"], ["hairpin", "1201.0", "nothing"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let drawn = table("Title", &["", "k/s", "lost, %"], rows.into_iter());
        let expected = "Title\n              k/s  lost, %\n  xdp       301.2  ring_full 75.00\n  hairpin  1201.0  nothing\n";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn largest_cause_of_loss_comes_first() {
        let losses = [("elsewhere", 0.001), ("ring_full", 0.75)];
        let losses = losses.map(|(cause, share)| (cause.to_owned(), share)).into();
        assert_eq!(causes(&losses), "ring_full 75.00, elsewhere 0.10");
        assert_eq!(causes(&BTreeMap::new()), "nothing");
    }

    #[test]
    fn missing_figures_are_dashes() {
        assert_eq!(ratio(None), ["-", "-", "-"]);
        let spread = Spread { min: 0.9, q1: 0.95, median: 1.0, q3: 1.05, max: 1.1 };
        assert_eq!(ratio(Some(spread)), ["1.000", "0.950", "1.050"]);
    }
}
