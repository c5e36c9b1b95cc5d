//! Collects the results of the other benches: `cargo bench --bench summary` writes
//! `target/bench/results.json`, for programs, and `target/bench/results.md`, for people. `tools/bench` runs
//! all benches and then this one.
#![allow(missing_docs)]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
    let mut rows = Vec::new();
    criterion(&target.join("criterion"), &mut rows);
    rows.sort_by_key(|row| row["name"].as_str().map(natural));
    others(&target.join("bench"), &mut rows);
    let (results, text) = (json!({ "schema": 1, "conditions": conditions(), "results": rows }), table(&rows));
    let json = serde_json::to_string_pretty(&results).expect("it is JSON");
    fs::write(target.join("bench/results.json"), json + "\n").expect("target/bench can be written");
    fs::write(target.join("bench/results.md"), &text).expect("target/bench can be written");
    print!("{text}");
}

/// Medians with criterion's confidence interval (95 %), per element.
fn criterion(directory: &Path, rows: &mut Vec<Value>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        match (read(&path.join("new/benchmark.json")), read(&path.join("new/estimates.json"))) {
            (Some(benchmark), Some(estimates)) => rows.push(row(&benchmark, &estimates)),
            _ => criterion(&path, rows),
        }
    }
}

fn row(benchmark: &Value, estimates: &Value) -> Value {
    let elements = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
    let (median, interval) = (&estimates["median"], &estimates["median"]["confidence_interval"]);
    let each = |ns: &Value| ns.as_f64().map(|ns| (ns / elements * 100.0).round() / 100.0);
    json!({
        "name": benchmark["full_id"],
        "unit": "ns",
        "value": each(&median["point_estimate"]),
        "low": each(&interval["lower_bound"]),
        "high": each(&interval["upper_bound"]),
    })
}

/// Results of `results.rs` and tools/instructions.
fn others(directory: &Path, rows: &mut Vec<Value>) {
    for name in ["instructions", "memory", "stall", "sync"] {
        let found = read(&directory.join(format!("{name}.json")));
        rows.extend(found.as_ref().and_then(Value::as_array).into_iter().flatten().cloned());
    }
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

fn conditions() -> Value {
    let line = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.rsplit(':').next().unwrap_or_default().trim().to_owned()
    };
    json!({
        "processor": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "kernel": line("/proc/sys/kernel/osrelease", ""),
        "load": line("/proc/loadavg", ""),
    })
}

fn table(rows: &[Value]) -> String {
    let mut text = String::from("| what | figure | low | high | unit |\n|---|--:|--:|--:|---|\n");
    for row in rows {
        let figure = |key: &str| row[key].as_f64().map_or(String::new(), |figure| format!("{figure:.1}"));
        let (name, unit) = (row["name"].as_str().unwrap_or("?"), row["unit"].as_str().unwrap_or("?"));
        text +=
            &format!("| {name} | {} | {} | {} | {unit} |\n", figure("value"), figure("low"), figure("high"));
    }
    text
}

/// Key that sorts numbers by value: every run of digits is padded.
fn natural(name: &str) -> String {
    let mut sorted = String::new();
    for part in name.split_inclusive('/') {
        let number = part.trim_end_matches('/').parse::<u64>();
        sorted += &number.map_or_else(|_| part.to_owned(), |number| format!("{number:020}/"));
    }
    sorted
}
