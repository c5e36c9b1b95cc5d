//! Datagrams larger than the MTU: all their fragments reach the server of their flow.

use crate::deployment::{CLIENT, Deployment, Plan, VIP, VIPS, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{ECHO, Flow, PATIENCE, Peers, vip};
use crate::support::netns::wait_until;
use crate::support::wire::Wire;
use directrix::wire::MacAddr;
use etherparse::{Ethernet2Header, IpNumber, Ipv4Header, PacketBuilder};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

on_both_backends! {
    datagrams_of_60_kilobytes_arrive
    fragments_follow_their_flow_to_its_worker
    fragments_in_any_order_arrive
}

/// Text of `len` bytes.
fn text(len: usize) -> String {
    (0..len).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect()
}

/// Exchanges small and large datagrams on one flow. All must reach the same server.
fn exchange(flow: &Flow) -> String {
    let server = flow.exchange("small");
    for len in [1473, 4096, 9000, 60_000, 100, 60_000] {
        assert_eq!(flow.exchange(&text(len)), server, "{len} bytes");
    }
    server
}

fn datagrams_of_60_kilobytes_arrive(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    for vip in VIPS {
        let flows: Vec<_> = (0..6).map(|_| Flow::to(&deployment.client, vip)).collect();
        flows.iter().for_each(|flow| drop(exchange(flow)));
        let large_first = Flow::to(&deployment.client, vip);
        assert_eq!(large_first.exchange(&text(60_000)), large_first.exchange("small"));
        let service = format!("-u {}", SocketAddr::new(vip, ECHO));
        assert_eq!(director.stats(&service)[0][0], 7, "a connection for each flow");
    }
    assert_eq!([director.dropped("fragment"), director.dropped("fragment_early")], [0, 0]);
    assert_eq!(
        deployment.sent(),
        deployment.arrived().into_iter().fold(Default::default(), |sum, n| sum + n)
    );
}

fn fragments_follow_their_flow_to_its_worker(backend: &str) {
    let deployment = Deployment::new(Plan { queues: 2, ..Plan::REFERENCE }).with_ipv6();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    for vip in VIPS {
        let flows: Vec<_> = (0..12).map(|_| Flow::to(&deployment.client, vip)).collect();
        flows.iter().for_each(|flow| drop(exchange(flow)));
    }
    assert_eq!([director.dropped("fragment_early"), director.dropped("hand_over_full")], [0, 0]);
    if backend == "packet" {
        // The fan-out hashes fragments by addresses only, as NICs do; a veth's queue is that of the sending socket.
        assert!(director.workers("handed_over").iter().sum::<u64>() > 0);
    }
}

fn fragments_in_any_order_arrive(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    let client = &deployment.client;
    let index = client.run("cat /sys/class/net/eth0/ifindex").trim().parse().unwrap();
    let wire = client.enter(|| Wire::new(index));
    let socket = client.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    socket.connect(vip(ECHO)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hosts = [mac(client), mac(&deployment.director)].map(|mac| mac.parse::<MacAddr>().unwrap().0);
    let mut buffer = vec![0; 65_536];
    for (identification, order) in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]].into_iter().enumerate() {
        let payload = text(4000 + identification);
        let fragments =
            fragments(hosts, socket.local_addr().unwrap().port(), &payload, identification as u16);
        order.into_iter().for_each(|n| wire.send(&fragments[n]));
        let len = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..len].ends_with(payload.as_bytes()), "order {order:?}");
    }
    // Without its first fragment, a packet is given up.
    let fragments = fragments(hosts, socket.local_addr().unwrap().port(), &text(4000), 99);
    fragments[1..].iter().for_each(|fragment| wire.send(fragment));
    wait_until("both are dropped", PATIENCE, || director.dropped("fragment_early") == 2);
}

/// The three fragments of a datagram to the echo service.
fn fragments([from, to]: [[u8; 6]; 2], port: u16, payload: &str, identification: u16) -> Vec<Vec<u8>> {
    let mut datagram = Vec::new();
    let builder = PacketBuilder::ipv4(CLIENT.octets(), VIP.octets(), 64).udp(port, ECHO);
    builder.write(&mut datagram, payload.as_bytes()).unwrap();
    let segment = &datagram[20..];
    let fragment = |offset: usize| {
        let end = (offset + 1480).min(segment.len());
        let bytes = &segment[offset..end];
        let (source, destination) = (CLIENT.octets(), VIP.octets());
        let mut ip = Ipv4Header::new(bytes.len() as u16, 64, IpNumber::UDP, source, destination).unwrap();
        (ip.identification, ip.dont_fragment, ip.more_fragments) =
            (identification, false, end < segment.len());
        ip.fragment_offset = ((offset / 8) as u16).try_into().unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        let ethernet =
            Ethernet2Header { source: from, destination: to, ether_type: etherparse::EtherType::IPV4 };
        [&ethernet.to_bytes()[..], &ip.to_bytes(), bytes].concat()
    };
    [0, 1480, 2960].map(fragment).into()
}
