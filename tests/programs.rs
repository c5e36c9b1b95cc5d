//! Commands on a machine that lacks a program which they need. Needs root.
#![allow(missing_docs)]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Directories of programs on Debian.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A folder with every program of this machine but one.
fn all_but(program: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = HashSet::new();
    for found in FOLDERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
        let name = found.file_name();
        if name != OsStr::new(program) && seen.insert(name.clone()) {
            symlink(found.path(), folder.path().join(name)).unwrap();
        }
    }
    assert!(!folder.path().join(program).exists() && folder.path().join("ip").exists() | (program == "ip"));
    folder
}

fn directrix(path: &Path, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_directrix"));
    command.args(words.split_whitespace()).env("PATH", path).stdin(Stdio::null()).output().unwrap()
}

fn status_and_stderr(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn namespaces(prefix: &str) -> usize {
    let all = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
}

#[test]
fn a_bench_goes_on_without_the_dut_whose_program_is_missing() {
    let (path, home) = (all_but("nft"), tempfile::tempdir().unwrap());
    let out = home.path().join("report");
    let words = format!(
        "lab bench --quick --duts hairpin,nft --pairs 1 --seconds 0.05 --flows 500 --servers 2 --out {}",
        out.display()
    );
    let output = directrix(path.path(), &words);
    assert!(output.status.success(), "{:?}", status_and_stderr(&output));
    let missing = "nft: not found: nft; install with: apt-get install nftables";
    let screen = String::from_utf8_lossy(&output.stdout);
    assert!(screen.starts_with(&format!("left out: {missing}\n")), "{screen}");
    let report = std::fs::read_to_string(out.join("report.txt")).unwrap();
    assert!(report.contains(&format!("left out     {missing}\n")) && report.contains("hairpin"), "{report}");
}

#[test]
fn a_bench_without_a_dut_left_starts_nothing() {
    let (path, home) = (all_but("nft"), tempfile::tempdir().unwrap());
    let out = home.path().join("report");
    let output = directrix(path.path(), &format!("lab bench --duts nft --out {}", out.display()));
    let expected =
        "directrix lab: no DUT is left: nft: not found: nft; install with: apt-get install nftables\n";
    assert_eq!(status_and_stderr(&output), (Some(2), expected.to_owned()));
    assert!(!out.exists());
}

#[test]
fn a_bench_and_a_lab_look_for_their_programs_first() {
    for (program, package, words) in [
        ("ethtool", "ethtool", "lab bench --quick"),
        ("ip", "iproute2", "lab bench --quick"),
        ("ethtool", "ethtool", "lab --name NAME"),
        ("arptables", "arptables", "lab up --name NAME --arp arptables"),
        ("ip", "iproute2", "lab up --name NAME"),
    ] {
        let (path, name) = (all_but(program), format!("dxp{}", std::process::id()));
        let output = directrix(path.path(), &words.replace("NAME", &name));
        let expected =
            format!("directrix lab: not found: {program}; install with: apt-get install {package}\n");
        assert_eq!(status_and_stderr(&output), (Some(2), expected), "{words}");
        assert_eq!(namespaces(&name), 0, "{words}");
    }
}

#[test]
fn a_lab_shell_names_the_package_of_a_missing_program() {
    let (path, name) = (all_but("curl"), format!("dxs{}", std::process::id()));
    let up = directrix(path.path(), &format!("lab up --name {name}"));
    let shell =
        directrix(path.path(), &format!("lab shell --name {name} client -- curl http://192.168.195.150/"));
    let own = directrix(path.path(), &format!("lab shell --name {name} director -- directrix ipvsadm -Ln"));
    let down = directrix(path.path(), &format!("lab down --name {name}"));
    assert!(
        up.status.success() && down.status.success(),
        "{:?} {:?}",
        status_and_stderr(&up),
        status_and_stderr(&down)
    );
    let expected = "directrix lab: not found: curl; install with: apt-get install curl\n";
    assert_eq!(status_and_stderr(&shell), (Some(2), expected.to_owned()));
    assert!(
        own.status.success(),
        "directrix itself is found beside the lab's: {:?}",
        status_and_stderr(&own)
    );
    assert_eq!(namespaces(&name), 0);
}
