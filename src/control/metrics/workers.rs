//! Workers: frames, drops, rings, latency and flow tables.

use super::latency;
use super::page::{Label, MetricsPage};
use super::readings::WorkerReadings;
use crate::control::api::{Port, Worker};
use prometheus_client::registry::Unit;
use std::fmt;

/// Name, help and reader.
type Number = (&'static str, &'static str, fn(&Worker) -> u64);

pub(super) fn write(workers: &[WorkerReadings], page: &mut MetricsPage<'_>) -> fmt::Result {
    words(workers, page)?;
    totals(workers, TOTALS, page)?;
    let cpu = workers.iter().filter_map(|readings| Some(([label(readings)], readings.cpu_seconds?)));
    let help =
        "CPU time of the worker's thread, in seconds; one that never sleeps uses a second each second.";
    page.counters(("worker_cpu", Some(Unit::Seconds)), help, cpu)?;
    drops(workers, page)?;
    rings(workers, page)?;
    latencies(workers, page)
}

pub(super) fn write_table(workers: &[WorkerReadings], page: &mut MetricsPage<'_>) -> fmt::Result {
    let entries = workers.iter().map(|readings| ([label(readings)], readings.worker.entries));
    page.gauges(("table_entries", None), "Connections in the worker's table now.", entries)?;
    totals(workers, TABLE_TOTALS, page)
}

const TOTALS: &[Number] = &[
    ("worker_received_frames", "Frames that the worker received.", |worker| worker.received),
    ("worker_forwarded_frames", "Frames that the worker forwarded.", |worker| worker.forwarded),
    (
        "worker_handed_over_frames",
        "Frames (ICMP errors, fragments) that the worker passed to another one, which may know their connection.",
        |worker| worker.handed_over,
    ),
    ("worker_batches", "Batches that held at least one frame.", |worker| worker.batches),
    ("worker_sleeps", "Times that the worker went to sleep for want of frames.", |worker| worker.sleeps),
];

const TABLE_TOTALS: &[Number] = &[
    ("table_expired", "Connections that expired.", |worker| worker.expired),
    (
        "table_evicted",
        "Unconfirmed connections (half-open TCP, UDP of one datagram) that were evicted for new ones.",
        |worker| worker.evicted,
    ),
];

fn totals(workers: &[WorkerReadings], totals: &[Number], page: &mut MetricsPage<'_>) -> fmt::Result {
    for (name, help, read) in totals {
        let values = workers.iter().map(|readings| ([label(readings)], read(&readings.worker)));
        page.counters((name, None), help, values)?;
    }
    Ok(())
}

fn words(workers: &[WorkerReadings], page: &mut MetricsPage<'_>) -> fmt::Result {
    let pinned = workers.iter().map(|readings| {
        let core = readings.worker.core.map_or_else(|| "none".into(), |core| core.to_string());
        [label(readings), ("core", core), ("backend", readings.worker.backend.clone())]
    });
    page.info("worker", "A worker, its core and its backend.", pinned)?;
    let modes = ports(workers).map(|(labels, port)| (labels, [("mode", port.mode.clone())]));
    page.info("worker_port", "An (interface, queue) pair that a worker receives from, and how.", modes)
}

fn drops(workers: &[WorkerReadings], page: &mut MetricsPage<'_>) -> fmt::Result {
    let drops = workers.iter().flat_map(|readings| {
        let worker = label(readings);
        let drops = readings.drops.clone().into_iter();
        drops.map(move |(reason, frames)| ([worker.clone(), ("reason", reason.into())], frames))
    });
    let help = "Frames that went no further, by reason; directrix drops explains each.";
    page.counters(("worker_dropped_frames", None), help, drops)
}

fn rings(workers: &[WorkerReadings], page: &mut MetricsPage<'_>) -> fmt::Result {
    let levels = ports(workers).flat_map(|(labels, port)| {
        let rings = [("receive", port.receive), ("transmit", port.transmit), ("fill", port.fill)];
        rings.map(|(ring, frames)| ((labels.clone(), [("ring", ring)]), frames))
    });
    let help = "Frames in a ring, noted every 10 to 20 ms.";
    page.gauges(("worker_ring_frames", None), help, levels)
}

/// Writes the latencies. A worker without an answer has no sample, since 0 would look like a restart.
fn latencies(workers: &[WorkerReadings], page: &mut MetricsPage<'_>) -> fmt::Result {
    let samples = workers.iter().filter_map(|readings| {
        let histogram = readings.latency.as_ref()?;
        Some(([label(readings)], latency::buckets(histogram)))
    });
    let help = "Time from receive to transmit of the forwarded frames in every 16th batch.";
    page.histograms(("worker_latency", Some(Unit::Seconds)), help, samples)
}

fn label(readings: &WorkerReadings) -> Label {
    ("worker", readings.worker.worker.to_string())
}

fn ports(workers: &[WorkerReadings]) -> impl Iterator<Item = ([Label; 3], &Port)> {
    workers.iter().flat_map(|readings| {
        let worker = label(readings);
        readings.worker.ports.iter().map(move |port| {
            let (interface, queue) = (port.interface.clone(), port.queue.to_string());
            ([worker.clone(), ("interface", interface), ("queue", queue)], port)
        })
    })
}
