//! Frames that the kernel loses before a socket are counted by reason.

use crate::harness::{Net, PATIENCE, Setup, VIP, datagram, udp};
use crate::support::netns::{Netns, wait_until};
use directrix::io::xdp::{self, XdpPorts};
use directrix::io::{Lost, Ports};
use std::time::Duration;

/// Runs `body` with the ports of a director that has taken nothing yet.
fn with_ports(net: &Net, body: impl FnOnce(&mut XdpPorts) + Send) {
    let setup = Setup::new(&[udp(VIP, 53)]);
    net.director.enter(|| {
        let mut opened = xdp::open(&setup.plan()).unwrap();
        opened.steering.start().unwrap();
        opened.steering.update(&setup.services).unwrap();
        body(&mut opened.workers[0].0);
    });
}

/// Sums the losses until they are `wanted`, and checks that they stay so for longer than a count takes to be
/// confirmed.
fn assert_lost(ports: &mut XdpPorts, wanted: Lost) {
    let mut seen = Lost::default();
    let mut look = |seen: &mut Lost| {
        let Lost { ring_full, no_buffer, too_long, not_delivered } = ports.lost(0);
        seen.ring_full += ring_full;
        seen.no_buffer += no_buffer;
        seen.too_long += too_long;
        seen.not_delivered += not_delivered;
    };
    wait_until("the losses are reported", PATIENCE, || {
        look(&mut seen);
        seen == wanted
    });
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        look(&mut seen);
    }
    assert_eq!(seen, wanted);
}

#[test]
fn too_long_frames_do_not_count_as_no_buffer() {
    let net = Net::new(1);
    let wire = net.peer_wire();
    with_ports(&net, |ports| {
        for namespace in [&net.director, &net.peer] {
            namespace.run("ip link set dev eth0 mtu 3000");
        }
        (0..5).for_each(|_| wire.send(&datagram((VIP, 53), 9, &[7; 2500])));
        assert_lost(ports, Lost { too_long: 5, ..Lost::default() });
    });
}

#[test]
fn undelivered_frames_are_counted() {
    let (net, elsewhere) = (Net::new(1), Netns::new("e"));
    let wire = net.peer_wire();
    with_ports(&net, |ports| {
        (0..3).for_each(|_| wire.send(&datagram((VIP, 53), 9, b"taken")));
        wait_until("the first frames", PATIENCE, || ports.levels(0).receive == 3);
        // The program goes along with its interface, the socket does not.
        net.director.run(&format!("ip link set dev eth0 netns {}", elsewhere.name()));
        elsewhere.run("ip link set dev eth0 up");
        wait_until("the link is back", PATIENCE, || {
            net.peer.run("ip link show dev eth0").contains("LOWER_UP")
        });
        (0..7).for_each(|_| wire.send(&datagram((VIP, 53), 9, b"refused")));
        assert_lost(ports, Lost { not_delivered: 7, ..Lost::default() });
    });
}
