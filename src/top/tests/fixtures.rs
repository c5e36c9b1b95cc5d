//! Answers of a director, in the form of its API.

use super::super::director::{DirectorApi, DrainRequest, Sample};
use crate::control::api;
use crate::model::Diagnostic;
use serde_json::{Value, from_value, json};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

fn counts(connections: u64, packets: u64, bytes: u64) -> Value {
    json!({
        "connections": connections, "in_packets": packets, "out_packets": 0,
        "in_bytes": bytes, "out_bytes": 0,
    })
}

pub(in super::super) fn server(address: &str, weight: u16, active: u32) -> api::Server {
    let server = json!({
        "address": address, "weight": weight, "active": active, "inactive": 0,
        "state": "reachable", "mac": "02:00:00:00:00:01",
        "stats": counts(1000, 5000, 400_000), "rates": counts(10, 50, 4000),
    });
    from_value(server).unwrap()
}

pub(in super::super) fn service(address: &str, servers: Vec<api::Server>) -> api::Service {
    let service = json!({
        "protocol": "tcp", "address": address, "scheduler": "wlc", "state": "claimed",
        "stats": counts(2000, 10_000, 800_000), "rates": counts(20, 100, 8000), "servers": [],
    });
    api::Service { servers, ..from_value(service).unwrap() }
}

pub(in super::super) fn worker(number: usize) -> api::Worker {
    let worker = json!({
        "worker": number, "core": number, "backend": "xdp",
        "ports": [{
            "interface": "eth0", "queue": number, "mode": "native, zero-copy",
            "receive": 3, "transmit": 64, "fill": 2048,
        }],
        "received": 0, "forwarded": 0, "dropped": 0, "batches": 0, "sleeps": 0,
        "entries": 2500, "expired": 0, "evicted": 0,
        "latency": { "samples": 100, "p50_ns": 900, "p90_ns": 1500, "p99_ns": 3000, "max_ns": 70_000 },
    });
    from_value(worker).unwrap()
}

pub(in super::super) fn drops(frames: &[(&str, u64)]) -> Vec<api::Drops> {
    let drop = |&(reason, frames): &(&str, u64)| api::Drops {
        reason: reason.to_owned(),
        frames,
        explanation: format!("What {reason} means."),
    };
    frames.iter().map(drop).collect()
}

/// Two services with two servers each, two workers, three drop reasons.
pub(in super::super) fn sample() -> Sample {
    let unreachable = api::Server { state: "unreachable".into(), mac: None, ..server("10.0.0.2:443", 1, 0) };
    let web = service("192.0.2.10:80", vec![server("10.0.0.1:80", 1, 60), server("10.0.0.2:80", 3, 60)]);
    let secure = service("192.0.2.10:443", vec![server("10.0.0.1:443", 1, 12_345), unreachable]);
    Sample {
        at: Duration::from_secs(5),
        up: Some(Duration::from_secs(11_525)),
        role: crate::model::Role::Standalone,
        services: api::Services { capacity: 1 << 20, interfaces: Vec::new(), services: vec![web, secure] },
        drops: drops(&[("ring_full", 0), ("checksum", 40), ("no_service", 7)]),
        workers: vec![worker(0), worker(1)],
    }
}

/// [`sample`] two seconds later: 25,000 frames by worker 0, 100 of them dropped.
pub(in super::super) fn later() -> Sample {
    let mut sample = sample();
    sample.at += Duration::from_secs(2);
    sample.up = Some(Duration::from_secs(11_527));
    let worker = &mut sample.workers[0];
    (worker.received, worker.dropped, worker.batches, worker.sleeps) = (25_000, 100, 4000, 1);
    sample.drops = drops(&[("ring_full", 0), ("checksum", 40), ("no_service", 107)]);
    sample
}

/// A substitute for a director, which answers with [`sample`].
pub(super) struct Fake {
    /// Whether it answers the n-th request, from 0.
    answers: fn(u32) -> bool,
    drain: fn(&DrainRequest) -> Result<(), Diagnostic>,
    requests: AtomicU32,
}

impl Fake {
    pub(super) fn new(answers: fn(u32) -> bool, drain: fn(&DrainRequest) -> Result<(), Diagnostic>) -> Self {
        Self { answers, drain, requests: AtomicU32::new(0) }
    }
}

impl DirectorApi for Fake {
    fn services(&self) -> Result<api::Services, Diagnostic> {
        let answered = (self.answers)(self.requests.fetch_add(1, Relaxed));
        if answered { Ok(sample().services) } else { Err(Diagnostic::system("no director is running")) }
    }

    fn drops(&self) -> Result<Vec<api::Drops>, Diagnostic> {
        Ok(sample().drops)
    }

    fn workers(&self) -> Result<Vec<api::Worker>, Diagnostic> {
        Ok(sample().workers)
    }

    fn up(&self) -> Option<Duration> {
        None
    }

    fn drain(&self, drain: &DrainRequest) -> Result<(), Diagnostic> {
        (self.drain)(drain)
    }
}
