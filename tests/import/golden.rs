//! Whole files with their health checks: input, output and notices, in tests/import/golden.
//!
//! `GOLDEN=write cargo test --test import golden` writes the outputs anew; read the difference.

use crate::{Files, config, imported, notices, refused, source};
use directrix::import::{ImportFormat, ImportSource, import};
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

#[test]
fn checks_of_ldirectord_become_checks() {
    check("ldirectord.cf");
}

#[test]
fn invalid_lines_of_ldirectord_are_refused_by_line() {
    let service = "virtual=192.0.2.10:80\n\treal=10.0.0.1:80 gate\n";
    for (line, expected) in [
        ("\tchecktyp=ping", "3: checktyp = ping: ldirectord has no such directive; correct or remove it"),
        ("\tchecktype=pong", "3: checktype = pong: there is no such type; write connect, "),
        ("\tcheckport=0", "3: checkport = 0: it has no number; write one from 1 to 65535"),
        ("\tchecktimeout", "3: checktimeout: it sets nothing; write KEYWORD = VALUE"),
        ("\tservice=htp", "3: service = htp: ldirectord has no such service; "),
        ("\tprotocol=sctp", "3: protocol = sctp: it is neither tcp nor udp; "),
        ("\thttpmethod=POST", "3: httpmethod = POST: it is neither GET nor HEAD; "),
        ("\tops=maybe", "3: ops = maybe: it is neither yes nor no; "),
        ("\tpersistent=1\n\tnetmask=24", "4: netmask = 24: \"24\" is not a netmask of IPv4; "),
        ("passwd=\"pw\"", "3: passwd = …: it belongs to a virtual; "),
        ("\tlogfile=x", "3: logfile = x: it does not belong to a virtual; "),
        ("checktype=ping", "3: checktype = ping: it belongs to a virtual; "),
        ("\treal=10.0.0.2:80", "3: real = 10.0.0.2:80: its forwarding method is none of gate, masq, ipip; "),
        ("\treal=10.0.0.2:80 gate 70000x", "3: real = 10.0.0.2:80 gate 70000x: the end is not \"request\", "),
        (
            "\treal=10.0.0.2:x gate",
            "3: real = 10.0.0.2:x gate: \"x\" is neither a port nor the name of one; ",
        ),
        (
            "\treal=no.example:80 gate",
            "3: real = no.example:80 gate: \"no.example\" is neither an address nor ",
        ),
        (
            "\treal=10.0.0.9->10.0.0.2:80 gate",
            "3: real = 10.0.0.9->10.0.0.2:80 gate: the range ends before it ",
        ),
        (
            "\treal=10.0.0.0->10.9.0.0:80 gate",
            "3: real = 10.0.0.0->10.9.0.0:80 gate: the file has more than ",
        ),
        ("virtual=192.0.2.11", "3: virtual = 192.0.2.11: it has no port; write it as in "),
    ] {
        let error = refused(&format!("{service}{line}\n"), &Files::default());
        assert!(error.starts_with(&format!("f:{expected}")), "{line}: {error}");
    }
    let both = refused(&format!("  real=10.0.0.1:80 gate\n{service}\tx=1\n"), &Files::default());
    let lines: Vec<_> = both.lines().map(|line| line.split(" = ").next().unwrap()).collect();
    assert_eq!(lines, ["f:1: real", "f:4: x"]);
}

#[test]
fn a_file_without_a_virtual_is_refused() {
    let source = ImportSource {
        format: Some(ImportFormat::Ldirectord),
        ..source("f", "checktimeout=3\nquiescent=yes\n")
    };
    let error = import(&source, &Files::default()).unwrap_err().to_string();
    assert_eq!(error, "f: there is no virtual service in it");
}
