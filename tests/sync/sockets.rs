//! Sockets of connection sync between namespaces: two directors on a segment.

use crate::netns::{Netns, veth, wait_until};
use directrix::control::sync::{SyncListener, SyncSocketSettings, SyncSocketStep, SyncTransmitter};
use directrix::flow::ConnState;
use directrix::model::Timeouts;
use directrix::sync::{
    BootId, GroupSet, NameHash, SyncCounts, SyncDigest, SyncEnds, SyncFacts, SyncHost, SyncIdFilter,
    SyncMachine, SyncRecord, SyncSettings, SyncTrust,
};
use directrix::time::{Span, Tick};
use directrix::wire::Protocol;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const GROUP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(224, 0, 0, 81));

/// Two directors, `.1` and `.2`, joined by `eth0`, with both families.
fn segment() -> (Netns, Netns) {
    let (a, b) = (Netns::new("sa"), Netns::new("sb"));
    for host in [&a, &b] {
        host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
        host.run("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    }
    veth((&a, "eth0"), (&b, "eth0"), 1);
    for (host, number) in [(&a, 1), (&b, 2)] {
        host.run(&format!("ip addr add 192.0.2.{number}/24 dev eth0"));
        host.run(&format!("ip addr add 2001:db8::{number}/64 dev eth0 nodad"));
    }
    (a, b)
}

fn settings(group: IpAddr) -> SyncSocketSettings {
    SyncSocketSettings { interface: "eth0".to_owned(), group, port: 8848, ttl: 1, unicast: Vec::new() }
}

/// Datagrams with their sources that have arrived within a second, or once there are `count`.
fn received(listener: &mut SyncListener, count: usize) -> Vec<(Vec<u8>, IpAddr)> {
    let (mut found, end) = (Vec::new(), Instant::now() + Duration::from_secs(1));
    while found.len() < count && Instant::now() < end {
        listener.receive(|datagram, source| found.push((datagram.to_vec(), source))).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    found
}

#[test]
fn a_message_to_the_group_reaches_the_other_director() {
    let (a, b) = segment();
    let mut theirs = b.enter(|| SyncListener::open(&settings(GROUP))).unwrap();
    let (sender, mut own) = a.enter(|| {
        (SyncTransmitter::open(&settings(GROUP)).unwrap(), SyncListener::open(&settings(GROUP)).unwrap())
    });
    // Longer than the MTU: in fragments.
    let messages = [vec![1; 44], vec![2; 65_507]];
    messages.iter().for_each(|message| sender.send(message));
    let found = received(&mut theirs, 2);
    assert_eq!(found, messages.map(|message| (message, IpAddr::from([192, 0, 2, 1]))));
    assert_eq!((sender.sent.get(), sender.failed.get()), (2, 0));
    assert_eq!(own.receive(|_, _| panic!("its own message")).unwrap(), 0);
}

#[test]
fn sockets_are_bound_as_a_kernels() {
    let (a, b) = segment();
    let (_sender, _listener) = (
        a.enter(|| SyncTransmitter::open(&settings(GROUP))).unwrap(),
        b.enter(|| SyncListener::open(&settings(GROUP))).unwrap(),
    );
    let fields = |host: &Netns| -> Vec<String> {
        host.run("ss -Haun").split_whitespace().map(str::to_owned).collect()
    };
    let sender = fields(&a);
    assert!(sender[3].starts_with("192.0.2.1:") && sender[4] == "224.0.0.81:8848", "{sender:?}");
    assert_eq!(fields(&b)[..5], ["UNCONN", "0", "0", "224.0.0.81%eth0:8848", "0.0.0.0:*"]);
    assert!(b.run("cat /proc/net/igmp").contains("510000E0"));
}

#[test]
fn groups_of_ipv6_and_unicast_peers_are_reached() {
    let (a, b) = segment();
    let ours = |unicast: &[&str]| SyncSocketSettings {
        unicast: unicast.iter().map(|peer| peer.parse().unwrap()).collect(),
        ..settings("ff02::81".parse().unwrap())
    };
    let mut listener = b.enter(|| SyncListener::open(&ours(&["192.0.2.1", "2001:db8::1"]))).unwrap();
    let sender = a.enter(|| SyncTransmitter::open(&ours(&["192.0.2.2", "2001:db8::2"]))).unwrap();
    sender.send(&[7; 44]);
    let mut sources: Vec<_> = received(&mut listener, 3).into_iter().map(|(_, source)| source).collect();
    sources.sort();
    let [v4, unicast, link_local] = sources[..] else { panic!("{sources:?}") };
    assert_eq!((v4, unicast), ([192, 0, 2, 1].into(), "2001:db8::1".parse::<IpAddr>().unwrap()));
    assert!(link_local.to_string().starts_with("fe80::"));
    assert_eq!(listener.fds().count(), 3);
}

#[test]
fn unicast_peers_get_a_message_to_the_group_once() {
    let (a, b) = segment();
    let ours = |peer: u8| SyncSocketSettings { unicast: vec![[192, 0, 2, peer].into()], ..settings(GROUP) };
    let mut listener = b.enter(|| SyncListener::open(&ours(1))).unwrap();
    let _joined = b.enter(|| SyncListener::open(&settings(GROUP))).unwrap();
    a.enter(|| SyncTransmitter::open(&settings(GROUP))).unwrap().send(&[1; 44]);
    assert_eq!(received(&mut listener, 2).len(), 1, "the group alone");
    a.enter(|| SyncTransmitter::open(&ours(2))).unwrap().send(&[2; 44]);
    assert_eq!(received(&mut listener, 3).len(), 2, "group and own address");
}

#[test]
fn other_groups_ports_and_interfaces_are_not_heard() {
    let (a, b) = segment();
    let c = Netns::new("sc");
    veth((&c, "eth0"), (&b, "eth1"), 1);
    c.run("ip addr add 198.51.100.3/24 dev eth0");
    let mut listener = b.enter(|| SyncListener::open(&settings(GROUP))).unwrap();
    let other = [239, 1, 2, 3].into();
    let _other = b.enter(|| SyncListener::open(&settings(other))).unwrap();
    let wrong = [settings(other), SyncSocketSettings { port: 8849, ..settings(GROUP) }];
    wrong.iter().for_each(|of| a.enter(|| SyncTransmitter::open(of).unwrap().send(&[1; 44])));
    c.enter(|| SyncTransmitter::open(&settings(GROUP)).unwrap().send(&[2; 44]));
    a.enter(|| SyncTransmitter::open(&settings(GROUP)).unwrap().send(&[3; 44]));
    assert_eq!(received(&mut listener, 2), [(vec![3; 44], IpAddr::from([192, 0, 2, 1]))]);
}

#[test]
fn unknown_and_unready_interfaces_have_a_kernels_errors() {
    let (a, _b) = segment();
    let of = |interface: &str| SyncSocketSettings { interface: interface.to_owned(), ..settings(GROUP) };
    a.run("ip link add noaddr type veth peer name downif; ip link set noaddr up");
    let refused = |interface: &str| a.enter(|| SyncTransmitter::open(&of(interface)).err());
    let unknown = refused("nosuch").unwrap();
    assert_eq!((unknown.step, unknown.cause.raw_os_error()), (SyncSocketStep::Interface, Some(19)));
    assert!(a.enter(|| SyncListener::open(&of("nosuch")).is_err()));
    let down = refused("downif").unwrap();
    assert_eq!((down.step, down.cause.raw_os_error()), (SyncSocketStep::Connect, Some(101)));
    assert!(down.to_string().contains("ip link set downif up"), "{down}");
    assert!(a.enter(|| SyncListener::open(&of("noaddr"))).is_ok());
}

/// Director with a table that only grows.
struct Director {
    records: Vec<SyncRecord>,
    digest: SyncDigest,
    transmitter: SyncTransmitter,
}

impl Director {
    fn put(&mut self, record: SyncRecord) {
        if self.records.iter().all(|of| of.ends != record.ends) {
            self.digest.add(NameHash::from(&record));
            self.records.push(record);
        }
    }
}

impl SyncHost for Director {
    fn send(&mut self, message: &[u8]) {
        self.transmitter.send(message);
    }

    fn accept(&mut self, _: IpAddr, record: &SyncRecord) {
        self.put(record.synced());
    }

    fn digest(&self) -> &SyncDigest {
        &self.digest
    }

    fn counts(&self) -> SyncCounts {
        SyncCounts { connections: self.records.len() as u32, templates: 0 }
    }

    fn walk(
        &mut self,
        groups: GroupSet,
        from: u64,
        budget: usize,
        found: &mut Vec<SyncRecord>,
    ) -> Option<u64> {
        let stretch = self.records.iter().skip(from as usize).take(budget);
        found.extend(stretch.filter(|record| groups.has(NameHash::from(*record).group())).copied());
        let next = from + budget as u64;
        (next < self.records.len() as u64).then_some(next)
    }
}

fn director(host: &Netns, number: u8, start: Tick) -> (Director, SyncListener, SyncMachine) {
    let (transmitter, listener) = host.enter(|| {
        (SyncTransmitter::open(&settings(GROUP)).unwrap(), SyncListener::open(&settings(GROUP)).unwrap())
    });
    let facts = SyncFacts { boot_id: BootId([number; 16]), ..SyncFacts::default() };
    let trust =
        SyncTrust { filter: SyncIdFilter::Exactly(7), peers: Vec::new(), messages_per_second: 50_000 };
    let settings = SyncSettings {
        syncid: 7,
        len_max: 1472,
        sends: true,
        trust: Some(trust),
        hello_every: Some(Span::from_millis(100)),
        bulk_per_second: 100_000,
    };
    let director = Director { records: Vec::new(), digest: SyncDigest::default(), transmitter };
    (director, listener, SyncMachine::new(settings, facts, start))
}

#[test]
fn a_fresh_director_gets_all_connections_over_the_network() {
    const CONNECTIONS: u16 = 2000;
    let (a, b) = segment();
    let mut pair = [director(&a, 1, Tick(0)), director(&b, 2, Tick(0))];
    for port in 0..CONNECTIONS {
        let end = |text: &str| text.parse().unwrap();
        let client = (std::net::Ipv4Addr::new(198, 51, 100, 7), port).into();
        let ends = SyncEnds::new(client, end("192.0.2.150:80"), end("192.0.2.170:80")).unwrap();
        pair[0].0.put(SyncRecord::connection(
            Protocol::Tcp,
            ends,
            ConnState::Established,
            &Timeouts::default(),
        ));
    }
    let start = Instant::now();
    wait_until("both are complete", Duration::from_secs(20), || {
        let now = Tick(start.elapsed().as_millis() as u32);
        for (director, listener, machine) in &mut pair {
            listener.receive(|datagram, source| machine.receive(datagram, source, now, director)).unwrap();
            machine.turn(now, director);
        }
        pair.iter().all(|(_, _, machine)| machine.is_complete())
            && pair[1].0.records.len() == usize::from(CONNECTIONS)
    });
    assert_eq!(pair[0].0.digest, pair[1].0.digest);
    let refused = |machine: &SyncMachine| machine.peers().map(|peer| peer.refused).sum::<u64>();
    assert_eq!(pair.each_ref().map(|(_, _, machine)| refused(machine)), [0, 0]);
}
