//! Frames for a service go to user space; everything else goes to the kernel, untouched.

use crate::harness::{DIRECTOR, Net, PATIENCE, PEER, SILENCE, Setup, VIP};
use crate::harness::{bounced, datagram, next, tcp, udp, with_director};
use crate::support::wire::Wire;
use directrix::io::Interface;
use directrix::model::ServiceAddress;
use directrix::wire::{MacAddr, ethernet};
use etherparse::{IpFragOffset, Ipv4Header, Ipv4Options, PacketBuilder};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A frame from the peer to the director's MAC with this IPv4 header, ports 9 and 53, no checksum.
fn with_header(change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let mut header = Ipv4Header::new(16, 64, etherparse::IpNumber::UDP, [10, 0, 0, 2], VIP).unwrap();
    change(&mut header);
    let protocol = header.protocol;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER.0, DIRECTOR.0)
        .ip(etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default()))
        .write(&mut frame, protocol, &[0, 9, 0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
        .unwrap();
    frame
}

fn to_mac(mac: MacAddr) -> Vec<u8> {
    let mut frame = datagram((VIP, 53), 9, b"for another station");
    ethernet::Addresses::new(mac, PEER).write(&mut frame);
    frame
}

/// A director with these services takes all of `taken`, and nothing of `left`.
fn selects(net: &Net, services: &[ServiceAddress], (taken, left): (&[Vec<u8>], &[Vec<u8>])) {
    let wire = net.peer_wire();
    let seen = with_director(&net.director, &Setup::new(services), || {
        left.iter().for_each(|frame| wire.send(frame));
        for frame in taken {
            wire.send(frame);
            assert_eq!(next(&wire, PATIENCE), Some(bounced(frame)));
        }
        assert_eq!(next(&wire, SILENCE), None);
    });
    assert_eq!(seen[0].received, [taken.len() as u64]);
}

#[test]
fn only_frames_for_a_service_are_taken() {
    let net = Net::new(1);
    net.director.run("ip link set dev eth0 promisc on");
    let taken = [
        datagram((VIP, 53), 9, b""),
        with_header(|_| ()),
        with_header(|header| header.options = Ipv4Options::from([1; 4])),
        with_header(|header| header.options = Ipv4Options::from([1; 40])),
        with_header(|header| header.more_fragments = true),
        with_header(|header| header.fragment_offset = IpFragOffset::try_new(100).unwrap()),
    ];
    let mut truncated = datagram((VIP, 53), 9, b"");
    truncated.truncate(14 + 20 + 3);
    let mut no_ihl = datagram((VIP, 53), 9, b"");
    no_ihl[14] = 0x44;
    let left = [
        datagram((VIP, 54), 9, b"another port"),
        datagram(([10, 9, 9, 8], 53), 9, b"another address"),
        with_header(|header| header.protocol = etherparse::IpNumber::TCP),
        with_header(|header| header.protocol = etherparse::IpNumber::ICMP),
        with_header(|header| {
            header.destination = [10, 9, 9, 8];
            header.more_fragments = true;
        }),
        with_header(|header| {
            header.protocol = etherparse::IpNumber::TCP;
            header.more_fragments = true;
        }),
        to_mac(MacAddr([2, 0, 0, 0, 0, 0x77])),
        to_mac(MacAddr::BROADCAST),
        truncated,
        no_ihl,
    ];
    selects(&net, &[udp(VIP, 53), tcp([10, 9, 9, 7], 53)], (&taken, &left));
}

#[test]
fn a_wildcard_service_is_handed_every_port_of_its_vip() {
    let net = Net::new(1);
    let fragment = with_header(|header| header.fragment_offset = IpFragOffset::try_new(100).unwrap());
    let mut taken: Vec<_> = [0, 1, 53, 54, 65535].map(|port| datagram((VIP, port), 9, b"")).into();
    taken.extend([with_header(|header| header.options = Ipv4Options::from([1; 40])), fragment]);
    let mut truncated = datagram((VIP, 54), 9, b"");
    truncated.truncate(14 + 20 + 3);
    let left = [
        datagram(([10, 9, 9, 8], 53), 9, b"another address"),
        datagram(([10, 0, 0, 1], 53), 9, b"the host's own"),
        with_header(|header| header.protocol = etherparse::IpNumber::TCP),
        with_header(|header| header.protocol = etherparse::IpNumber::ICMP),
        to_mac(MacAddr([2, 0, 0, 0, 0, 0x77])),
        truncated,
        datagram(([10, 9, 9, 7], 0), 9, b"port 0 where only another has a service"),
    ];
    let services = [udp(VIP, 0), udp(VIP, 53), udp([10, 9, 9, 7], 53)];
    selects(&net, &services, (&taken, &left));
}

/// An ICMP echo request from the peer to the director's MAC.
fn echo_request(to: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER.0, DIRECTOR.0)
        .ipv4([10, 0, 0, 2], to, 64)
        .icmpv4_echo_request(1, 1)
        .write(&mut frame, b"is it there?")
        .unwrap();
    frame
}

#[test]
fn pings_of_a_vip_are_kept_from_the_kernel() {
    let net = Net::new(1);
    let other = [10, 9, 9, 8];
    with_director(&net.director, &Setup::new(&[udp(VIP, 53)]), || {
        let kernel = net.director.enter(|| {
            let eth0 = Interface::lookup("eth0").unwrap();
            Wire::of(eth0.index, libc::ETH_P_IP) // behind the guard program
        });
        let wire = net.peer_wire();
        [VIP, other].iter().for_each(|to| wire.send(&echo_request(*to)));
        let icmp = |frame: &Vec<u8>| frame.get(23) == Some(&1);
        let first = std::iter::from_fn(|| kernel.receive(PATIENCE)).find(icmp).unwrap();
        assert_eq!(first[30..34], other);
    });
}

#[test]
fn the_hosts_own_traffic_is_not_touched() {
    let net = Net::new(2);
    // The service is on the director's own address: its other ports are the kernel's.
    let service = [10, 0, 0, 1];
    let listener = net.director.enter(|| TcpListener::bind("10.0.0.1:22").unwrap());
    let seen = with_director(&net.director, &Setup::new(&[tcp(service, 80)]), || {
        net.peer.run("ip neighbour flush dev eth0");
        net.peer.run("ping -c 3 -i 0.2 -W 2 10.0.0.1");
        net.director.run("ping -c 3 -i 0.2 -W 2 10.0.0.2");
        std::thread::scope(|scope| {
            scope.spawn(|| std::io::Write::write_all(&mut listener.accept().unwrap().0, &[7; 200_000]));
            let mut got = Vec::new();
            let connect = || connect("10.0.0.1:22").unwrap().read_to_end(&mut got).unwrap();
            assert_eq!(net.peer.enter(connect), 200_000);
        });
        let refused = net.peer.enter(|| connect("10.0.0.1:81").unwrap_err());
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "the kernel answers");
        let silent = net.peer.enter(|| connect("10.0.0.1:80").unwrap_err());
        assert_eq!(silent.kind(), std::io::ErrorKind::TimedOut, "the kernel does not see it");
    });
    let received: u64 = seen.iter().flat_map(|seen| &seen.received).sum();
    assert!((1..10).contains(&received), "a SYN and its repetitions: {received}");
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    let address: SocketAddr = address.parse().unwrap();
    TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))
}
