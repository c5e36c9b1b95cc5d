//! The director's host: traffic that belongs to no service is unaffected.

use crate::deployment::{DIP, Deployment, VIP, mac};
use crate::director::{Config, Director};
use crate::http::{ab, assert_counts_match};
use crate::on_both_backends;
use crate::peers::{PATIENCE, Peers, connect, vip};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

on_both_backends! {
    the_director_s_own_address_works
    other_ports_of_the_vip_are_left_to_the_kernel
    arp_and_neighbor_discovery_work
    a_routing_host_forwards_no_copy_and_sends_no_icmp
}

fn the_director_s_own_address_works(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let _director = Director::start(&deployment, &Config::new(backend));
    let (client, host) = (&deployment.client, &deployment.director);
    client.run(&format!("ping -c 5 -i 0.02 -W 2 {DIP}"));
    client.run(&format!("ping -c 2 -i 0.02 -W 2 -s 5000 {DIP}")); // in fragments
    // A port with a service on the VIP, and one without.
    for port in [80, 22] {
        let listener = host.enter(|| TcpListener::bind((DIP, port))).unwrap();
        let mut there = client.enter(|| TcpStream::connect_timeout(&(DIP, port).into(), PATIENCE)).unwrap();
        let (mut here, _) = listener.accept().unwrap();
        there.write_all(b"to the host itself").unwrap();
        there.shutdown(std::net::Shutdown::Write).unwrap();
        here.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        here.read_to_string(&mut text).unwrap();
        assert_eq!(text, "to the host itself");
    }
    assert_eq!(connect(client, 9).iter().sum::<usize>(), 9);
}

/// With the VIP on the director's lo its kernel answers for all ports.
fn other_ports_of_the_vip_are_left_to_the_kernel(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let _director = Director::start(&deployment, &Config::new(backend));
    let client = &deployment.client;
    deployment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let refused = client.enter(|| TcpStream::connect_timeout(&vip(81), PATIENCE)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "a RST");
    assert_eq!(
        refused_datagram(client.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap())),
        ErrorKind::ConnectionRefused
    );
    client.run(&format!("ping -c 2 -i 0.02 -W 2 {VIP}"));
    // The kernel would refuse these, too, if it received them.
    let answers = connect(client, 60);
    assert!(answers.iter().all(|answered| *answered > 0), "{answers:?}");
}

/// Error of a socket after an ICMP port unreachable.
fn refused_datagram(socket: UdpSocket) -> ErrorKind {
    socket.connect(vip(81)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"data").unwrap();
    socket.recv(&mut [0; 16]).unwrap_err().kind()
}

fn arp_and_neighbor_discovery_work(backend: &str) {
    let deployment = Deployment::reference();
    let (client, host) = (&deployment.client, &deployment.director);
    for (netns, address) in [(client, "fd00:195::2"), (host, "fd00:195::149")] {
        netns.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0");
        netns.run(&format!("ip address add {address}/64 dev eth0 nodad"));
    }
    let _director = Director::start(&deployment, &Config::new(backend));
    for netns in [client, host] {
        netns.run("ip neighbour flush all");
    }
    client.run("ping -6 -c 3 -i 0.02 -W 2 fd00:195::149");
    client.run(&format!("ping -c 3 -i 0.02 -W 2 {DIP}"));
    host.run("ip neighbour flush all && ping -6 -c 3 -i 0.02 -W 2 fd00:195::2");
    host.run(&format!("ping -c 3 -i 0.02 -W 2 {}", deployment.rips[0]));
    let known = client.run("ip -6 neighbour show fd00:195::149");
    assert!(known.contains(&mac(host)), "{known}");
    let address: SocketAddr = "[fd00:195::149]:80".parse().unwrap();
    let listener = host.enter(|| TcpListener::bind(address)).unwrap();
    client.enter(|| TcpStream::connect_timeout(&address, PATIENCE)).unwrap();
    drop(listener);
}

/// A kernel that gets a copy of each frame would route it, or send an ICMP message.
fn a_routing_host_forwards_no_copy_and_sends_no_icmp(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    deployment.director.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=1");
    deployment.director.run("ip route add default via 192.168.195.2");
    let director = Director::start(&deployment, &Config::new(backend));
    ab(&deployment, 1000, "-c 10");
    assert_counts_match(&deployment, &director);
}
