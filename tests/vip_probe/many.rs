//! Many probes at once.

use crate::harness::{FAMILIES, Net, PATIENCE, Probed, RIP, probe};
use directrix::io::Interface;
use directrix::io::probe::{ProbeProtocol, ProbeSocket, ProbeTarget, ProbeVerdict, VipProbes};
use std::collections::BTreeSet;
use std::net::{IpAddr, TcpStream};
use std::sync::Barrier;

/// Addresses of the server beside its RIP, each a real server of its own.
const ALIASES: usize = 10;
const PROBES: usize = 500;
const THREADS: usize = 50;

#[test]
fn five_hundred_in_flight_get_their_own_answers() {
    let net = Net::new();
    for index in 1..=ALIASES {
        net.server.run(&format!("ip address add {}/24 dev eth0", rip(index, 0)));
        net.server.run(&format!("ip address add {}/64 dev eth0 nodad", rip(index, 1)));
    }
    let _services = net.serve();
    let eth0 = net.director.enter(|| Interface::lookup("eth0")).unwrap();
    let probes = net.director.enter(|| VipProbes::open(&eth0, PROBES as u32)).unwrap();
    probes.translate(true).unwrap();
    for family in FAMILIES {
        let one = net.target(ProbeProtocol::Tcp, family);
        let prepare = |index| {
            let target = ProbeTarget { rip: rip(index, family), ..one };
            (target, probes.socket(&target).unwrap())
        };
        let prepared: Vec<_> = net.director.enter(|| (0..PROBES).map(prepare).collect());
        assert_eq!(probes.counts().armed, PROBES);
        let ports: BTreeSet<_> = prepared.iter().map(|(_, prepared)| port(prepared)).collect();
        assert_eq!(ports.len(), PROBES, "no port is used twice");
        for (target, probed) in together(prepared) {
            assert_eq!(probed.verdict, ProbeVerdict::Answered, "{target:?} {probed:?}");
            assert_eq!(probed.answer, target.vip.to_string());
        }
        let counts = probes.counts();
        assert_eq!((counts.armed, counts.late, counts.refused_full), (0, 0, 0));
    }
}

/// The address of one of the real servers, in turn.
fn rip(index: usize, family: usize) -> IpAddr {
    let text = match (index % (ALIASES + 1), family) {
        (0, _) => RIP[family].to_owned(),
        (alias, 0) => format!("10.9.0.{}", 100 + alias),
        (alias, _) => format!("fd09::1:{alias}"),
    };
    text.parse().unwrap()
}

fn port(prepared: &ProbeSocket) -> u16 {
    TcpStream::from(prepared.socket.try_clone().unwrap()).local_addr().unwrap().port()
}

/// Makes all probes, on threads that start at once.
fn together(prepared: Vec<(ProbeTarget, ProbeSocket)>) -> Vec<(ProbeTarget, Probed)> {
    let mut shares: Vec<Vec<_>> = (0..THREADS).map(|_| Vec::new()).collect();
    prepared.into_iter().enumerate().for_each(|(index, one)| shares[index % THREADS].push(one));
    let start = &Barrier::new(THREADS);
    let run = |share: Vec<(ProbeTarget, ProbeSocket)>| {
        start.wait();
        let probe = |(target, prepared)| (target, probe(prepared, &target, PATIENCE));
        share.into_iter().map(probe).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || run(share))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
