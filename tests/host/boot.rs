//! A start before the network.

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
fn what_is_not_there_yet_is_waited_for() {
    for (missing, reason, comes) in ABSENCES {
        let site = Site::new();
        site.director.run(missing);
        let mut director = site.start(CONFIG, "");
        site.wait_for("waiting for the network");
        assert!(site.log().contains(reason), "{reason}: {}", site.log());
        assert!(director.0.try_wait().unwrap().is_none(), "it waits");
        site.director.run(comes);
        wait_until("ready", SOON, || site.is_ready());
        assert_eq!(site.log().matches(reason).count(), 1, "said once: {}", site.log());
        signal(&director, Signal::SIGTERM);
        assert_eq!(end(&mut director), Some(0), "{}", site.log());
    }
}

#[test]
fn a_director_that_waits_says_at_its_socket_what_for() {
    let site = Site::new();
    site.director.run("ip link set eth0 down");
    let mut director = site.start(CONFIG, "");
    site.wait_for("waiting for the network");
    let reason = "waiting for the network: ";
    let what = "eth0: it is down; bring it up: ip link set dev eth0 up";
    for (words, failure) in
        [("status", 1), ("reload", 1), ("ipvsadm -Ln", 255), ("ipvsadm -A -t 10.0.0.100:81", 255)]
    {
        let (status, said) = site.ask(words);
        assert!(
            status == Some(failure) && said.contains(reason) && said.contains(what),
            "{words}: {status:?}: {said}"
        );
    }
    site.director.run("ip address flush dev eth0 && ip link set eth0 up");
    wait_until("another reason", SOON, || site.ask("status").1.contains("eth0 has no IPv4 address"));
    site.director.run("ip address add 10.0.0.1/24 dev eth0");
    wait_until("ready", SOON, || site.is_ready());
    wait_until("health", SOON, || site.ask("status").0 == Some(0));
    signal(&director, Signal::SIGTERM);
    assert_eq!(end(&mut director), Some(0), "{}", site.log());
    assert!(!site.socket().exists());
}

#[test]
fn a_socket_of_another_director_ends_a_wait_at_once() {
    let site = Site::new();
    let _other = std::os::unix::net::UnixListener::bind(site.socket()).unwrap();
    site.director.run("ip link set eth0 down");
    let (status, log) = site.refused(CONFIG);
    assert!(status == Some(1) && log.contains("another directrix listens on"), "{status:?}: {log}");
}

#[test]
fn a_wait_ends_in_order_when_told_to() {
    for wanted in [Signal::SIGTERM, Signal::SIGINT] {
        let site = Site::new();
        site.director.run("ip link set eth0 down");
        let mut director = site.start(CONFIG, "");
        site.wait_for("waiting for the network");
        signal(&director, wanted);
        assert_eq!(end(&mut director), Some(0), "{}", site.log());
        assert!(!site.socket().exists());
    }
}

#[test]
fn a_wait_for_the_wrong_interface_ends_with_a_reload() {
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
fn what_waiting_does_not_mend_ends_with_1_at_once() {
    let site = Site::new();
    let far = CONFIG.replace("10.0.0.2", "10.9.9.9");
    let broadcast = CONFIG.replace("10.0.0.100", "10.0.0.255");
    let with = |line: &str| format!("{line}\n{CONFIG}");
    for (config, words) in [
        (far, "director.toml:9: real server 10.9.9.9 is not on-link"),
        (broadcast, "director.toml:7: the VIP 10.0.0.255 can be no host's"),
        (with("user = \"no-such-user\""), "there is no such user on this host"),
        (with("control_group = \"no-such-group\""), "this host has no such group"),
        (with("server_interface = \"lo\""), "it is not Ethernet"),
    ] {
        let (status, log) = site.refused(&config);
        assert!(log.contains(words), "{words}: {log}");
        assert_eq!(status, Some(1), "{log}");
    }
    let (status, log) = site.refused("backend = \"packet\"\ninterfaces = 1\n");
    assert_eq!(status, Some(2), "what the file alone is wrong in: {log}");
}

#[test]
fn the_service_manager_is_told_of_a_wait_and_gives_it_time() {
    for (missing, _, comes) in ABSENCES {
        let (site, manager, _director) = supervised(CONFIG, missing);
        let told = manager.wait_for("EXTEND_TIMEOUT_USEC=60000000");
        assert!(told.contains("STATUS=waiting: ") && !told.contains("READY=1"), "{told}");
        site.director.run(comes);
        let told = manager.wait_for("READY=1");
        assert!(told.ends_with("READY=1\nSTATUS=ready\n"), "{told}");
    }
}
