//! The view of workers, each with its queues.

use super::number::{count, nanoseconds, per_second};
use super::rates::WorkerRates;
use super::table::{self, Column, SortOrder};
use crate::control::api;
use ratatui::text::Line;
use std::collections::BTreeMap;

/// A row: a worker with its rates.
#[derive(Clone, Debug)]
pub(super) struct WorkerLine<'a> {
    pub(super) worker: &'a api::Worker,
    rates: Option<WorkerRates>,
}

impl WorkerLine<'_> {
    fn rate(&self, of: fn(&WorkerRates) -> f64) -> Option<f64> {
        self.rates.as_ref().map(of)
    }

    fn latency(&self) -> &api::Latency {
        &self.worker.latency
    }

    /// Sort key; an unknown rate is below 0.
    fn key(&self, of: fn(&WorkerRates) -> f64) -> f64 {
        self.rate(of).unwrap_or(-1.0)
    }
}

/// Returns the rows of all workers, sorted.
pub(super) fn rows<'a>(
    workers: &'a [api::Worker],
    rates: &BTreeMap<usize, WorkerRates>,
    sort: SortOrder,
) -> Vec<WorkerLine<'a>> {
    let rows = workers.iter();
    let rows = rows.map(|worker| WorkerLine { worker, rates: rates.get(&worker.worker).copied() });
    let mut all: Vec<_> = rows.collect();
    sort.arrange(&mut all, &columns());
    all
}

/// Returns the columns.
pub(super) fn columns<'a>() -> Vec<Column<WorkerLine<'a>>> {
    vec![
        Column::number("Frames/s", 8, |b| b.key(|r| r.received), |b, _| per_second(b.rate(|r| r.received))),
        Column::number("Drop/s", 6, |b| b.key(|r| r.dropped), |b, _| per_second(b.rate(|r| r.dropped))),
        Column::number("Lost/s", 6, |b| b.key(|r| r.lost), |b, _| per_second(b.rate(|r| r.lost))),
        Column::number("Batch/s", 7, |b| b.key(|r| r.batches), |b, _| per_second(b.rate(|r| r.batches))),
        Column::number("Sleep/s", 7, |b| b.key(|r| r.sleeps), |b, _| per_second(b.rate(|r| r.sleeps))),
        Column::number("p50", 6, |b| b.latency().p50_ns as f64, |b, _| nanoseconds(b.latency().p50_ns)),
        Column::number("p90", 6, |b| b.latency().p90_ns as f64, |b, _| nanoseconds(b.latency().p90_ns)),
        Column::number("p99", 6, |b| b.latency().p99_ns as f64, |b, _| nanoseconds(b.latency().p99_ns)),
        Column::number("max", 6, |b| b.latency().max_ns as f64, |b, _| nanoseconds(b.latency().max_ns)),
        Column::number("Entries", 7, |b| b.worker.entries as f64, |b, _| count(b.worker.entries)),
        Column::number("Evicted", 7, |b| b.worker.evicted as f64, |b, _| count(b.worker.evicted)),
    ]
}

/// Width of "12 core 127" and the mark of the selected row.
const NAME: usize = 13;

pub(super) fn headings(width: usize, sort: SortOrder) -> Line<'static> {
    table::headings("Worker", NAME, &table::fit_columns(columns(), NAME, width), sort)
}

/// Renders a row; `mark` is its first character.
pub(super) fn line(busy: &WorkerLine<'_>, width: usize, mark: char) -> Line<'static> {
    let core = busy.worker.core.map_or("unpinned".to_owned(), |core| format!("core {core}"));
    let name = format!("{mark}{} {core}", busy.worker.worker);
    table::line(&name, NAME, busy, &table::fit_columns(columns(), NAME, width))
}

/// Renders a queue with the frames in its rings.
pub(super) fn queue_line(worker: &api::Worker, port: &api::Port) -> Line<'static> {
    let api::Port { interface, queue, mode, receive, transmit, fill } = port;
    let fill = match (worker.backend.as_str(), fill) {
        ("packet", 0) => String::new(), // unknown to AF_PACKET
        (_, fill) => format!("  fill {fill}"),
    };
    Line::raw(format!(
        "   {interface} queue {queue}, {} {mode}: receive {receive}  transmit {transmit}{fill}",
        worker.backend
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixtures::worker;
    use super::*;

    #[test]
    fn unknown_rates_sort_last() {
        let workers = [worker(0), worker(1), worker(2)];
        let received = |received| WorkerRates { received, ..WorkerRates::default() };
        let rates = BTreeMap::from([(1, received(0.0)), (2, received(7.0))]);
        let order: Vec<_> = rows(&workers, &rates, SortOrder { column: 1, reversed: false })
            .iter()
            .map(|busy| busy.worker.worker)
            .collect();
        assert_eq!(order, [2, 1, 0]);
    }

    #[test]
    fn unknown_ring_levels_are_left_out() {
        let line = |backend: &str, fill| {
            let worker = api::Worker { backend: backend.to_owned(), ..worker(0) };
            let port = api::Port { fill, ..worker.ports[0].clone() };
            queue_line(&worker, &port).to_string()
        };
        assert!(!line("packet", 0).contains("fill"));
        assert!(line("xdp", 0).ends_with("fill 0"));
    }
}
