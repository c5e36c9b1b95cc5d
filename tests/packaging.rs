//! What the package is made of: the unit, the man pages, the completions. `tools/package --test` installs it.
#![allow(missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

const EXE: &str = env!("CARGO_BIN_EXE_directrix");
const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/debian/directrix.service");
/// Seen: 2.4 of 10 with systemd 252; more than half of that is the host's network, and raw access to it.
const EXPOSURE_MAX: &str = "25";

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .expect("tools/setup installs it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_unit_is_one_that_systemd_takes_without_a_word() {
    let place = tempfile::tempdir().unwrap();
    let unit = place.path().join("directrix.service");
    let installed = std::fs::read_to_string(UNIT).unwrap();
    assert!(installed.contains("ExecStart=/usr/bin/directrix run\n"));
    std::fs::write(&unit, installed.replace("/usr/bin/directrix", EXE)).unwrap();
    let verified = run("systemd-analyze", &["verify", "--man=no", &unit.display().to_string()]);
    let said = text(&verified.stdout) + &text(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_unit_s_sandbox_leaves_little_exposed() {
    let offline = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX, UNIT];
    let judged = run("systemd-analyze", &offline);
    let said = text(&judged.stdout);
    assert!(said.contains("Overall exposure level for directrix.service"), "{said}{}", text(&judged.stderr));
    assert!(judged.status.success(), "{said}");
}

/// As `--help` lists them.
fn commands(words: &[&str]) -> Vec<String> {
    let help = text(&run(EXE, &[words, &["--help"]].concat()).stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.map_while(|line| line.strip_prefix("  ")).filter_map(|line| line.split(' ').next());
    names.filter(|name| !matches!(*name, "" | "help")).map(str::to_owned).collect()
}

fn page(place: &Path, name: &str) -> String {
    std::fs::read_to_string(place.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_command_that_help_lists_has_a_page() {
    let place = tempfile::tempdir().unwrap();
    let pages = place.path().join("man");
    let done = run(EXE, &["generate", "man", &pages.display().to_string()]);
    assert!(done.status.success() && done.stderr.is_empty(), "{}", text(&done.stderr));
    let listed = commands(&[]);
    assert!(listed.len() >= 6, "{listed:?}");
    assert!(!listed.contains(&"generate".into()));
    for command in listed {
        assert!(page(&pages, &format!("directrix-{command}.1")).contains(".SH NAME"), "{command}");
    }
    for command in commands(&["realserver"]) {
        page(&pages, &format!("directrix-realserver-{command}.1"));
    }
    assert!(page(&pages, "directrix.1").contains("/etc/directrix/directrix.toml"));
    assert!(page(&pages, "directrix.toml.5").contains("[[service.server]]"));
}

#[test]
fn the_page_of_ipvsadm_has_its_whole_help() {
    let place = tempfile::tempdir().unwrap();
    run(EXE, &["generate", "man", &place.path().display().to_string()]);
    let page = page(place.path(), "directrix-ipvsadm.1").replace("\\-", "-").replace("\\&", "");
    let help = text(&run(EXE, &["ipvsadm", "-h"]).stdout);
    let lines: Vec<_> = help.lines().skip(1).filter(|line| !line.contains(['`', '\''])).collect();
    assert!(lines.len() > 20, "{help}");
    lines.iter().for_each(|line| assert!(page.contains(line), "{line}: {page}"));
}

#[test]
fn completions_are_made_for_each_shell_and_bash_takes_its_own() {
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef directrix"), ("fish", "complete -c directrix")]
    {
        let made = text(&run(EXE, &["generate", "completions", shell]).stdout);
        assert!(made.contains(sign) && made.contains("realserver"), "{shell}");
    }
    let line = format!("source <({EXE} generate completions bash) && complete -p directrix");
    let taken = run("bash", &["--norc", "-c", &line]);
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    assert!(text(&taken.stdout).contains("_directrix"));
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    let refused = run(EXE, &["generate", "man", "/dev/null/pages"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.starts_with("directrix: writing to /dev/null/pages: ") && said.contains("; name a place"),
        "{said}"
    );
}
