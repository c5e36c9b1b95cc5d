//! RUST_LOG: what it shows of directrix, and that it shows no library's inner life.

use crate::config;
use crate::support::netns::{Process, wait_until};
use crate::support::site::{EXE, SOON, Site};
use std::fs::{self, File};
use std::process::Stdio;

impl Site {
    /// As [`Site::start_and_wait`], with a value of RUST_LOG.
    fn start_with_log(&self, backend: &str, level: &str) -> Process {
        let (file, socket) = (self.file("director.toml"), self.socket().display().to_string());
        let text = format!("[director]\ninterface = \"eth0\"\n{}", config(backend, 1024));
        fs::write(&file, text).expect("the place is writable");
        let run = format!("RUST_LOG={level} exec {EXE} --socket {socket} run --config {}", file.display());
        let log = File::create(self.file("log")).expect("the place is writable");
        let child = self.director.command(&run).stdout(Stdio::null()).stderr(log).spawn();
        let process = Process(child.expect("ip is installed"));
        wait_until("ready", SOON, || self.log().contains("ready services="));
        process
    }
}

#[test]
fn debug_shows_decisions_and_no_library() {
    for backend in ["xdp", "packet"] {
        let site = Site::new();
        let _director = site.start_with_log(backend, "debug");
        site.run_ok("ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 7");
        site.run_ok("ipvsadm -D -t 10.0.0.100:80");
        for message in [
            "worker started worker=0",
            "neighbor event",
            "steering set updated services=1",
            "change applied change=\"~ TCP 10.0.0.100:80 -> 10.0.0.2: weight 1 -> 7\"",
            "snapshot published services=1",
            "ids of removed servers and services released",
            "request answered listener=\"control socket\" method=POST path=\"/v1/changes\" status=200",
        ] {
            site.wait_for_line(&["DEBUG", message]);
        }
        let log = site.log();
        let foreign = ["/registry/", "relocat", ".cargo", "hyper", "rtnetlink"];
        assert!(foreign.iter().all(|word| !log.contains(word)), "{backend}: {log}");
    }
}

#[test]
fn a_filter_that_is_not_understood_is_named() {
    let site = Site::new();
    let _director = site.start_with_log("packet", "directrix=verbose");
    site.wait_for_line(&["WARN", "RUST_LOG is not understood", "value=\"directrix=verbose\""]);
}
