//! The report as pictures: SVG files that a browser shows.

use super::conditions::Conditions;
use super::report::Report;
use super::results::{Figures, Latency, Loaded, Results};
use super::tables::heading;
use super::trial::{Contender, Kind, Traffic};
use crate::lab::LabError;
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (900, 520);

const FONT: &str = "sans-serif";

const GRID: RGBColor = RGBColor(225, 225, 225);

const LOSSLESS: RGBColor = RGBColor(120, 120, 120);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

type Drawn = Result<(), Box<dyn std::error::Error>>;

type Draw = fn(&Area<'_>, &Results) -> Drawn;

type Percentile = fn(&Latency) -> u64;

/// Every picture of `report`: file name and SVG text.
///
/// # Errors
/// [`LabError::Failed`] if one cannot be drawn.
pub fn all(report: &Report) -> Result<Vec<(String, String)>, LabError> {
    let kinds: [(&str, Draw); 3] = [("highest", highest), ("curve", curves), ("latency", latencies)];
    let mut pictures = Vec::new();
    for results in &report.results {
        for (kind, draw) in kinds {
            let svg = picture(results, &below(&report.conditions), draw)
                .map_err(|error| LabError::Failed(format!("cannot draw the {kind} plot: {error}")))?;
            pictures.push((file_name(kind, &results.traffic), svg));
        }
    }
    Ok(pictures)
}

fn file_name(plot: &str, traffic: &Traffic) -> String {
    let kind = match traffic.kind {
        Kind::Established => "",
        Kind::Flood => "-flood",
        Kind::Mixed => "-mixed",
    };
    format!("{plot}-{}-flows{kind}.svg", traffic.flows)
}

/// Machine, kernel and day, for whoever sees a picture without its report.
fn below(here: &Conditions) -> String {
    let day = here.date.split('T').next().unwrap_or_default();
    format!("{}, {} cores; {}; directrix {}; {day}", here.cpu, here.cores, here.kernel, here.directrix)
}

fn picture(results: &Results, below: &str, draw: Draw) -> Result<String, Box<dyn std::error::Error>> {
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

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008).
fn colour(contender: Contender) -> RGBColor {
    match contender {
        Contender::Xdp | Contender::External => RGBColor(0, 114, 178),
        Contender::Packet => RGBColor(230, 159, 0),
        Contender::L2fwd => RGBColor(213, 94, 0),
        Contender::Hairpin => RGBColor(0, 158, 115),
        Contender::Nft => RGBColor(204, 121, 167),
    }
}

/// Bars of the median, from quartile to quartile a thick line, from least to greatest a thin one.
fn highest(area: &Area<'_>, results: &Results) -> Drawn {
    let contenders = &results.contenders;
    let top = contenders.iter().map(|figures| figures.highest.delivered.max / 1e3).fold(1.0, f64::max);
    let names = |segment: &SegmentValue<usize>| match segment {
        SegmentValue::CenterOf(place) => contenders.get(*place).map_or("", |f| f.contender.name()).to_owned(),
        _ => String::new(),
    };
    let area = titled(area, "Delivered at full speed of the generator", (results, &[]))?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((0..contenders.len() - 1).into_segmented(), 0.0..top * 1.1)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().x_label_formatter(&names).y_label_formatter(&|rate| format!("{rate:.0}"));
    styled(&mut mesh).y_desc("thousand frames/s: median, quartiles, extremes").draw()?;
    for (place, figures) in contenders.iter().enumerate() {
        let spread = figures.highest.delivered;
        let [min, q1, median, q3, max] =
            [spread.min, spread.q1, spread.median, spread.q3, spread.max].map(|rate| rate / 1e3);
        let centre = SegmentValue::CenterOf(place);
        let corners = [(SegmentValue::Exact(place), 0.0), (SegmentValue::Exact(place + 1), median)];
        let mut bar = Rectangle::new(corners, colour(figures.contender).mix(0.75).filled());
        bar.set_margin(0, 0, 28, 28);
        chart.draw_series([bar])?;
        let line = |from, to, width| {
            PathElement::new([(centre.clone(), from), (centre.clone(), to)], BLACK.stroke_width(width))
        };
        chart.draw_series([line(min, max, 1), line(q1, q3, 5)])?;
        let above = (FONT, 14).into_text_style(&area).pos(Pos::new(HPos::Center, VPos::Bottom));
        chart.draw_series([Text::new(format!("{median:.1}"), (centre, max + top * 0.01), above)])?;
    }
    Ok(())
}

/// Delivered against offered, both logarithmic, so that contenders of unlike speed can be seen.
fn curves(area: &Area<'_>, results: &Results) -> Drawn {
    let points = |figures: &Figures| -> Vec<(f64, f64)> {
        figures.curve.iter().map(|point| (point.offered / 1e3, point.delivered / 1e3)).collect()
    };
    let all: Vec<_> = results.contenders.iter().flat_map(points).collect();
    let (x, y) = (range(all.iter().map(|point| point.0)), range(all.iter().map(|point| point.1)));
    let lossless = [(x.start.max(y.start), x.start.max(y.start)), (x.end.min(y.end), x.end.min(y.end))];
    let mut legend = legend(results);
    legend.push(("nothing lost", LOSSLESS));
    let area = titled(area, "Delivered against offered, both axes logarithmic", (results, &legend))?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(80)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.x_label_formatter(&|rate| tick(*rate)).y_label_formatter(&|rate| tick(*rate));
    styled(&mut mesh).x_desc("offered, thousand frames/s").y_desc("delivered, thousand frames/s").draw()?;
    chart.draw_series(DashedLineSeries::new(lossless, 6, 5, LOSSLESS.stroke_width(1)))?;
    for figures in &results.contenders {
        let mut points = points(figures);
        points.sort_by(|a, b| a.0.total_cmp(&b.0)); // a generator that is kept from its work makes less than asked
        line(&mut chart, figures.contender, points)?;
    }
    Ok(())
}

/// One panel for each percentile, the same axes for all.
fn latencies(area: &Area<'_>, results: &Results) -> Drawn {
    let panels: [(&str, Percentile); 3] =
        [("median", |l| l.p50), ("99th percentile", |l| l.p99), ("99.9th percentile", |l| l.p999)];
    let levels = || results.contenders.iter().flat_map(|figures| &figures.loaded);
    let all = levels().flat_map(|level| panels.map(|(_, of)| of(&level.latency) as f64 / 1e3));
    let times = range(all);
    let area = titled(area, "Latency from generator to sink, under load", (results, &legend(results)))?;
    let shares = area.split_evenly((1, panels.len()));
    for (place, (share, (name, of))) in shares.iter().zip(panels).enumerate() {
        let mut chart = ChartBuilder::on(share)
            .margin_right(12)
            .caption(name, (FONT, 15))
            .x_label_area_size(48)
            .y_label_area_size(if place == 0 { 72 } else { 44 })
            .build_cartesian_2d(0.0..100.0, times.clone().log_scale())?;
        let mut mesh = chart.configure_mesh();
        if place == 0 {
            mesh.y_desc("time, µs (logarithmic)");
        }
        mesh.x_labels(5)
            .x_label_formatter(&|share| format!("{share:.0}"))
            .y_label_formatter(&|time| tick(*time));
        styled(&mut mesh).x_desc("load, % of own NDR").draw()?;
        for figures in &results.contenders {
            let point = |level: &Loaded| (level.of_ndr * 100.0, of(&level.latency) as f64 / 1e3);
            line(&mut chart, figures.contender, figures.loaded.iter().map(point).collect())?;
        }
    }
    Ok(())
}

type Log = LogCoord<f64>;

/// A line with its points.
fn line<'a, X: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Log>>,
    contender: Contender,
    points: Vec<(f64, f64)>,
) -> Drawn {
    let colour = colour(contender);
    chart.draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?;
    Ok(())
}

