//! The view of drop reasons.

use super::number::{count, per_second};
use super::rates::frames;
use super::table::{self, Column, SortOrder};
use crate::control::api;
use ratatui::text::Line;
use std::collections::BTreeMap;

/// A row: a drop reason with its rate.
#[derive(Clone, Debug)]
pub(super) struct DropLine<'a> {
    pub(super) drop: &'a api::Drops,
    rate: Option<f64>,
    /// Frames since the start of the screen, or of the director if later.
    pub(super) since: u64,
}

/// Returns the rows of all reasons, sorted.
pub(super) fn rows<'a>(
    drops: &'a [api::Drops],
    baseline: &[api::Drops],
    rates: &BTreeMap<String, f64>,
    sort: SortOrder,
) -> Vec<DropLine<'a>> {
    let rows = drops.iter().map(|drop| DropLine {
        drop,
        rate: rates.get(&drop.reason).copied(),
        since: drop.frames.saturating_sub(frames(baseline, &drop.reason).unwrap_or(0)),
    });
    let mut all: Vec<_> = rows.collect();
    sort.arrange(&mut all, &columns(0));
    all
}

/// Returns the columns; the last is `meaning` cells wide.
pub(super) fn columns<'a>(meaning: usize) -> Vec<Column<DropLine<'a>>> {
    vec![
        Column::number("Frames/s", 8, |line| line.rate.unwrap_or(-1.0), |line, _| per_second(line.rate)),
        Column::number("New", 6, |line| line.since as f64, |line, _| count(line.since)),
        Column::number("Total", 6, |line| line.drop.frames as f64, |line, _| count(line.drop.frames)),
        Column::words("Meaning", meaning, |line, _| line.drop.explanation.clone()),
    ]
}

/// Width of the name column.
pub(super) fn name_width<'a>(lines: impl Iterator<Item = &'a DropLine<'a>>) -> usize {
    lines.map(|line| line.drop.reason.chars().count() + 2).max().unwrap_or(0).max(14)
}

fn fitting<'a>(name: usize, width: usize) -> Vec<Column<DropLine<'a>>> {
    let others: usize = columns(0).iter().map(|column| column.width + 1).sum();
    table::fit_columns(columns(width.saturating_sub(name + others)), name, width)
}

pub(super) fn headings(name: usize, width: usize, sort: SortOrder) -> Line<'static> {
    table::headings("Reason", name, &fitting(name, width), sort)
}

/// Renders a row; `mark` is its first character.
pub(super) fn line(dropped: &DropLine<'_>, name: usize, width: usize, mark: char) -> Line<'static> {
    table::line(&format!("{mark}{}", dropped.drop.reason), name, dropped, &fitting(name, width))
}
