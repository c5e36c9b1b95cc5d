//! Report as SVG plots.

use super::conditions::Conditions;
use super::report::BenchReport;
use super::results::{DutFigures, LatencyQuantiles, Results};
use super::tables::heading;
use super::trial::{Dut, Traffic, TrafficKind};
use crate::model::Diagnostic;
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// Width and height of a plot, in pixels.
const SIZE: (u32, u32) = (900, 520);

/// Width of a letter in a legend, in pixels, on average.
const LETTER: i32 = 7;

const FONT: &str = "sans-serif";

const GRID: RGBColor = RGBColor(225, 225, 225);

const LOSSLESS: RGBColor = RGBColor(120, 120, 120);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

type Drawn = Result<(), Box<dyn std::error::Error>>;

type Draw = fn(&Area<'_>, &Results) -> Drawn;

type Percentile = fn(&LatencyQuantiles) -> u64;

/// Draws all plots of `report`: file names and SVG texts.
///
/// # Errors
/// `System` if a plot cannot be drawn.
pub fn all(report: &BenchReport) -> Result<Vec<(String, String)>, Diagnostic> {
    let kinds: [(&str, Draw); 3] = [("highest", highest), ("curve", curves), ("latency", latencies)];
    let mut plots = Vec::new();
    for results in &report.results {
        for (kind, draw) in kinds {
            let svg = plot(results, &below(&report.conditions), draw)
                .map_err(|error| Diagnostic::system(format!("cannot draw the {kind} plot: {error}")))?;
            plots.push((file_name(kind, &results.traffic), svg));
        }
    }
    Ok(plots)
}

fn file_name(plot: &str, traffic: &Traffic) -> String {
    let kind = match traffic.kind {
        TrafficKind::Established => String::new(),
        kind => format!("-{}", kind.name()),
    };
    format!("{plot}-{}-flows{kind}.svg", traffic.flows)
}

/// Footer of a plot: machine, kernel and date.
fn below(here: &Conditions) -> String {
    let day = here.date.split('T').next().unwrap_or_default();
    format!("{}, {} cores; {}; directrix {}; {day}", here.cpu, here.cores, here.kernel, here.directrix)
}

fn plot(results: &Results, below: &str, draw: Draw) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let height = area.dim_in_pixel().1 as i32;
        let style = (FONT, 12).into_text_style(&area).color(&LOSSLESS);
        area.draw_text(below, &style, (12, height - 18))?;
        draw(&area.margin(8, 24, 8, 24), results)?;
        area.present()?;
    }
    Ok(svg)
}

/// Palette for all kinds of colour vision (Okabe and Ito, 2008).
fn colour(dut: Dut) -> RGBColor {
    match dut {
        Dut::Xdp | Dut::External => RGBColor(0, 114, 178),
        Dut::Packet => RGBColor(230, 159, 0),
        Dut::L2fwd => RGBColor(213, 94, 0),
        Dut::Hairpin => RGBColor(0, 158, 115),
        Dut::Nft => RGBColor(204, 121, 167),
    }
}

/// Name in a legend and below a bar.
fn label(dut: Dut) -> &'static str {
    match dut {
        Dut::Xdp => "directrix, AF_XDP",
        Dut::Packet => "directrix, AF_PACKET",
        Dut::L2fwd => "bare AF_XDP forwarder",
        Dut::Hairpin => "XDP_TX program",
        Dut::Nft => "nftables",
        Dut::External => "device",
    }
}

/// Label of a segment of the x axis: that of its DUT at the centre, empty elsewhere.
fn bar_label(duts: &[DutFigures], segment: &SegmentValue<usize>) -> String {
    match segment {
        SegmentValue::CenterOf(place) => duts.get(*place).map_or("", |figures| label(figures.dut)).to_owned(),
        _ => String::new(),
    }
}

/// Bars of the median, with quartiles as a thick line and extremes as a thin one.
fn highest(area: &Area<'_>, results: &Results) -> Drawn {
    let duts = &results.duts;
    let top = duts.iter().map(|figures| figures.highest.delivered.max / 1e3).fold(1.0, f64::max);
    let head = Head {
        title: "Throughput: frames delivered while the generator sends at full speed",
        traffic: &results.traffic,
        note: SPREAD,
        legend: &[],
    };
    let area = head.draw(area)?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((0..duts.len() - 1).into_segmented(), 0.0..top * 1.1)?;
    let mut mesh = chart.configure_mesh();
    styled(&mut mesh)
        .disable_x_mesh()
        .x_label_formatter(&|segment| bar_label(duts, segment))
        .y_label_formatter(&|rate| grouped(*rate))
        .y_desc("delivered, thousand frames/s")
        .draw()?;
    for (place, figures) in duts.iter().enumerate() {
        let spread = figures.highest.delivered;
        let [min, q1, median, q3, max] =
            [spread.min, spread.q1, spread.median, spread.q3, spread.max].map(|rate| rate / 1e3);
        let centre = SegmentValue::CenterOf(place);
        let corners = [(SegmentValue::Exact(place), 0.0), (SegmentValue::Exact(place + 1), median)];
        let mut bar = Rectangle::new(corners, colour(figures.dut).mix(0.75).filled());
        bar.set_margin(0, 0, 28, 28);
        chart.draw_series([bar])?;
        let line = |from, to, width| {
            PathElement::new([(centre.clone(), from), (centre.clone(), to)], BLACK.stroke_width(width))
        };
        chart.draw_series([line(min, max, 1), line(q1, q3, 5)])?;
        let above = (FONT, 14).into_text_style(&area).pos(Pos::new(HPos::Center, VPos::Bottom));
        chart.draw_series([Text::new(grouped(median), (centre, max + top * 0.01), above)])?;
    }
    Ok(())
}

