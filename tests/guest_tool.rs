//! `tools/guest` without a boot: its arguments, and the consistency of its tables.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

fn guest(arguments: &[&str]) -> Output {
    Command::new("tools/guest").args(arguments).output().expect("bash is there")
}

/// The fields of each line of a table in tests/guest, without remarks.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(format!("tests/guest/{name}")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn wrong_arguments_are_refused_with_the_remedy() {
    let cases: [(&[&str], &str); 6] = [
        (&["--fast"], "unknown option: --fast; write --all, --list, --binary FILE, or names of cases"),
        (&["no-such-case"], "there is no case \"no-such-case\"; tools/guest --list names them"),
        (&["--all", "6.1-*"], "--all and names of cases exclude each other"),
        (&["--all", "--list"], "--all and --list exclude each other"),
        (&["--binary"], "--binary needs a file"),
        (&["--binary", "Cargo.toml"], "Cargo.toml is not a program"),
    ];
    for (arguments, expected) in cases {
        let output = guest(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn listed_cases_are_those_of_the_matrix_once_each() {
    let output = guest(&["--list"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<&str> = text.lines().collect();
    assert_eq!(names.len(), text.lines().count(), "a name stands twice");
    assert_eq!(names.len(), table("matrix").len());
}

#[test]
fn cases_name_kernels_nics_and_modes_that_exist() {
    let nics: BTreeSet<String> = table("nics").into_iter().map(|fields| fields[0].clone()).collect();
    for case in table("matrix") {
        let [set, kernel, nic, test, _, backend, rest @ ..] = &case[..] else {
            panic!("{case:?} is too short")
        };
        assert!(["short", "all"].contains(&set.as_str()), "{case:?}");
        assert!(["6.1", "6.12", "new"].contains(&kernel.as_str()), "{case:?}");
        assert!(nics.contains(nic), "{case:?}");
        assert!(fs::exists(format!("tests/guest/inside/{test}")).unwrap(), "{case:?}");
        assert!(["auto", "xdp", "packet"].contains(&backend.as_str()), "{case:?}");
        assert_eq!(test == "nic", !rest.is_empty(), "{case:?}");
        let modes = ["zero-copy", "copy", "generic", "packet", "refused", "unfinished"];
        assert!(rest.first().is_none_or(|mode| modes.contains(&mode.as_str())), "{case:?}");
    }
}
