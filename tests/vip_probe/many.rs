//! Many probes at once.

use crate::harness::{FAMILIES, Net, PATIENCE, PORT, RIP, mac, probe};
use directrix::io::Interface;
use directrix::io::probe::{ProbeProtocol, ProbeTarget, ProbeVerdict, VipProbes};
use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};

/// Alias addresses of the server, each a real server of its own.
const SERVERS: usize = 10;
const PROBES: usize = 500;
const THREADS: usize = 50;

#[test]
fn five_hundred_in_flight_get_their_own_answers() {
    let net = Net::new();
    for index in 0..SERVERS {
        net.server.run(&format!("ip address add 10.9.0.{}/24 dev eth0", 100 + index));
        net.server.run(&format!("ip address add fd09::1:{index}/64 dev eth0 nodad"));
    }
    let _services = net.serve();
    let reply_mac = mac(&net.server, "eth0");
    let rip = |index: usize, family| match (index % (SERVERS + 1), family) {
        (0, family) => RIP[family].parse().unwrap(),
        (index, 0) => format!("10.9.0.{}", 99 + index).parse().unwrap(),
        (index, _) => format!("fd09::1:{}", index - 1).parse().unwrap(),
    };
    let eth0 = net.director.enter(|| Interface::lookup("eth0")).unwrap();
    let probes = net.director.enter(|| VipProbes::open(&eth0, PROBES as u32)).unwrap();
    for family in FAMILIES {
        let target = |index: usize| ProbeTarget {
            rip: rip(index, family),
            port: PORT,
            mac: reply_mac,
            ..net.target(ProbeProtocol::Tcp, family)
        };
        let prepared: Vec<_> = net.director.enter(|| {
            (0..PROBES).map(|index| (target(index), probes.socket(&target(index)).unwrap())).collect()
        });
        assert_eq!(probes.counts().armed, PROBES);
        let ports: BTreeSet<_> = prepared
            .iter()
            .map(|(_, prepared)| {
                let socket = std::net::TcpStream::from(prepared.socket.try_clone().unwrap());
                socket.local_addr().unwrap().port()
            })
            .collect();
        assert_eq!(ports.len(), PROBES, "no port is used twice");
        let start = Arc::new(Barrier::new(THREADS));
        let mut shares: Vec<Vec<_>> = (0..THREADS).map(|_| Vec::new()).collect();
        prepared.into_iter().enumerate().for_each(|(index, one)| shares[index % THREADS].push(one));
        let run = |share: Vec<_>, start: Arc<Barrier>| {
            move || {
                start.wait();
                share
                    .into_iter()
                    .map(|(target, prepared)| (target, probe(prepared, &target, PATIENCE)))
                    .collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> =
            shares.into_iter().map(|share| std::thread::spawn(run(share, Arc::clone(&start)))).collect();
        for (target, probed) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert_eq!(probed.verdict, ProbeVerdict::Answered, "{target:?} {probed:?}");
            assert_eq!(probed.answer, target.vip.to_string());
        }
        let counts = probes.counts();
        assert_eq!((counts.armed, counts.late, counts.refused_full), (0, 0, 0));
    }
}
