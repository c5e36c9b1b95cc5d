//! Start before the network is configured.

use crate::support::netns::wait_until;
use crate::support::site::{SOON, Site, end};
use crate::{CONFIG, signal, supervised};
use nix::sys::signal::Signal;
use std::fs;

/// A missing requirement, its log message, and the command that provides it.
const ABSENCES: [(&str, &str, &str); 3] = [
    (
        "ip link set eth0 name later0",
        "there is no interface of that name here; name one of these: later0",
        "ip link set later0 name eth0 && ip link set eth0 up",
    ),
    (
        "ip link set eth0 down",
        "eth0: it is down; bring it up: ip link set dev eth0 up",
        "ip link set eth0 up",
    ),
    (
        "ip address flush dev eth0",
        "director.toml:9: real server 10.0.0.2 is not on-link: eth0 has no IPv4 address",
        "ip address add 10.0.0.1/24 dev eth0",
    ),
];

#[test]
fn run_waits_for_a_missing_interface_link_or_address() {
    for (removal, reason, remedy) in ABSENCES {
        let site = Site::new();
        site.director.run(removal);
        let mut director = site.start(CONFIG, "");
        site.wait_for("waiting for the network");
        assert!(site.log().contains(reason), "{reason}: {}", site.log());
        assert!(director.0.try_wait().unwrap().is_none(), "it waits");
        site.director.run(remedy);
        wait_until("ready", SOON, || site.is_ready());
        assert_eq!(site.log().matches(reason).count(), 1, "logged once: {}", site.log());
        signal(&director, Signal::SIGTERM);
        assert_eq!(end(&mut director), Some(0), "{}", site.log());
    }
}

#[test]
fn requests_during_a_wait_fail_with_its_reason() {
    let site = Site::new();
    site.director.run("ip link set eth0 down");
    let mut director = site.start(CONFIG, "");
    site.wait_for("waiting for the network");
    let prefix = "waiting for the network: ";
    let reason = "eth0: it is down; bring it up: ip link set dev eth0 up";
    for (words, failure) in
        [("status", 1), ("reload", 1), ("ipvsadm -Ln", 255), ("ipvsadm -A -t 10.0.0.100:81", 255)]
    {
        let (status, output) = site.run(words);
        assert!(
            status == Some(failure) && output.contains(prefix) && output.contains(reason),
            "{words}: {status:?}: {output}"
        );
    }
    site.director.run("ip address flush dev eth0 && ip link set eth0 up");
    wait_until("another reason", SOON, || site.run("status").1.contains("eth0 has no IPv4 address"));
    site.director.run("ip address add 10.0.0.1/24 dev eth0");
    wait_until("ready", SOON, || site.is_ready());
    wait_until("status 0", SOON, || site.run("status").0 == Some(0));
    signal(&director, Signal::SIGTERM);
    assert_eq!(end(&mut director), Some(0), "{}", site.log());
    assert!(!site.socket().exists());
}

#[test]
fn a_socket_in_use_ends_a_wait_at_once() {
    let site = Site::new();
    let _other = std::os::unix::net::UnixListener::bind(site.socket()).unwrap();
    site.director.run("ip link set eth0 down");
    let (status, log) = site.refused(CONFIG);
    assert!(status == Some(1) && log.contains("another directrix listens on"), "{status:?}: {log}");
}

#[test]
fn a_signal_ends_a_wait_with_status_0() {
    for number in [Signal::SIGTERM, Signal::SIGINT] {
        let site = Site::new();
        site.director.run("ip link set eth0 down");
        let mut director = site.start(CONFIG, "");
        site.wait_for("waiting for the network");
        signal(&director, number);
        assert_eq!(end(&mut director), Some(0), "{}", site.log());
        assert!(!site.socket().exists());
    }
}

#[test]
fn a_reload_corrects_a_wait_for_a_wrong_interface() {
    let site = Site::new();
    let mut director = site.start(&CONFIG.replace("backend", "server_interface = \"eth7\"\nbackend"), "");
    site.wait_for("looking up interface eth7");
    fs::write(site.file("director.toml"), "[director").unwrap();
    signal(&director, Signal::SIGHUP);
    site.wait_for("the configuration stays as it was");
    fs::write(site.file("director.toml"), format!("[director]\ninterface = \"eth0\"\n{CONFIG}")).unwrap();
    signal(&director, Signal::SIGHUP);
    wait_until("ready", SOON, || site.is_ready());
    signal(&director, Signal::SIGTERM);
    assert_eq!(end(&mut director), Some(0));
}

#[test]
fn errors_that_waiting_cannot_resolve_end_with_status_1() {
    let site = Site::new();
    let far = CONFIG.replace("10.0.0.2", "10.9.9.9");
    let broadcast = CONFIG.replace("10.0.0.100", "10.0.0.255");
    let with = |line: &str| format!("{line}\n{CONFIG}");
    for (config, words) in [
        (far, "director.toml:9: real server 10.9.9.9 is not on-link"),
        (broadcast, "director.toml:7: the VIP 10.0.0.255 cannot be a host address"),
        (with("user = \"no-such-user\""), "there is no such user on this host"),
        (with("control_group = \"no-such-group\""), "this host has no such group"),
        (with("server_interface = \"lo\""), "it is not Ethernet"),
    ] {
        let (status, log) = site.refused(&config);
        assert!(log.contains(words), "{words}: {log}");
        assert_eq!(status, Some(1), "{log}");
    }
    let (status, log) = site.refused("backend = \"packet\"\ninterfaces = 1\n");
    assert_eq!(status, Some(2), "an error of the file itself: {log}");
}

#[test]
fn a_wait_is_notified_and_extends_the_start_timeout() {
    for (removal, _, remedy) in ABSENCES {
        let (site, manager, _director) = supervised(CONFIG, removal);
        let notified = manager.wait_for("EXTEND_TIMEOUT_USEC=60000000");
        assert!(notified.contains("STATUS=waiting: ") && !notified.contains("READY=1"), "{notified}");
        site.director.run(remedy);
        let notified = manager.wait_for("READY=1");
        assert!(notified.ends_with("READY=1\nSTATUS=ready\n"), "{notified}");
    }
}