/// Title, traffic and `legend` above; what is left of the area is below them.
fn titled<'a>(
    area: &Area<'a>,
    title: &str,
    (results, legend): (&Results, &[(&str, RGBColor)]),
) -> Result<Area<'a>, Box<dyn std::error::Error>> {
    let (head, body) = area.split_vertically(60);
    let style = |size| (FONT, size).into_text_style(&head);
    head.draw_text(title, &style(22), (12, 2))?;
    head.draw_text(&heading(&results.traffic), &style(14), (12, 32))?;
    let mut x = head.dim_in_pixel().0 as i32;
    for (name, colour) in legend.iter().rev() {
        x -= 9 * name.len() as i32 + 34;
        head.draw(&Rectangle::new([(x, 37), (x + 16, 41)], colour.filled()))?;
        head.draw_text(name, &style(14), (x + 22, 32))?;
    }
    Ok(body)
}

/// The colours of those who take part, in their order.
fn legend(results: &Results) -> Vec<(&'static str, RGBColor)> {
    let entry = |figures: &Figures| (figures.contender.name(), colour(figures.contender));
    results.contenders.iter().map(entry).collect()
}

/// From the least to the greatest value with some air, fit for a logarithmic axis.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, greatest) = values
        .filter(|value| *value > 0.0)
        .fold((f64::MAX, 0.0_f64), |(least, greatest), value| (least.min(value), greatest.max(value)));
    if greatest == 0.0 { 1.0..10.0 } else { least * 0.8..greatest * 1.25 }
}

/// Labels of a logarithmic axis: ones, twos and fives; others would stand in each other's way.
fn tick(value: f64) -> String {
    let mantissa = value / 10_f64.powf(value.log10().floor());
    if ![1.0, 2.0, 5.0].iter().any(|kept| (mantissa - kept).abs() < 1e-6) {
        return String::new();
    }
    if value < 1.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// The look that all pictures share.
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

    #[test]
    fn only_round_numbers_are_written_at_a_logarithmic_axis() {
        let written = [0.2, 1.0, 2.0, 50.0, 1000.0, 200_000.0].map(tick);
        assert_eq!(written, ["0.2", "1", "2", "50", "1000", "200000"]);
        for other in [3.0, 0.7, 40.0, 9000.0] {
            assert_eq!(tick(other), "", "{other}");
        }
    }

    #[test]
    fn a_logarithmic_axis_is_given_no_zero() {
        assert_eq!(range([0.0, 0.0].into_iter()), 1.0..10.0);
        let range = range([0.0, 10.0, 100.0].into_iter());
        assert!(range.start > 0.0 && range.start < 10.0 && range.end > 100.0);
    }
}
