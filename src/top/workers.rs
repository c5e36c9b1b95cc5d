//! The second view: workers, and below each the queues that it receives from.

use super::number::{count, nanoseconds, per_second};
use super::rates::WorkerRates;
use super::table::{self, Column, Sort};
use crate::control::api;
use ratatui::text::Line;
use std::collections::BTreeMap;

/// A worker and what it does in a second.
#[derive(Clone, Debug)]
pub(super) struct Busy<'a> {
    pub(super) worker: &'a api::Worker,
    rates: Option<WorkerRates>,
}

impl Busy<'_> {
    fn rate(&self, of: fn(&WorkerRates) -> f64) -> Option<f64> {
        self.rates.as_ref().map(of)
    }

    fn latency(&self) -> &api::Latency {
        &self.worker.latency
    }

    /// For sorting: what is unknown is less than nothing.
    fn key(&self, of: fn(&WorkerRates) -> f64) -> f64 {
        self.rate(of).unwrap_or(-1.0)
    }
}

/// Every worker, sorted.
pub(super) fn busy<'a>(
    workers: &'a [api::Worker],
    rates: &BTreeMap<usize, WorkerRates>,
    sort: Sort,
) -> Vec<Busy<'a>> {
    let one = |worker: &'a api::Worker| Busy { worker, rates: rates.get(&worker.worker).copied() };
    let mut all: Vec<_> = workers.iter().map(one).collect();
    sort.arrange(&mut all, &columns());
    all
}

/// The columns.
pub(super) fn columns<'a>() -> Vec<Column<Busy<'a>>> {
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

/// Room for "12 core 127" and the mark of the selected line.
const NAME: usize = 13;

pub(super) fn headings(width: usize, sort: Sort) -> Line<'static> {
    table::headings("Worker", NAME, &table::fitting(columns(), NAME, width), sort)
}

/// A worker's line; `mark` is its first character.
pub(super) fn line(busy: &Busy<'_>, width: usize, mark: char) -> Line<'static> {
    let core = busy.worker.core.map_or("unpinned".to_owned(), |core| format!("core {core}"));
    let name = format!("{mark}{} {core}", busy.worker.worker);
    table::line(&name, NAME, busy, &table::fitting(columns(), NAME, width))
}

/// The line of a queue, and how many frames are in its rings.
pub(super) fn port_line(worker: &api::Worker, port: &api::Port) -> Line<'static> {
    let api::Port { interface, queue, mode, receive, transmit, fill } = port;
    let fill = match (worker.backend.as_str(), fill) {
        ("packet", 0) => String::new(), // the kernel does not tell
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
    fn workers_whose_rates_are_unknown_are_last() {
        let workers = [worker(0), worker(1), worker(2)];
        let received = |received| WorkerRates { received, ..WorkerRates::default() };
        let rates = BTreeMap::from([(1, received(0.0)), (2, received(7.0))]);
        let order: Vec<_> = busy(&workers, &rates, Sort { column: 1, reversed: false })
            .iter()
            .map(|busy| busy.worker.worker)
            .collect();
        assert_eq!(order, [2, 1, 0]);
    }

    #[test]
    fn a_ring_level_that_the_kernel_does_not_tell_is_left_out() {
        let line = |backend: &str, fill| {
            let worker = api::Worker { backend: backend.to_owned(), ..worker(0) };
            let port = api::Port { fill, ..worker.ports[0].clone() };
            port_line(&worker, &port).to_string()
        };
        assert!(!line("packet", 0).contains("fill"));
        assert!(line("xdp", 0).ends_with("fill 0"));
    }
}
