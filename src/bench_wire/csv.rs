//! Report as CSV: one figure a line.

use super::report::BenchReport;
use super::results::{DutFigures, LatencyQuantiles};
use super::statistics::Spread;

/// Column names. `at` is the offered rate in frames a second, or the share of the NDR for `latency_under_load_ns`.
/// Empty for a measure with one value.
const HEAD: &str = "flows,servers,frame_bytes,kind,forwarder,measure,at,statistic,value";

/// Formats all figures of `report`.
#[must_use]
pub fn text(report: &BenchReport) -> String {
    let mut text = format!("{HEAD}\n");
    for results in &report.results {
        let traffic = &results.traffic;
        let kind = traffic.kind.name();
        let head = format!("{},{},{},{kind}", traffic.flows, traffic.servers, traffic.frame_len);
        for figures in &results.duts {
            for Row { measure, at, statistic, value } in rows(figures) {
                let (forwarder, at) = (figures.dut.name(), at.map_or(String::new(), |at| at.to_string()));
                text += &format!("{head},{forwarder},{measure},{at},{statistic},{value}\n");
            }
        }
    }
    text
}

/// Columns of a line that vary within one DUT.
struct Row {
    measure: &'static str,
    at: Option<f64>,
    statistic: &'static str,
    value: f64,
}

fn rows(figures: &DutFigures) -> Vec<Row> {
    let (highest, overload, low) = (&figures.highest, &figures.overload, &figures.low);
    let mut rows = spread("offered_at_full_speed_fps", None, highest.offered);
    rows.extend(spread("delivered_at_full_speed_fps", None, highest.delivered));
    rows.extend(highest.to_l2fwd.into_iter().flat_map(|ratio| spread("delivered_to_l2fwd", None, ratio)));
    rows.extend(figures.curve.iter().map(|point| Row {
        measure: "curve_delivered_fps",
        at: Some(point.offered),
        statistic: "median",
        value: point.delivered,
    }));
    rows.extend(spread("overload_delivered_fps", Some(overload.offered), overload.delivered));
    rows.push(Row { measure: "ndr_fps", at: None, statistic: "value", value: figures.ndr.rate as f64 });
    for level in &figures.loaded {
        rows.extend(latency("latency_under_load_ns", level.of_ndr, &level.latency));
    }
    rows.extend(latency("latency_at_low_rate_ns", low.latency.offered, &low.latency));
    rows
}

fn spread(measure: &'static str, at: Option<f64>, spread: Spread) -> Vec<Row> {
    let Spread { min, q1, median, q3, max } = spread;
    let named = [("min", min), ("q1", q1), ("median", median), ("q3", q3), ("max", max)];
    named.map(|(statistic, value)| Row { measure, at, statistic, value }).into()
}

fn latency(measure: &'static str, at: f64, latency: &LatencyQuantiles) -> impl Iterator<Item = Row> {
    let percentiles = latency.percentiles().into_iter();
    percentiles.map(move |(statistic, value)| Row { measure, at: Some(at), statistic, value: value as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake::report;

    #[test]
    fn lines_have_all_columns_and_figures() {
        let report = report();
        let text = text(&report);
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert!(lines.iter().all(|line| line.len() == HEAD.split(',').count()), "{text}");
        let figures = &report.results[0].duts[0];
        let of = |measure: &str| {
            let found = lines.iter().filter(|line| line[4] == figures.dut.name() && line[5] == measure);
            found.map(|line| (line[6].parse().ok(), line[7], line[8].parse().unwrap())).collect::<Vec<_>>()
        };
        let delivered: Vec<(Option<f64>, _, f64)> = of("delivered_at_full_speed_fps");
        assert_eq!(delivered[2], (None, "median", figures.highest.delivered.median));
        let curve: Vec<_> = figures.curve.iter().map(|p| (Some(p.offered), "median", p.delivered)).collect();
        assert_eq!(of("curve_delivered_fps"), curve);
        assert_eq!(of("ndr_fps"), [(None, "value", figures.ndr.rate as f64)]);
        assert_eq!(of("latency_under_load_ns").len(), 5 * figures.loaded.len());
        assert_eq!(of("latency_at_low_rate_ns")[2].2, figures.low.latency.p99 as f64);
    }
}
