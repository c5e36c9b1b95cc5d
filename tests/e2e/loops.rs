//! Directors that have each other as real servers, in a ring, as after a partition that has healed.
//!
//! `tests/loops.rs` simulates all other arrangements.

use crate::deployment::{CLIENT, VIP, join, mac, switch};
use crate::director::{Director, Home};
use crate::on_both_backends;
use crate::peers::PATIENCE;
use crate::support::frames::{self, End, SYN};
use crate::support::netns::{Netns, wait_until};
use crate::support::wire::Wire;
use directrix::wire::MacAddr;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

on_both_backends! {
    a_loop_of_two_directors_ends_and_is_logged
    a_loop_of_three_directors_ends_and_is_logged
}

/// A frame has ended if it is not seen again for this time.
const SILENCE: Duration = Duration::from_secs(1);

/// Directors on one segment, each with the next one as its only real server.
struct Ring {
    directors: Vec<Director>,
    hosts: Vec<Netns>,
    client: Netns,
    switch: Netns,
}

impl Ring {
    fn new(backend: &str, size: u8) -> Self {
        let (switch, client) = (switch(), Netns::new("c"));
        join(&client, ("eth0", CLIENT), (&switch, "client"), 1);
        let address = |number: u8| Ipv4Addr::new(192, 168, 195, 160 + number % size);
        let hosts: Vec<_> = (0..size).map(|_| Netns::new("d")).collect();
        for (host, number) in hosts.iter().zip(0..) {
            join(host, ("eth0", address(number)), (&switch, &format!("director{number}")), 1);
        }
        let directors = hosts.iter().zip(1..).map(|(host, next)| {
            let server = format!("[[service.server]]\naddress = \"{}\"\n", address(next));
            let service = |protocol, port| {
                format!("[[service]]\nprotocol = \"{protocol}\"\naddress = \"{VIP}:{port}\"\n{server}")
            };
            // By default a director removes a real server that claims the VIP from its pool. Here the loop
            // has to end without that.
            let director = format!(
                "[director]\ninterface = \"eth0\"\nbackend = \"{backend}\"\non_conflict = \"claim\"\n\
                 on_server_claim = \"ignore\"\n"
            );
            let text = [director, service("tcp", 80), service("udp", 53)].concat();
            Director::start_in(Home::new(), host, &text)
        });
        Self { directors: directors.collect(), hosts, client, switch }
    }

    /// Number of hops of `frame`, which the client sends to the first director.
    fn hops(&self, frame: &[u8]) -> usize {
        let address = |host| mac(host).parse::<MacAddr>().unwrap();
        let addresses = [address(&self.hosts[0]).0, address(&self.client).0].concat();
        let frame = [&addresses, &frame[12..]].concat();
        // The socket is on all ports of the switch, and receives each frame where it enters.
        let seen = self.switch.enter(|| Wire::new(0));
        let wire = self.client.enter(|| Wire::new(index(&self.client)));
        wire.send(&frame);
        let (mut hops, mut last) = (0, Instant::now());
        // The directors send ARP requests to each other every second, so the segment is never silent.
        while last.elapsed() < SILENCE {
            let Some(seen) = seen.receive(SILENCE) else { break };
            if seen.len() >= 38 && seen[26..38] == frame[26..38] {
                (hops, last) = (hops + 1, Instant::now());
            }
            assert!(hops <= 1000, "the loop does not end");
        }
        hops
    }

    /// The most hops of SYNs and datagrams with the usual initial times to live. Each is sent twice: the
    /// second one belongs to the connections that the first one has opened.
    fn most_hops(&self) -> usize {
        let client = |port| -> End { (CLIENT, port) };
        let each = [64, 128, 255].into_iter().zip(1000..).flat_map(|(ttl, port)| {
            let syn = frames::tcp(client(port), (VIP, 80), SYN, &[]);
            let datagram = frames::udp(client(port), (VIP, 53), b"query");
            [syn.clone(), syn, datagram.clone(), datagram].map(|frame| frames::with_ttl(&frame, ttl))
        });
        let hops: Vec<_> = each.map(|frame| self.hops(&frame)).collect();
        println!("{hops:?}");
        assert!(hops.iter().all(|hops| *hops >= 2), "the first director forwards each: {hops:?}");
        hops.into_iter().max().unwrap()
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.directors.iter().map(|director| director.dropped(reason)).sum()
    }
}

fn index(host: &Netns) -> u32 {
    host.run("cat /sys/class/net/eth0/ifindex").trim().parse().unwrap()
}

fn a_loop_of_two_directors_ends_and_is_logged(backend: &str) {
    let ring = Ring::new(backend, 2);
    assert!(ring.most_hops() <= 64);
    assert_eq!(ring.dropped("looped") + ring.dropped("ttl_exceeded"), 12, "each frame");
    assert!(ring.dropped("looped") > 0);
    let message = "frames dropped in a loop: this real server sends the service's frames back";
    wait_until("an error about the loop", PATIENCE, || {
        ring.directors.iter().map(|director| director.logged(message)).sum::<usize>() > 0
    });
    let log = ring.directors.iter().map(Director::log).collect::<String>();
    let line = log.lines().find(|line| line.contains(message)).unwrap();
    assert!(line.contains("ERROR") && line.contains("rip=192.168.195.16") && line.contains("mac="), "{line}");
}

fn a_loop_of_three_directors_ends_and_is_logged(backend: &str) {
    let ring = Ring::new(backend, 3);
    assert!(ring.most_hops() <= 64);
    assert_eq!((ring.dropped("looped"), ring.dropped("ttl_exceeded")), (12, 0));
    let message = "frames dropped in a loop: several directors have each other as real servers";
    wait_until("an error about the loop", PATIENCE, || {
        ring.directors.iter().map(|director| director.logged(message)).sum::<usize>() > 0
    });
    let log = ring.directors.iter().map(Director::log).collect::<String>();
    let line = log.lines().find(|line| line.contains(message)).unwrap();
    assert!(line.contains("ERROR") && line.contains("mac="), "{line}");
}
