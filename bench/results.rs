//! Results of the benches without criterion: printed as a table, stored as JSON.
#![allow(unreachable_pub)] // shared by the benches

use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

pub struct Results {
    bench: &'static str,
    rows: Vec<Value>,
}

impl Results {
    pub fn new(bench: &'static str) -> Self {
        println!("{bench}");
        Self { bench, rows: Vec::new() }
    }

    /// Prints and stores one result.
    pub fn add(&mut self, name: &str, unit: &str, value: f64) {
        println!("  {name:<58} {value:>12.1} {unit}");
        self.rows.push(json!({ "bench": self.bench, "name": name, "unit": unit, "value": value }));
    }

    /// Writes `target/bench/NAME.json`.
    pub fn write(self) {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        let file = directory.join(format!("{}.json", self.bench));
        let text = serde_json::to_string_pretty(&self.rows).expect("rows are JSON");
        fs::create_dir_all(&directory).and_then(|()| fs::write(&file, text)).expect("target/ can be written");
    }
}
