//! SCTP associations through the director, with packets that the test makes: a host's kernel need not have SCTP.
//! `tools/guest` has kernels as peers.

use crate::deployment::{CLIENT, Deployment, VIP, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::PATIENCE;
use crate::support::frames;
use crate::support::netns::{Netns, wait_until};
use crate::support::wire::Wire;
use directrix::wire::MacAddr;
use std::time::Duration;

on_both_backends! {
    associations_stay_on_their_server_unchanged
}

const PORT: u16 = 3868;
/// Chunk types (RFC 9260 section 3.2).
const DATA: u8 = 0;
const INIT: u8 = 1;
const SHUTDOWN: u8 = 7;
const COOKIE_ECHO: u8 = 10;
const SHUTDOWN_COMPLETE: u8 = 14;

fn wire(host: &Netns) -> Wire {
    let index = host.run("cat /sys/class/net/eth0/ifindex").trim().parse().unwrap();
    host.enter(|| Wire::new(index))
}

/// The client's end, the real servers' ends, and the MAC addresses of client and director.
struct Site {
    client: Wire,
    real: [Wire; 2],
    macs: [[u8; 6]; 2],
}

impl Site {
    fn new(deployment: &Deployment) -> Self {
        let macs =
            [&deployment.director, &deployment.client].map(|host| mac(host).parse::<MacAddr>().unwrap().0);
        Self { client: wire(&deployment.client), real: deployment.real.each_ref().map(wire), macs }
    }

    fn send(&self, port: u16, chunk: (u8, u16)) -> Vec<u8> {
        let mut frame = frames::sctp((CLIENT, port), (VIP, PORT), &[chunk]);
        frame[..12].copy_from_slice(self.macs.as_flattened());
        self.client.send(&frame);
        frame
    }

    /// Sends a packet. Returns the real server that it reaches with all its bytes.
    fn server_of(&self, port: u16, chunk: (u8, u16)) -> usize {
        let sent = self.send(port, chunk);
        let mut server = None;
        wait_until("the packet at a real server", PATIENCE, || {
            for (index, real) in self.real.iter().enumerate() {
                let Some(frame) = real.receive(Duration::from_millis(5)) else { continue };
                if frame.get(12..14) == Some(&[8, 0]) && frame[23] == 132 {
                    // A bridge takes the padding off.
                    let end = 14 + usize::from(u16::from_be_bytes([sent[16], sent[17]]));
                    assert_eq!(
                        frame[12..end],
                        frames::one_hop_on(&sent)[12..end],
                        "one hop, and nothing else"
                    );
                    server = Some(index);
                }
            }
            server.is_some()
        });
        server.unwrap()
    }
}

fn associations_stay_on_their_server_unchanged(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new(backend));
    let service = format!("--sctp-service {VIP}:{PORT}");
    director.change(&format!("ipvsadm -A {service} -s rr"));
    for rip in deployment.rips {
        director.change(&format!("ipvsadm -a {service} -r {rip} -g"));
    }
    let site = Site::new(&deployment);
    let ports = 40_000..40_006u16;
    let servers: Vec<_> = ports.clone().map(|port| site.server_of(port, (INIT, 20))).collect();
    assert_eq!(servers.iter().filter(|server| **server == 0).count(), 3, "rr: {servers:?}");
    let follow = |chunk| {
        let reached: Vec<_> = ports.clone().map(|port| site.server_of(port, chunk)).collect();
        assert_eq!(reached, servers, "{chunk:?}");
    };
    assert_eq!(director.load(&service), [(0, 3), (0, 3)]);
    follow((COOKIE_ECHO, 100));
    follow((DATA, 1400));
    assert_eq!(director.load(&service), [(3, 0), (3, 0)]);
    let row = director.connections("SCTP");
    assert!(row.len() == 6 && row.iter().all(|row| row.contains("ESTABLISHED")), "{row:?}");
    follow((SHUTDOWN, 8));
    follow((SHUTDOWN_COMPLETE, 4));
    assert!(director.connections("SCTP").iter().all(|row| row.contains("CLOSED")));
    assert!(director.cli("ipvsadm -Ln").contains(&format!("SCTP {VIP}:{PORT} rr\n")));
    assert!(director.cli("ipvsadm -Sn").contains(&format!("-A {service} -s rr\n")));
    site.send(50_000, (DATA, 20));
    wait_until("the drop of a stray packet", PATIENCE, || director.dropped("no_connection") == 1);
}
