//! Faults that traffic shows: beside a running director, or in a sample of frames.

use crate::SERVICE;
use crate::support::netns::{Process, wait_until};
use crate::support::site::{SOON, Site};

const PACKET: &str = "backend = \"packet\"\nconnections = 1024\n";

#[test]
fn replies_that_take_the_director_as_router_name_the_server() {
    let site = Site::new();
    site.peer.run("ip address add 10.0.0.100/32 dev lo; ip route add default via 10.0.0.1");
    site.director.run("ping -q -c 1 -W 1 10.0.0.2");
    site.is_sound(SERVICE, "replies");
    let replies = Process(
        site.peer
            .command("exec ping -q -i 0.02 -I 10.0.0.100 192.0.2.9")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut found = serde_json::Value::Null;
    wait_until("the replies are seen", SOON, || {
        found = site.doctor(SERVICE).finding("replies");
        found["level"] == "warn"
    });
    let what = found["what"].as_str().unwrap();
    assert!(
        what.starts_with("the real server 10.0.0.2 (") && what.contains("10.0.0.100 for 192.0.2.9"),
        "{found}"
    );
    drop(replies);
    site.is_sound(SERVICE, "replies");
}

#[test]
fn answers_to_the_director_s_own_checks_are_no_replies() {
    let site = Site::new();
    site.peer.run("ip address add 10.0.0.100/32 dev lo");
    let _answers = Process(
        site.peer
            .command("exec ping -q -i 0.02 -I 10.0.0.100 10.0.0.1")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    let received = "awk '/^Icmp: [0-9]/ { print $2 }' /proc/net/snmp";
    let seen = || site.director.run(received).trim() != "0";
    wait_until("answers arrive", SOON, seen);
    site.is_sound(SERVICE, "replies");
}

#[test]
fn handshakes_that_fail_on_every_server_are_found() {
    let site = Site::new();
    site.peer.run("ip address add 10.0.0.3/24 dev eth0; ip route add 10.0.0.100/32 dev eth0 src 10.0.0.3");
    let _director = site.start_and_wait(&format!("{PACKET}{SERVICE}"), "");
    site.is_sound(SERVICE, "handshakes");
    // The peer has no VIP, so nothing answers.
    site.peer.run(
        "for port in $(seq 60); do timeout 1 bash -c 'exec 3<>/dev/tcp/10.0.0.100/80' 2>/dev/null & done; wait",
    );
    let mut found = serde_json::Value::Null;
    wait_until("the handshakes are counted", SOON, || {
        found = site.doctor(SERVICE).finding("handshakes");
        found["level"] == "warn"
    });
    assert!(found["what"].as_str().unwrap().contains("10.0.0.100:80"), "{found}");
    wait_until("they are over", SOON, || site.doctor(SERVICE).finding("handshakes")["level"] == "ok");
}

#[test]
fn findings_of_the_auditor_are_the_doctor_s() {
    let site = Site::new();
    let _director = site.start_and_wait(&format!("{PACKET}audit_interval = 5\n{SERVICE}"), "");
    site.is_sound(SERVICE, "address-audit");
    site.peer.run("ip address add 10.0.0.100/32 dev eth0");
    let mut found = serde_json::Value::Null;
    wait_until("the auditor asks", SOON, || {
        found = site.doctor(SERVICE).findings("address-audit").remove(0);
        found["level"] != "ok"
    });
    assert_eq!(found["level"], "error", "{found}");
    assert!(found["what"].as_str().unwrap().contains("10.0.0.2"), "{found}");
}

#[test]
fn busy_workers_without_cores_of_their_own_are_found() {
    let site = Site::new();
    let config = format!("{PACKET}workers = 1\n{SERVICE}");
    let _director = site.start_and_wait(&config, "");
    site.is_sound(&config, "worker-isolation");
    assert_eq!(site.doctor(&config).finding("worker-isolation")["level"], "ok", "it is examined");
    let busy = format!("wait = \"busy\"\n{config}");
    let found = site.doctor(&busy).findings("worker-isolation");
    let isolated = std::fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default();
    if isolated.trim().is_empty() {
        assert_eq!(found[0]["level"], "hint", "{found:?}");
        assert!(found[0]["remedy"]["advice"].as_str().unwrap().contains("isolcpus="), "{found:?}");
    }
}
