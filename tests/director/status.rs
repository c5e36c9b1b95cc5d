//! `directrix status`, `/healthz` and signals: what operators look at first.

use crate::config;
use crate::support::netns::wait_until;
use crate::support::site::{EXE, SOON, Site};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::process::Command;

impl Site {
    /// `directrix status --json`, and the codes of its warnings.
    fn status(&self) -> (Value, Vec<String>) {
        let (_, text) = self.run("status --json");
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
        let warnings = status["warnings"].as_array().expect("a list").iter();
        let codes = warnings.map(|warning| warning["code"].as_str().expect("a word").to_owned()).collect();
        (status, codes)
    }
}

#[test]
fn a_healthy_director_is_one_screen_and_status_0() {
    let site = Site::new();
    let director = site.start_and_wait(&config("packet", 1024), "");
    let (status, text) = site.run("status");
    assert_eq!(status, Some(0), "{text}");
    let head = format!("directrix {}, pid {}, up ", env!("CARGO_PKG_VERSION"), director.0.id());
    assert!(text.starts_with(&head), "{text}");
    for row in [
        "Backend      packet: set by configuration or command line\n",
        "Interfaces   eth0 ",
        "VIPs         10.0.0.100 claimed\n",
        "Services     TCP 10.0.0.100:80  1 of 1 server available\n",
        "File         matches the running configuration\n",
        "Last reload  none since the start\n",
        "Warnings     none\n",
    ] {
        assert!(text.contains(row), "{row}: {text}");
    }
    site.run_ok("reload");
    let (status, codes) = site.status();
    assert!(codes.is_empty() && status["ready"] == true, "{status}");
    assert_eq!((&status["reload"]["changes"], &status["reload"]["error"]), (&0.into(), &Value::Null));
    let by = status["reload"]["by"].as_str().expect("a text");
    assert!(by.starts_with("directrix reload (user 0 (root), pid "), "{by}");
}

#[test]
fn what_needs_attention_is_named_and_status_is_3() {
    let site = Site::new();
    let _director = site.start_and_wait(&config("packet", 1024), "");
    site.run_ok("ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 0");
    let (status, text) = site.run("status");
    assert_eq!(status, Some(3), "{text}");
    for part in [
        "Services     TCP 10.0.0.100:80  0 of 1 server available (1 with weight 0)\n",
        "File         1 unsaved change",
        "  ~ TCP 10.0.0.100:80 -> 10.0.0.2: weight 1 -> 0\n",
        "Warnings     TCP 10.0.0.100:80 has no available real server: 1 with weight 0\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    site.append("weight = one\n");
    assert_eq!(site.status().1, ["no-server", "file-unusable"]);
    assert_eq!(site.run("reload").0, Some(1));
    let (status, codes) = site.status();
    assert_eq!(codes, ["no-server", "file-unusable", "reload-failed"]);
    assert!(status["file"]["error"].as_str().expect("a text").contains("director.toml:10"), "{status}");
    let saved = site.run_ok("save");
    fs::write(site.file("director.toml"), saved).expect("the place is writable");
    site.run_ok("reload");
    let (status, codes) = site.status();
    assert_eq!(
        (status["file"]["unsaved"].as_array().map(Vec::len), codes),
        (Some(0), vec!["no-server".into()])
    );
}

#[test]
fn without_a_director_status_is_1() {
    let site = Site::new();
    let (status, text) = site.run("status");
    assert!(status == Some(1) && text.contains("no director is running"), "{text}");
}

#[test]
fn user_signals_end_nothing_and_the_first_dumps_the_state() {
    let site = Site::new();
    let mut director = site.start_and_wait(&config("packet", 1024), "");
    let pid = Pid::from_raw(director.0.id().cast_signed());
    kill(pid, Signal::SIGUSR2).expect("it is a child of this process");
    site.wait_for_line(&["WARN", "signal ignored", "signal=\"SIGUSR2\""]);
    kill(pid, Signal::SIGUSR1).expect("it is a child of this process");
    site.wait_for_line(&["state dump: end"]);
    for parts in [
        ["state dump: director", "ready=true backend=\"packet\""],
        ["state dump: interface", "interface=\"eth0\""],
        ["state dump: VIP", "vip=10.0.0.100 state=\"claimed\""],
        ["state dump: service", "service=TCP 10.0.0.100:80 available=1 servers=1"],
        ["state dump: real server", "rip=10.0.0.2 weight=1 active=0 inactive=0 state=\"reachable\""],
    ] {
        assert_eq!(site.lines(&parts), 1, "{parts:?}: {}", site.log());
    }
    assert!(director.0.try_wait().expect("it is a child of this process").is_none(), "{}", site.log());
    site.run_ok("status");
}

#[test]
fn metrics_listener_reports_the_health() {
    let site = Site::new();
    let _director = site.start(&format!("metrics = \"127.0.0.1:9310\"\n{}", config("packet", 1024)), "");
    let health = || {
        site.director.run("curl -sS --max-time 20 -w '%{http_code}' http://127.0.0.1:9310/healthz || true")
    };
    wait_until("an answer", SOON, || health().contains("not ready yet\n503") || health() == "ok\n200");
    wait_until("health", SOON, || health() == "ok\n200");
    site.peer.run("ip link set eth0 down");
    wait_until("no health", SOON, || health() == "eth0 has no carrier\n503");
    site.peer.run("ip link set eth0 up");
    wait_until("health again", SOON, || health() == "ok\n200");
}

#[test]
fn words_that_people_try_first_name_the_command() {
    for (word, command) in [
        ("list", "ipvsadm -Ln"),
        ("show", "status"),
        ("stats", "ipvsadm -Ln --stats"),
        ("conns", "ipvsadm -Lnc"),
    ] {
        let output = Command::new(EXE).arg(word).output().expect("it is built");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(&format!("tip: 'directrix {command}' does that")), "{text}");
    }
}
