//! The third view: why frames were dropped.

use super::number::{count, per_second};
use super::rates::frames;
use super::table::{self, Column, Sort};
use crate::control::api;
use ratatui::text::Line;
use std::collections::BTreeMap;

/// A drop reason.
#[derive(Clone, Debug)]
pub(super) struct Dropped<'a> {
    pub(super) drop: &'a api::Drops,
    rate: Option<f64>,
    /// Frames since the screen began, or the director if that was later.
    pub(super) since: u64,
}

/// Every reason, sorted, in the order of the frame's way.
pub(super) fn dropped<'a>(
    drops: &'a [api::Drops],
    baseline: &[api::Drops],
    rates: &BTreeMap<String, f64>,
    sort: Sort,
) -> Vec<Dropped<'a>> {
    let one = |drop: &'a api::Drops| Dropped {
        drop,
        rate: rates.get(&drop.reason).copied(),
        since: drop.frames.saturating_sub(frames(baseline, &drop.reason).unwrap_or(0)),
    };
    let mut all: Vec<_> = drops.iter().map(one).collect();
    sort.arrange(&mut all, &columns(0));
    all
}

/// The columns, the last with `meaning` cells.
pub(super) fn columns<'a>(meaning: usize) -> Vec<Column<Dropped<'a>>> {
    vec![
        Column::number("Frames/s", 8, |line| line.rate.unwrap_or(-1.0), |line, _| per_second(line.rate)),
        Column::number("New", 6, |line| line.since as f64, |line, _| count(line.since)),
        Column::number("Total", 6, |line| line.drop.frames as f64, |line, _| count(line.drop.frames)),
        Column::words("Meaning", meaning, |line, _| line.drop.explanation.clone()),
    ]
}

/// Width of the name column.
pub(super) fn name_width<'a>(lines: impl Iterator<Item = &'a Dropped<'a>>) -> usize {
    lines.map(|line| line.drop.reason.chars().count() + 2).max().unwrap_or(0).max(14)
}

fn fitting<'a>(name: usize, width: usize) -> Vec<Column<Dropped<'a>>> {
    let others: usize = columns(0).iter().map(|column| column.width + 1).sum();
    table::fitting(columns(width.saturating_sub(name + others)), name, width)
}

pub(super) fn headings(name: usize, width: usize, sort: Sort) -> Line<'static> {
    table::headings("Reason", name, &fitting(name, width), sort)
}

/// A reason's line; `mark` is its first character.
pub(super) fn line(dropped: &Dropped<'_>, name: usize, width: usize, mark: char) -> Line<'static> {
    table::line(&format!("{mark}{}", dropped.drop.reason), name, dropped, &fitting(name, width))
}
