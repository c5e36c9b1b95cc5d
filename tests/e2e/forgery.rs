//! Forged ARP: a host that claims the address of a real server.

use crate::deployment::{Deployment, mac};
use crate::director::{Config, Director};
use crate::http::connect_in_turn;
use crate::on_both_backends;
use crate::peers::{PATIENCE, Peers};
use crate::support::netns::{Netns, beside, wait_until};
use directrix::io::{FrameKind, FrameSocket, Interface};
use directrix::wire::MacAddr;
use directrix::wire::arp::{ArpPacket, FRAME_LEN, Operation};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

on_both_backends! {
    a_forged_claim_diverts_no_connection
    a_forger_that_answers_requests_diverts_no_connection
    an_announced_mac_replaces_that_of_a_silent_server
}

/// The forged MAC address.
const FORGED: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x66]);

/// The packets that claim `rip` for [`FORGED`].
fn claims(rip: Ipv4Addr) -> [ArpPacket; 4] {
    let announcement = ArpPacket::announcement(FORGED, rip);
    [
        ArpPacket { operation: Operation::Reply, ..announcement },
        ArpPacket::announcement_reply(FORGED, rip),
        ArpPacket::request(FORGED, rip, Ipv4Addr::new(192, 168, 195, 1)),
        announcement,
    ]
}

fn send(from: &Netns, packets: &[ArpPacket]) {
    from.enter(|| {
        let socket = FrameSocket::open(&Interface::lookup("eth0").unwrap(), FrameKind::Arp).unwrap();
        packets.iter().for_each(|packet| transmit(&socket, packet));
    });
}

fn transmit(socket: &FrameSocket, packet: &ArpPacket) {
    let mut frame = [0; FRAME_LEN];
    packet.emit(&mut frame);
    socket.send(&frame).unwrap();
}

/// Runs `f` while a host answers all requests for `rip` with [`FORGED`].
fn with_forger<T>(host: &Netns, rip: Ipv4Addr, f: impl FnOnce() -> T) -> T {
    beside(|stop| answer(host, rip, stop), f)
}

fn answer(host: &Netns, rip: Ipv4Addr, stop: &AtomicBool) {
    host.enter(|| {
        let socket = FrameSocket::open(&Interface::lookup("eth0").unwrap(), FrameKind::Arp).unwrap();
        while !stop.load(Ordering::Relaxed) {
            let mut buffer = [0; FRAME_LEN];
            let Ok(frame) = socket.receive(&mut buffer) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let packet = ArpPacket::parse(frame).unwrap();
            if packet.operation == Operation::Request && packet.target_ip == rip {
                transmit(&socket, &packet.reply(FORGED));
            }
        }
    });
}

#[track_caller]
fn assert_logged(director: &Director, message: &str, parts: &[&str]) {
    let log = director.log();
    let line = log.lines().find(|line| line.contains(message)).unwrap_or_else(|| panic!("{message}: {log}"));
    parts.iter().for_each(|part| assert!(line.contains(part), "{part}: {line}"));
}

const DISPUTED: &str = "another host claims the address of a real server";
const MOVED: &str = "real server changed its MAC address";

fn a_forged_claim_diverts_no_connection(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    for claim in claims(deployment.rips[0]) {
        std::thread::sleep(Duration::from_millis(700)); // so that each triggers a request
        send(&deployment.client, &[claim]);
        assert_eq!(connect_in_turn(&deployment, &director, 15), [5, 10], "{claim:?}");
    }
    wait_until("a log line", PATIENCE, || director.logged(DISPUTED) > 0);
    let (rip, known) = (deployment.rips[0].to_string(), mac(&deployment.real[0]));
    assert_logged(
        &director,
        DISPUTED,
        &["WARN", &rip, &format!("mac={known}"), &format!("claimant={FORGED}")],
    );
    assert_eq!(director.logged(MOVED), 0, "{}", director.log());
}

fn a_forger_that_answers_requests_diverts_no_connection(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let rip = deployment.rips[0];
    with_forger(&deployment.client, rip, || {
        for _ in 0..8 {
            send(&deployment.client, &claims(rip));
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    assert_eq!(connect_in_turn(&deployment, &director, 15), [5, 10]);
    assert_eq!((director.logged(DISPUTED), director.logged(MOVED)), (1, 0), "{}", director.log());
}

fn an_announced_mac_replaces_that_of_a_silent_server(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new(backend));
    let rip = deployment.rips[0];
    deployment.switch.run("ip link set real1 down");
    with_forger(&deployment.client, rip, || {
        send(&deployment.client, &[ArpPacket::announcement(FORGED, rip)]);
        wait_until("the new address", PATIENCE, || director.logged(MOVED) > 0);
    });
    let old = mac(&deployment.real[0]);
    assert_logged(
        &director,
        MOVED,
        &["WARN", &rip.to_string(), &format!("old={old}"), &format!("new={FORGED}")],
    );
    assert_eq!(director.logged("does not answer ARP"), 0, "{}", director.log());
}
