//! Refused starts: each has a cause and a remedy, and changes nothing.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::http::assert_counts_match;
use crate::on_both_backends;
use crate::peers::{EchoConnection, Peers, connect};
use crate::support::netns::{Netns, host};
use std::path::Path;

on_both_backends! {
    a_second_director_on_an_interface_is_refused
    interfaces_and_addresses_are_checked
    a_control_socket_in_use_is_refused
    missing_capabilities_are_in_the_error
}

#[track_caller]
fn assert_refused(deployment: &Deployment, config: &str, status: i32, parts: &[&str]) {
    let (ended, log) = Director::refusal(&deployment.director, config, "");
    assert_eq!(ended, Some(status), "{log}");
    parts.iter().for_each(|part| assert!(log.contains(part), "{part}: {log}"));
}

fn a_second_director_on_an_interface_is_refused(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut connection = EchoConnection::open(&deployment.client);
    connect(&deployment.client, 30);
    for second in ["xdp", "packet", "auto"] {
        let config = Config::new(second).text(&deployment);
        assert_refused(&deployment, &config, 1, &["eth0", "another directrix"]);
        connection.exchange("data");
    }
    connect(&deployment.client, 30);
    assert_counts_match(&deployment, &director);
}

fn interfaces_and_addresses_are_checked(backend: &str) {
    let deployment = Deployment::reference();
    let good = Config::new(backend).text(&deployment);
    assert_refused(&deployment, &good.replace("eth0", "lo"), 1, &["lo", "not Ethernet"]);
    let far = good.replace("192.168.195.171", "10.1.2.3");
    assert_refused(&deployment, &far, 1, &["10.1.2.3", "not on-link", "192.168.195.149/24"]);
    let broadcast = good.replace("address = \"192.168.195.150:80\"", "address = \"192.168.195.255:80\"");
    let line = 1 + broadcast.lines().position(|line| line.contains(".255:80")).unwrap();
    let place =
        format!("config.toml:{line}: the VIP 192.168.195.255 cannot be a host address: it is the broadcast");
    assert_refused(&deployment, &broadcast, 1, &[&place, "192.168.195.0/24 on eth0; name another address"]);
    assert_refused(
        &deployment,
        &good.replace("weight = 2", "wait = 2"),
        2,
        &["config.toml:12: \"wait\"", "its keys are"],
    );
}

fn a_control_socket_in_use_is_refused(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new(backend));
    deployment.director.run("ip link add eth1 type veth peer name peer1 && ip link set peer1 up");
    deployment.director.run("ip address add 10.7.7.1/24 dev eth1 && ip link set eth1 up");
    let text = Config::new(backend).text(&deployment).replace("eth0", "eth1");
    let text = text.replace("192.168.195.1", "10.7.7.1");
    let same_socket = format!("env DIRECTRIX_SOCKET={}", director.socket().display());
    let (status, log) = Director::refusal(&deployment.director, &text, &same_socket);
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains(&director.socket().display().to_string()), "{log}");
    assert!(log.contains("another directrix listens"), "{log}");
    assert!(director.cli("ipvsadm -Ln").contains(&VIP.to_string()), "the first director still responds");
}

fn missing_capabilities_are_in_the_error(backend: &str) {
    let deployment = Deployment::reference();
    let none = "setpriv --bounding-set=-all --inh-caps=-all";
    for choice in [backend, "auto"] {
        let config = Config::new(choice).text(&deployment);
        let (status, log) = Director::refusal(&deployment.director, &config, none);
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains("EPERM") && log.contains("setcap") && log.contains("cap_net_raw,"), "{log}");
    }
}

#[test]
fn auto_avoids_a_foreign_xdp_program() {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    attach_foreign_program(&deployment.director);
    let config = Config::new("xdp").text(&deployment);
    assert_refused(&deployment, &config, 1, &["EBUSY", "foreign_program", "ip link set dev eth0 xdp off"]);
    let director = Director::start(&deployment, &Config::new("auto"));
    let why = director.log();
    assert!(why.contains("backend packet") && why.contains("foreign_program"), "{why}");
    assert!(director.cli("workers").contains("packet"));
    connect(&deployment.client, 30);
    assert!(
        deployment.director.run("ip -details link show dev eth0").contains("prog/xdp"),
        "the program stays"
    );
}

/// Attaches an XDP program that returns XDP_PASS.
fn attach_foreign_program(on: &Netns) {
    let directory = tempfile::tempdir().unwrap();
    let object = compile(directory.path());
    on.run(&format!("ip link set dev eth0 xdp obj {object} sec xdp"));
}

fn compile(directory: &Path) -> String {
    let (source, object) = (directory.join("foreign.c"), directory.join("foreign.o"));
    let text = "__attribute__((section(\"xdp\"), used)) int foreign_program(void *context) { return 2; }
        char _license[] __attribute__((section(\"license\"), used)) = \"MIT\";";
    std::fs::write(&source, text).unwrap();
    host(&format!("clang -target bpf -O2 -g -c {} -o {}", source.display(), object.display()));
    object.display().to_string()
}
