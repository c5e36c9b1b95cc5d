//! `directrix drops` and `directrix workers`.

use super::output::print_all;
use super::status::finish;
use crate::control::api::{Drops, Latency, Port, Worker, path};
use crate::control::client::Blocking;
use crate::model::Diagnostic;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

/// The arguments of both subcommands.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the answer of the control socket as JSON
    #[arg(long)]
    json: bool,
}

/// Prints every drop reason with its count.
pub(super) fn drops(args: &Args, socket: &Path) -> ExitCode {
    print(args, socket, path::DROPS, |director| Ok(drops_table(&director.drops()?)))
}

/// Prints a block for each worker.
pub(super) fn workers(args: &Args, socket: &Path) -> ExitCode {
    print(args, socket, path::WORKERS, |director| {
        let blocks: Vec<_> = director.workers()?.iter().map(worker_block).collect();
        Ok(blocks.join("\n"))
    })
}

fn print(
    args: &Args,
    socket: &Path,
    path: &str,
    table: impl FnOnce(&Blocking) -> Result<String, Diagnostic>,
) -> ExitCode {
    finish(Blocking::new(socket).and_then(|director| {
        let text = if args.json { director.text(path).map(|text| text + "\n") } else { table(&director) };
        print_all(&text?)
    }))
}

fn drops_table(drops: &[Drops]) -> String {
    let frames = width(drops.iter().map(|drop| drop.frames), "Frames");
    let reason = drops.iter().map(|drop| drop.reason.len()).max().unwrap_or(0).max("Reason".len());
    let mut table = format!("{:<reason$}  {:>frames$}  Meaning\n", "Reason", "Frames");
    for drop in drops {
        table += &format!("{:<reason$}  {:>frames$}  {}\n", drop.reason, drop.frames, drop.explanation);
    }
    table
}

fn worker_block(worker: &Worker) -> String {
    let core = worker.core.map_or("not pinned to a core".to_owned(), |core| format!("pinned to core {core}"));
    let mut block = format!("Worker {}: {}, {core}\n", worker.worker, worker.backend);
    let frames = [
        ("received", worker.received),
        ("forwarded", worker.forwarded),
        ("dropped", worker.dropped),
        ("lost", worker.lost),
        ("batches", worker.batches),
        ("sleeps", worker.sleeps),
    ];
    let connections = [("entries", worker.entries), ("expired", worker.expired), ("evicted", worker.evicted)];
    block += &row("Frames", &frames);
    block += &row("Connections", &connections);
    block += &row("Latency (ns)", &percentiles(&worker.latency));
    block + &ports_table(&worker.ports)
}

fn percentiles(latency: &Latency) -> [(&'static str, u64); 5] {
    [
        ("p50", latency.p50_ns),
        ("p90", latency.p90_ns),
        ("p99", latency.p99_ns),
        ("max", latency.max_ns),
        ("samples", latency.samples),
    ]
}

/// Two lines: column names, and the numbers below them, right-aligned.
fn row(heading: &str, columns: &[(&str, u64)]) -> String {
    let [mut names, mut numbers] = [format!("  {heading:<12}"), format!("  {:<12}", "")];
    for &(name, number) in columns {
        let width = width([number], name).max(10);
        names += &format!("  {name:>width$}");
        numbers += &format!("  {number:>width$}");
    }
    format!("{names}\n{numbers}\n")
}

fn ports_table(ports: &[Port]) -> String {
    let text = |heading: &str, of: fn(&Port) -> &String| {
        ports.iter().map(|port| of(port).len()).max().unwrap_or(0).max(heading.len())
    };
    let interface = text("Interface", |port| &port.interface);
    let mode = text("Mode", |port| &port.mode);
    let line = |name: &dyn Display, queue: &dyn Display, how: &dyn Display, fill: [&dyn Display; 3]| {
        let [receive, transmit, fill] = fill.map(ToString::to_string);
        format!("  {name:<interface$}  {queue:>5}  {how:<mode$}  {receive:>8}  {transmit:>8}  {fill:>8}\n")
    };
    let mut table = line(&"Interface", &"Queue", &"Mode", [&"Receive", &"Transmit", &"Fill"]);
    table.insert_str(table.len() - 1, " (frames in the rings)");
    for port in ports {
        table += &line(&port.interface, &port.queue, &port.mode, [&port.receive, &port.transmit, &port.fill]);
    }
    table
}

/// Width of a column of numbers below its heading.
fn width(numbers: impl IntoIterator<Item = u64>, heading: &str) -> usize {
    let widest = numbers.into_iter().map(|number| number.to_string().len()).max().unwrap_or(0);
    widest.max(heading.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_listed_in_columns() {
        let drop = |reason: &str, frames, explanation: &str| Drops {
            reason: reason.to_owned(),
            frames,
            explanation: explanation.to_owned(),
        };
        let drops = [drop("truncated", 7, "Too short."), drop("no_connection", 12_345_678, "Unknown.")];
        assert_eq!(
            drops_table(&drops),
            "Reason           Frames  Meaning\n\
             truncated             7  Too short.\n\
             no_connection  12345678  Unknown.\n"
        );
        assert_eq!(drops_table(&[]), "Reason  Frames  Meaning\n");
    }

    fn worker() -> Worker {
        let port = |interface: &str, queue, mode: &str, fill| Port {
            interface: interface.to_owned(),
            queue,
            mode: mode.to_owned(),
            receive: 3,
            transmit: 64,
            fill,
        };
        Worker {
            worker: 1,
            core: Some(3),
            backend: "xdp".to_owned(),
            ports: vec![
                port("eth0", 0, "native, zero-copy", 2048),
                port("enp0s31f6", 12, "generic, copy", 0),
            ],
            received: 25_495,
            forwarded: 25_490,
            dropped: 5,
            lost: 41,
            batches: 12_345_678_901,
            sleeps: 300,
            entries: 5091,
            expired: 0,
            evicted: 2,
            handed_over: 0,
            latency: Latency { samples: 796, p50_ns: 1200, p90_ns: 2400, p99_ns: 9000, max_ns: 40_000 },
        }
    }

    #[test]
    fn worker_is_a_block_of_aligned_columns() {
        assert_eq!(
            worker_block(&worker()),
            "Worker 1: xdp, pinned to core 3
  Frames          received   forwarded     dropped        lost      batches      sleeps
                     25495       25490           5          41  12345678901         300
  Connections      entries     expired     evicted
                      5091           0           2
  Latency (ns)         p50         p90         p99         max     samples
                      1200        2400        9000       40000         796
  Interface  Queue  Mode                Receive  Transmit      Fill (frames in the rings)
  eth0           0  native, zero-copy         3        64      2048
  enp0s31f6     12  generic, copy             3        64         0
"
        );
        let unpinned = worker_block(&Worker { core: None, ports: Vec::new(), ..worker() });
        assert!(unpinned.starts_with("Worker 1: xdp, not pinned to a core\n"), "{unpinned}");
    }
}