/// Delivered against offered rate, on logarithmic axes, for DUTs of very different speed.
fn curves(area: &Area<'_>, results: &Results) -> Drawn {
    let points = |figures: &DutFigures| -> Vec<(f64, f64)> {
        figures.curve.iter().map(|point| (point.offered / 1e3, point.delivered / 1e3)).collect()
    };
    let all: Vec<_> = results.duts.iter().flat_map(points).collect();
    let (x, y) = (range(all.iter().map(|point| point.0)), range(all.iter().map(|point| point.1)));
    let lossless = [(x.start.max(y.start), x.start.max(y.start)), (x.end.min(y.end), x.end.min(y.end))];
    let mut legend = legend(results, |_| true);
    legend.push(("no loss", LOSSLESS));
    let head = Head {
        title: "Throughput: frames delivered against frames offered, both axes logarithmic",
        traffic: &results.traffic,
        note: "",
        legend: &legend,
    };
    let area = head.draw(area)?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(80)
        .build_cartesian_2d(LogAxis::over(x), LogAxis::over(y))?;
    let mut mesh = chart.configure_mesh();
    mesh.x_label_formatter(&|rate| grouped(*rate)).y_label_formatter(&|rate| grouped(*rate));
    styled(&mut mesh).x_desc("offered, thousand frames/s").y_desc("delivered, thousand frames/s").draw()?;
    chart.draw_series(DashedLineSeries::new(lossless, 6, 5, LOSSLESS.stroke_width(1)))?;
    for figures in &results.duts {
        let mut points = points(figures);
        points.sort_by(|a, b| a.0.total_cmp(&b.0)); // a preempted generator offers less than intended
        line(&mut chart, figures.dut, points)?;
    }
    Ok(())
}

/// Latency against load, one panel for each percentile with the same axes.
fn latencies(area: &Area<'_>, results: &Results) -> Drawn {
    let panels: [(&str, Percentile); 3] =
        [("median", |l| l.p50), ("99th percentile", |l| l.p99), ("99.9th percentile", |l| l.p999)];
    let levels = results.duts.iter().flat_map(|figures| &figures.loaded);
    let times = range(levels.flat_map(|level| panels.map(|(_, of)| of(&level.latency) as f64 / 1e3)));
    let head = Head {
        title: "Latency from generator to sink under load, where a rate without loss (NDR) was found",
        traffic: &results.traffic,
        note: "",
        legend: &legend(results, |figures| !figures.loaded.is_empty()),
    };
    let area = head.draw(area)?;
    let shares = area.split_evenly((1, panels.len()));
    for (place, (share, (name, of))) in shares.iter().zip(panels).enumerate() {
        let mut chart = ChartBuilder::on(share)
            .margin_right(12)
            .caption(name, (FONT, 15))
            .x_label_area_size(48)
            .y_label_area_size(if place == 0 { 80 } else { 52 })
            .build_cartesian_2d(0.0..100.0, LogAxis::over(times.clone()))?;
        let mut mesh = chart.configure_mesh();
        if place == 0 {
            mesh.y_desc("time, µs (logarithmic)");
        }
        mesh.x_labels(5)
            .x_label_formatter(&|share| format!("{share:.0}"))
            .y_label_formatter(&|time| grouped(*time));
        styled(&mut mesh).x_desc("load, % of own NDR").draw()?;
        for figures in &results.duts {
            let points = figures.loaded.iter();
            let points =
                points.map(|level| (level.of_ndr * 100.0, of(&level.latency) as f64 / 1e3)).collect();
            line(&mut chart, figures.dut, points)?;
        }
    }
    Ok(())
}

/// A logarithmic axis with marks at 1, 2 and 5. The axis of the library marks some decades twice.
struct LogAxis {
    scale: LogCoord<f64>,
    range: Range<f64>,
}

impl LogAxis {
    fn over(range: Range<f64>) -> Self {
        Self { scale: range.clone().log_scale().into(), range }
    }
}

impl Ranged for LogAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.scale.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let marks = marks(&self.range);
        if marks.len() <= hint.max_num_points() {
            return marks;
        }
        marks.into_iter().filter(|mark| mark.log10().fract() == 0.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// Marks at 1, 2 and 5 of each decade within `range`, ascending.
fn marks(range: &Range<f64>) -> Vec<f64> {
    let (first, last) = (range.start.log10().floor() as i32, range.end.log10().ceil() as i32);
    let decades = (first..=last).flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| (digit, decade)));
    let marks = decades.map(|(digit, decade)| mark(digit, decade));
    marks.filter(|mark| (range.start..=range.end).contains(mark)).collect()
}

