//! The command line of `directrix import`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const GOOD: &str = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 2\n";

/// Runs `directrix` in a directory; returns exit status, stdout and stderr.
fn directrix(dir: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_directrix"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that rejects its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn output_passes_run_check() {
    let dir = tempfile::tempdir().unwrap();
    let (status, toml, stderr) = directrix(dir.path(), &["import", "--interface", "lan0"], GOOD);
    assert_eq!(
        (status, stderr.as_str()),
        (0, "directrix: 1 service with 1 real server written; all is carried over\n")
    );
    let dash = directrix(dir.path(), &["import", "-", "--interface", "lan0"], GOOD);
    assert_eq!(dash, (0, toml.clone(), stderr));
    fs::write(dir.path().join("d.toml"), toml).unwrap();
    let checked = directrix(dir.path(), &["run", "--check", "--config", "d.toml"], "");
    assert_eq!(checked, (0, "d.toml: 1 service, no errors\n".into(), String::new()));
}

#[test]
fn output_file_is_replaced_only_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.toml");
    let import = ["import", "--interface", "lan0", "--output", "d.toml"];
    let (status, out, _) = directrix(dir.path(), &import, GOOD);
    let first = fs::read_to_string(&path).unwrap();
    assert_eq!((status, out.as_str()), (0, ""));
    assert!(first.contains("address = \"192.0.2.1:80\""), "{first}");
    let other = GOOD.replace("192.0.2.1", "192.0.2.7");
    let (status, _, stderr) = directrix(dir.path(), &import, &other);
    assert_eq!((status, stderr.as_str()), (2, "directrix: d.toml exists; write --force to replace it\n"));
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    let forced = [&import[..], &["--force"]].concat();
    assert_eq!(directrix(dir.path(), &forced, "-q\n").0, 2);
    assert_eq!(fs::read_to_string(&path).unwrap(), first, "bad input leaves the file as it was");
    assert_eq!(directrix(dir.path(), &forced, &other).0, 0);
    assert!(fs::read_to_string(&path).unwrap().contains("address = \"192.0.2.7:80\""));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn exit_status_reports_the_result() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("k.conf"),
        "virtual_server 192.0.2.1 80 {\nprotocol TCP\nlvs_method DR\nquorum 2\nreal_server 10.0.0.1 80 {\n}\n}\n",
    )
    .unwrap();
    let cases: &[(&[&str], &str, i32, &str)] = &[
        (&["import", "k.conf", "--interface", "lan0"], "", 1, "k.conf:4: not carried over: quorum "),
        (&["import"], "-A -t 127.0.0.1:80\n", 1, "stdin:1: not carried over: "),
        (
            &["import"],
            "a = b\n",
            2,
            "directrix: stdin: \"a = b\" begins neither rules of ipvsadm nor a configuration of keepalived, and",
        ),
        (&["import"], "", 2, "directrix: stdin: it is empty; "),
        (&["import"], "-q\n", 2, "directrix: stdin:1: ipvsadm would not take this line: "),
        (&["import", "none.conf"], "", 2, "directrix: none.conf: there is no such file; write one"),
        (&["import", "--from", "keepalived"], "a {\n", 2, "directrix: stdin:1: the block of a has no "),
        (&["import", "--interface", ""], GOOD, 2, "directrix: --interface is empty; "),
        (
            &["import", "--output", "none/d.toml", "--interface", "lan0"],
            GOOD,
            1,
            "directrix: none/d.toml cannot be written: ",
        ),
        (&["import", "--force"], GOOD, 2, "error: "),
        (&["import", "--from", "nginx"], GOOD, 2, "error: "),
        (&["import", "a", "b"], GOOD, 2, "error: "),
    ];
    for (args, input, status, begins) in cases {
        let (got, out, stderr) = directrix(dir.path(), args, input);
        assert_eq!(got, *status, "{args:?}: {stderr}");
        assert!(stderr.starts_with(begins), "{args:?}: {stderr}");
        assert_eq!(out.is_empty(), !args.contains(&"k.conf"), "{args:?}: {out}");
    }
}

#[test]
fn quoted_lines_are_truncated_and_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(100_000);
    for line in [format!("-A -t 192.0.2.1:{long}"), format!("-A -t 192.0.2.1:80 --{long}")] {
        let (status, _, stderr) =
            directrix(dir.path(), &["import", "--from", "ipvsadm"], &format!("{line}\x1b[2J\n"));
        assert_eq!(status, 2);
        assert!(stderr.len() < 400 && stderr.contains("xxx…"), "{stderr:.500}");
    }
    let import = ["import", "--from", "ipvsadm", "--interface", "lan0"];
    let (status, _, stderr) = directrix(dir.path(), &import, &format!("-A -t 192.0.2.1:80 -s {long}\n"));
    assert!(status == 1 && stderr.len() < 700 && stderr.contains("xxx…; "), "{stderr:.900}");
    let (_, _, stderr) = directrix(dir.path(), &["import", "--from", "ipvsadm"], "-A -t \x1b[2J\n");
    assert!(!stderr.contains('\x1b'), "{stderr}");
}
