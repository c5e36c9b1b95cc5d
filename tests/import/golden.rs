//! Whole files with their health checks: input, output and notices, in tests/import/golden.
//!
//! `GOLDEN=write cargo test --test import golden` writes the outputs anew; read the difference.

use crate::{Files, config, imported, notices};
use std::path::PathBuf;
use std::{env, fs};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/import/golden").join(name)
}

/// Compares with a golden file.
#[track_caller]
fn compare(name: &str, text: &str) {
    if env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        fs::write(golden(name), text).unwrap();
    }
    let expected = fs::read_to_string(golden(name)).unwrap_or_default();
    let differing = expected.lines().zip(text.lines()).find(|(expected, got)| expected != got);
    assert!(expected == text, "{name} differs at {differing:?}");
}

/// The configuration must be valid, and must be written as it was before.
#[track_caller]
fn check(input: &str) {
    let text = fs::read_to_string(golden(input)).unwrap();
    let import = imported(input, &text, &Files::default());
    config(&import);
    let name = input.split('.').next().unwrap();
    compare(&format!("{name}.toml"), &import.toml);
    compare(&format!("{name}.notices"), &(notices(&import).join("\n") + "\n"));
}

#[test]
fn checkers_of_keepalived_become_checks() {
    check("keepalived.conf");
}