/// Returns `digit` · 10^`decade`. Divides rather than multiplies by a fraction: 0.2 and not 0.20000000000000001.
fn mark(digit: f64, decade: i32) -> f64 {
    if decade < 0 { digit / 10_f64.powi(-decade) } else { digit * 10_f64.powi(decade) }
}

/// Draws a line with its points.
fn line<'a, X: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, LogAxis>>,
    dut: Dut,
    points: Vec<(f64, f64)>,
) -> Drawn {
    let colour = colour(dut);
    chart.draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?;
    Ok(())
}

/// Explanation of the lines on a bar.
const SPREAD: &str = "; bar: median, thick line: quartiles, thin line: extremes";

/// Head of a plot: title, traffic with a note, and legend.
struct Head<'a> {
    title: &'a str,
    traffic: &'a Traffic,
    note: &'a str,
    legend: &'a [(&'a str, RGBColor)],
}

impl Head<'_> {
    /// Draws the head at the top of `area`. Returns the area below.
    fn draw<'b>(&self, area: &Area<'b>) -> Result<Area<'b>, Box<dyn std::error::Error>> {
        let (head, body) = area.split_vertically(if self.legend.is_empty() { 60 } else { 84 });
        let style = |size| (FONT, size).into_text_style(&head);
        head.draw_text(self.title, &style(22), (12, 2))?;
        head.draw_text(&format!("{}{}", heading(self.traffic), self.note), &style(14), (12, 32))?;
        let mut x = 12;
        for (name, colour) in self.legend {
            head.draw(&Rectangle::new([(x, 62), (x + 16, 66)], colour.filled()))?;
            head.draw_text(name, &style(14), (x + 22, 57))?;
            x += LETTER * name.len() as i32 + 46;
        }
        Ok(body)
    }
}

/// Name and colour of each DUT that is `drawn`, in order.
fn legend(results: &Results, drawn: fn(&DutFigures) -> bool) -> Vec<(&'static str, RGBColor)> {
    let drawn = results.duts.iter().filter(|figures| drawn(figures));
    drawn.map(|figures| (label(figures.dut), colour(figures.dut))).collect()
}

/// Range of the positive `values` with a margin, for a logarithmic axis.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, greatest) = values
        .filter(|value| *value > 0.0)
        .fold((f64::MAX, 0.0_f64), |(least, greatest), value| (least.min(value), greatest.max(value)));
    if greatest == 0.0 { 1.0..10.0 } else { least * 0.8..greatest * 1.25 }
}

/// Formats a number for a label, with commas between thousands. Only numbers below 1 have a fraction.
fn grouped(value: f64) -> String {
    if value > 0.0 && value < 1.0 {
        return format!("{value}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Common style of all plots.
fn styled<'b, 'a: 'b, 'm, X: Ranged, Y: Ranged>(
    mesh: &'b mut MeshStyle<'a, 'm, X, Y, SVGBackend<'a>>,
) -> &'b mut MeshStyle<'a, 'm, X, Y, SVGBackend<'a>> {
    mesh.bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 14))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake::report;
    use clap::ValueEnum;

    #[test]
    fn logarithmic_axis_has_unique_round_marks() {
        let written =
            |range: Range<f64>| marks(&range).into_iter().map(grouped).collect::<Vec<_>>().join(" ");
        assert_eq!(written(70.0..6000.0), "100 200 500 1,000 2,000 5,000");
        assert_eq!(written(0.02..1.5), "0.02 0.05 0.1 0.2 0.5 1");
        assert_eq!(written(1_000_000.0..1_900_000.0), "1,000,000");
    }

    #[test]
    fn plots_have_no_overlapping_texts() {
        for (name, svg) in all(&report()).unwrap() {
            let texts: Vec<_> =
                svg.split("<text ").skip(1).map(|text| &text[..text.find("</text>").unwrap()]).collect();
            let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
            assert!(texts.len() > 10, "{name}: {texts:?}");
            assert_eq!(texts.len(), distinct.len(), "{name}: {texts:#?}");
        }
    }

    #[test]
    fn every_legend_fits_its_plot() {
        let names = Dut::value_variants().iter().map(|dut| label(*dut));
        let width: i32 = names.chain(["no loss"]).map(|name| LETTER * name.len() as i32 + 46).sum();
        assert!(width + 12 <= SIZE.0 as i32, "{width}");
    }

    #[test]
    fn range_of_a_logarithmic_axis_is_positive() {
        assert_eq!(range([0.0, 0.0].into_iter()), 1.0..10.0);
        let range = range([0.0, 10.0, 100.0].into_iter());
        assert!(range.start > 0.0 && range.start < 10.0 && range.end > 100.0);
    }
}
