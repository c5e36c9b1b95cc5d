//! Backend choice: conditions of `auto` for AF_XDP, and generic XDP on request.

use crate::harness::{Net, Setup, with_director};
use crate::support::netns::{Netns, Process, wait_until};
use directrix::io::xdp;
use std::process::Stdio;
use std::time::Duration;

/// The refusal that `auto` logs; `None` if it takes AF_XDP.
fn refusal(director: &Netns, setup: &Setup) -> Option<String> {
    director.enter(|| xdp::open_native(&setup.plan(), None).err().map(|error| error.to_string()))
}

fn assert_refused(director: &Netns, setup: &Setup, parts: &[&str]) {
    let refusal = refusal(director, setup).expect("it is refused");
    for part in parts {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    let interface = setup.interfaces[0];
    assert!(
        !director.run(&format!("ip -details link show dev {interface}")).contains("prog/xdp"),
        "nothing stays"
    );
}

/// Makes br0 over eth0, with the MAC address of eth0.
fn bridge(director: &Netns) {
    director.run("ip link add br0 type bridge && ip link set dev eth0 master br0");
    director.run("ip link set dev br0 address 02:00:00:00:00:01 up");
}

#[test]
fn auto_takes_packet_for_a_driver_without_xdp() {
    let net = Net::new(1);
    bridge(&net.director);
    let setup = Setup { interfaces: vec!["br0"], ..Setup::new(&[]) };
    assert_refused(&net.director, &setup, &["the driver of br0 has no XDP (EOPNOTSUPP", "generic mode"]);
}

#[test]
fn auto_names_the_reason_of_a_driver_s_refusal() {
    let net = Net::new(2);
    net.director.run("ethtool -L eth0 rx 1 tx 1");
    let words =
        ["the driver of eth0 refuses XDP as it is set up now", "expects number of rx queues", "ENOSPC"];
    assert_refused(&net.director, &Setup::new(&[]), &words);
    net.peer.run("ethtool -L eth0 rx 1 tx 1");
    assert_eq!(refusal(&net.director, &Setup::new(&[])), None, "it is as good as its word");
}

#[test]
fn auto_takes_a_veth_whose_peer_finishes_checksums() {
    let net = Net::new(1);
    let setup = Setup::new(&[]);
    assert_eq!(refusal(&net.director, &setup), None, "the peer has its offload off");
    net.peer.run("ethtool -K eth0 tx on");
    assert_refused(&net.director, &setup, &["it is a veth", "have unfinished", "ethtool -K eth0 tx off"]);
    net.peer.run("ethtool -K eth0 tx off");
    assert_eq!(refusal(&net.director, &setup), None);
}

#[test]
fn auto_reads_a_veth_peer_in_the_same_namespace() {
    let net = Netns::new("d");
    net.run("ip link add eth0 type veth peer name port7 && ip link set eth0 up && ip link set port7 up");
    assert_refused(&net, &Setup::new(&[]), &["have unfinished", "ethtool -K port7 tx off"]);
    net.run("ethtool -K port7 tx off");
    assert_eq!(refusal(&net, &Setup::new(&[])), None);
}

#[test]
fn auto_takes_packet_with_an_unknown_veth_peer() {
    let net = Net::new(1);
    let mut hidden = net.director.command("exec unshare -n sleep 60");
    let hidden = Process(hidden.stdout(Stdio::null()).spawn().unwrap());
    let id = hidden.0.id();
    let namespace = |id: u32| std::fs::read_link(format!("/proc/{id}/ns/net")).ok();
    let before = net.director.enter(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap());
    wait_until("a namespace of its own", Duration::from_secs(20), || {
        let now = namespace(id);
        now.is_some() && now != namespace(std::process::id()) && now != Some(before.clone())
    });
    net.director.run(&format!("ip link add eth1 type veth peer name eth1 netns {id}"));
    net.director.run("ip link set eth1 up");
    let setup = Setup { interfaces: vec!["eth1"], ..Setup::new(&[]) };
    assert_refused(&net.director, &setup, &["it is a veth", "may have unfinished", "backend = \"xdp\""]);
}

#[test]
fn generic_xdp_switches_gro_off_on_lower_devices() {
    let net = Net::new(1);
    bridge(&net.director);
    net.director.run("ip link add mv0 link br0 type macvlan && ip link set mv0 up");
    let interfaces = ["mv0", "br0", "eth0"];
    let gro = || {
        interfaces.map(|name| {
            net.director.run(&format!("ethtool -k {name}")).contains("generic-receive-offload: on")
        })
    };
    interfaces.iter().for_each(|name| drop(net.director.run(&format!("ethtool -K {name} gro on"))));
    assert_eq!(gro(), [true; 3]);
    let setup = Setup { interfaces: vec!["mv0"], ..Setup::new(&[]) };
    let seen = with_director(&net.director, &setup, || assert_eq!(gro(), [false; 3]));
    assert_eq!(seen[0].infos[0].mode, "generic, copy");
    assert_eq!(gro(), [true; 3], "it is as it was");
}
