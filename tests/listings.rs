//! `directrix drops` and `directrix workers` as processes.

mod fake_director;

use directrix::control::api::{Drops, Latency, Port, Worker};
use directrix::stats::DropReason;
use fake_director::{Answers, Director, directrix, run};
use std::io::pipe;
use std::path::Path;

fn answers() -> Answers {
    let drops = DropReason::ALL.iter().map(|reason| Drops {
        reason: reason.name().to_owned(),
        frames: 1000 * *reason as u64,
        explanation: reason.explanation().to_owned(),
    });
    let worker = |worker| Worker {
        worker,
        core: Some(worker),
        backend: "packet".to_owned(),
        ports: vec![Port {
            interface: "eth0".to_owned(),
            queue: worker as u32,
            mode: "ring".to_owned(),
            receive: 1,
            transmit: 2,
            fill: 0,
        }],
        received: 25_495,
        forwarded: 25_495,
        dropped: 0,
        lost: 0,
        batches: 9000,
        sleeps: 12,
        entries: 5091,
        expired: 0,
        evicted: 0,
        handed_over: 0,
        latency: Latency { samples: 100, p50_ns: 900, p90_ns: 1500, p99_ns: 3000, max_ns: 70_000 },
    };
    Answers { drops: drops.collect(), workers: vec![worker(0), worker(1)], ..Answers::default() }
}

#[test]
fn every_drop_reason_has_a_row() {
    let director = Director::answering(answers());
    let (status, listed, stderr) = run(&mut directrix(&director.socket(), "drops"));
    assert_eq!((status, stderr.as_str()), (0, ""));
    let rows: Vec<_> = listed.lines().collect();
    assert_eq!(rows.len(), DropReason::ALL.len() + 1);
    assert_eq!(rows[0], "Reason               Frames  Meaning");
    assert_eq!(
        rows[1],
        "ring_full                 0  Lost in the kernel: the worker's receive ring was full."
    );
}

#[test]
fn every_worker_has_a_block() {
    let director = Director::answering(answers());
    let (status, listed, stderr) = run(&mut directrix(&director.socket(), "workers"));
    assert_eq!((status, stderr.as_str()), (0, ""));
    let blocks: Vec<_> = listed.split("\n\n").collect();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[0].starts_with("Worker 0: packet, pinned to core 0\n"), "{listed}");
    assert!(blocks[1].starts_with("Worker 1: packet, pinned to core 1\n"), "{listed}");
    assert!(blocks[1].contains("eth0           1  ring         1         2         0"), "{listed}");
}

#[test]
fn json_is_the_directors_response() {
    let given = answers();
    let director = Director::answering(given.clone());
    let (status, listed, _) = run(&mut directrix(&director.socket(), "drops --json"));
    assert_eq!((status, serde_json::from_str::<Vec<Drops>>(&listed).unwrap()), (0, given.drops));
    let (status, listed, _) = run(&mut directrix(&director.socket(), "workers --json"));
    assert_eq!((status, serde_json::from_str::<Vec<Worker>>(&listed).unwrap()), (0, given.workers));
}

#[test]
fn missing_director_is_reported_with_a_remedy() {
    for command in ["drops", "workers", "drops --json", "workers --json"] {
        let (status, stdout, stderr) = run(&mut directrix(Path::new("/nonexistent/control.sock"), command));
        assert_eq!((status, stdout.as_str()), (1, ""), "{command}");
        assert_eq!(
            stderr,
            "directrix: no director is running at /nonexistent/control.sock; start one with `directrix run`, or \
             name its socket with --socket or DIRECTRIX_SOCKET\n"
        );
    }
}

#[test]
fn closed_pipe_is_not_an_error() {
    let director = Director::answering(answers());
    for command in ["drops", "workers"] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let (status, _, stderr) = run(directrix(&director.socket(), command).stdout(writer));
        assert_eq!((status, stderr.as_str()), (0, ""), "{command}");
    }
}
