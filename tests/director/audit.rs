//! The audit trail: changes and refused requests in the log, with their origin.

use crate::config;
use crate::support::netns::wait_until;
use crate::support::site::{EXE, SOON, Site};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{Permissions, set_permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

impl Site {
    /// Waits until a line of the log has all of `parts`.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, parts: &[&str]) {
        wait_until(&format!("a line with {parts:?}"), SOON, || self.lines(parts) > 0);
    }

    /// Lines of the log that have all of `parts`.
    pub(crate) fn lines(&self, parts: &[&str]) -> usize {
        let log = self.log();
        log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// Sends `body` to a path of the API, as `curl` would; the whole answer.
    pub(crate) fn post(&self, path: &str, body: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("the director listens");
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nuser-agent: curl/8.5\r\n");
        let length = body.len();
        write!(stream, "{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in text");
        answer
    }

    /// `directrix WORDS` as the user `nobody`.
    fn ask_as_nobody(&self, words: &str) -> Option<i32> {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", EXE, "--socket"]);
        let output = command.arg(self.socket()).args(words.split_whitespace()).output();
        output.expect("setpriv is installed").status.code()
    }
}

#[test]
fn each_change_is_logged_once_with_its_origin() {
    let site = Site::new();
    let director = site.start_and_wait(&config("packet", 1024), "");
    let added = "what=\"+ TCP 10.0.0.101:80 without real servers\"";
    site.run_ok("ipvsadm -A -t 10.0.0.101:80");
    let author = ["INFO", "configuration changed", "uid=0 user=\"root\" pid="];
    site.wait_for_line(&[author[0], author[1], author[2], "via=\"directrix ipvsadm\"", "changes=1", added]);
    site.run_ok("ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 7");
    site.wait_for_line(&[author[1], "what=\"~ TCP 10.0.0.100:80 -> 10.0.0.2: weight 1 -> 7\""]);
    site.run_ok("ipvsadm -Z -t 10.0.0.100:80");
    site.wait_for_line(&[author[1], "what=\"~ TCP 10.0.0.100:80: counters set to zero\""]);
    site.run_ok("ipvsadm -C");
    site.wait_for_line(&[author[1], "changes=2", "- TCP 10.0.0.100:80 with 1 real server; - TCP 10.0.0.101"]);

    let service = r#"{"protocol": "tcp", "address": "10.0.0.102:80"}"#;
    let answer = site.post("/v1/changes", &format!(r#"[{{"do": "add-service", "service": {service}}}]"#));
    assert!(answer.ends_with(r#"{"changes":["+ TCP 10.0.0.102:80 without real servers"]}"#), "{answer}");
    site.wait_for_line(&[author[1], author[2], "via=\"API\"", "program=\"curl/8.5\"", "+ TCP 10.0.0.102:80"]);

    site.run_ok("reload");
    let reloaded =
        ["configuration reloaded", "- TCP 10.0.0.102:80 without real servers; + TCP 10.0.0.100:80"];
    site.wait_for_line(&[reloaded[0], author[2], "via=\"directrix reload\"", "changes=2", reloaded[1]]);
    kill(Pid::from_raw(director.0.id().cast_signed()), Signal::SIGHUP)
        .expect("it is a child of this process");
    site.wait_for_line(&[reloaded[0], "via=\"SIGHUP\"", "changes=0"]);
    assert_eq!(site.lines(&["configuration changed"]), 5, "{}", site.log());
    assert_eq!(site.lines(&["configuration reloaded"]), 2, "{}", site.log());
}

#[test]
fn what_changes_nothing_is_no_change() {
    let site = Site::new();
    let _director = site.start_and_wait(&config("packet", 1024), "");
    site.run_ok("ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 1");
    site.run_ok("ipvsadm -A -t 10.0.0.101:80");
    site.wait_for_line(&["configuration changed", "10.0.0.101"]);
    assert_eq!(site.lines(&["configuration changed"]), 1, "{}", site.log());
}

#[test]
fn refused_requests_are_logged_and_rate_limited() {
    let site = Site::new();
    set_permissions(site.place.path(), Permissions::from_mode(0o755)).expect("it is a child of this process");
    let text = config("packet", 1024);
    let _director = site.start_and_wait(&format!("control_others = \"read\"\n{text}"), "");
    assert_eq!(site.ask_as_nobody("ipvsadm -C"), Some(255));
    let refused = ["WARN", "request refused", "request=\"POST /v1/changes\""];
    let nobody = "uid=65534 user=\"nobody\" pid=";
    site.wait_for_line(&[
        refused[0],
        refused[1],
        refused[2],
        nobody,
        "status=403",
        "may read but not change",
    ]);

    let (status, _) = site.run("ipvsadm -D -t 10.0.0.109:80");
    assert_eq!(status, Some(255));
    site.wait_for_line(&[refused[0], refused[1], "uid=0 user=\"root\"", "status=409", "10.0.0.109:80"]);
    let answer = site.post("/v1/changes", r#"[{"do": "destroy"}]"#);
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    site.wait_for_line(&[refused[1], "via=\"API\"", "status=422", "unknown variant `destroy`"]);

    for _ in 0..60 {
        site.post("/v1/changes", "[");
    }
    assert_eq!(site.ask_as_nobody("ipvsadm -Z"), Some(255), "another user has lines of its own");
    site.wait_for_line(&[refused[1], "via=\"directrix ipvsadm\"", "uid=65534", "status=403"]);
    let lines = site.lines(&[refused[1], "status=400"]);
    assert!((1..30).contains(&lines), "{lines} lines: {}", site.log());
}
