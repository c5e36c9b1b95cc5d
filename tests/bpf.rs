//! The steering programs in the kernel: which frames they take, and that they end with their link.

mod support;

use directrix::io::Interface;
use directrix::io::bpf::{self, AllowedModes, Buffers, Programs, XdpMode};
use directrix::model::ServiceAddress;
use directrix::wire::Protocol;
use etherparse::PacketBuilder;
use std::time::Duration;
use support::netns::{Netns, veth, wait_until};
use support::wire::Wire;

/// Longest wait for the end of a link.
///
/// A link ends with its last descriptor. A process that another test's thread is starting has a copy of every
/// descriptor until execve(2).
const PATIENCE: Duration = Duration::from_secs(5);

fn pair() -> (Netns, Netns) {
    let (director, peer) = (Netns::new("d"), Netns::new("p"));
    veth((&director, "eth0"), (&peer, "eth0"), 1);
    director.run("ip address add 10.0.0.1/24 dev eth0");
    peer.run("ip address add 10.0.0.2/24 dev eth0");
    (director, peer)
}

fn service(address: &str, protocol: Protocol) -> ServiceAddress {
    ServiceAddress { protocol, address: address.parse().unwrap() }
}

#[test]
fn steering_runs_in_the_driver_and_ends_with_its_link() {
    let (director, _peer) = pair();
    director.enter(|| {
        let eth0 = Interface::lookup("eth0").unwrap();
        let mut programs = Programs::load(&eth0).unwrap();
        let attached = bpf::attach_steering(&mut programs, &eth0, AllowedModes::Any, Buffers::One).unwrap();
        assert_eq!(attached.mode, XdpMode::Native);
        let (_, name) = bpf::attached_program(&eth0).unwrap().expect("it is attached");
        assert_eq!(name, "directrix_steer");
        drop(attached);
        wait_until("the program is gone", PATIENCE, || bpf::attached_program(&eth0).unwrap().is_none());
    });
}

#[test]
fn second_director_names_the_first() {
    let (director, _peer) = pair();
    director.enter(|| {
        let eth0 = Interface::lookup("eth0").unwrap();
        let (mut first, mut second) = (Programs::load(&eth0).unwrap(), Programs::load(&eth0).unwrap());
        let _attached = bpf::attach_steering(&mut first, &eth0, AllowedModes::Any, Buffers::One).unwrap();
        let failure = bpf::attach_steering(&mut second, &eth0, AllowedModes::Any, Buffers::One)
            .unwrap_err()
            .to_string();
        assert!(failure.contains("EBUSY") && failure.contains("another directrix"), "{failure}");
    });
}

#[test]
fn guard_drops_only_frames_for_services() {
    let (director, peer) = pair();
    director.enter(|| {
        let eth0 = Interface::lookup("eth0").unwrap();
        let mut programs = Programs::load(&eth0).unwrap();
        let guard = bpf::attach_guard(&mut programs, &eth0).unwrap();
        programs.set_services(&[service("10.0.0.1:80", Protocol::Tcp)]).unwrap();
        let refused = |port: u16| {
            let command = format!("timeout 1 bash -c 'echo > /dev/tcp/10.0.0.1/{port}' 2>&1 || true");
            peer.run(&command).contains("refused")
        };
        peer.run("ping -c 1 -W 2 10.0.0.1");
        assert!(refused(81), "a port that is not a service: the kernel answers with a reset");
        assert!(!refused(80), "the service's port: the kernel does not see it");
        programs.set_services(&[service("10.0.0.1:81", Protocol::Tcp)]).unwrap();
        assert!(refused(80) && !refused(81), "the set was replaced");
        programs.set_services(&[service("10.0.0.1:80", Protocol::Udp)]).unwrap();
        assert!(refused(80), "another protocol");
        programs.set_services(&[service("10.0.0.1:0", Protocol::Tcp)]).unwrap();
        assert!([1, 80, 81, 65535].map(refused) == [false; 4], "every port");
        peer.run("ping -c 1 -W 2 10.0.0.1");
        programs.set_services(&[service("10.0.0.1:0", Protocol::Udp)]).unwrap();
        assert!(refused(80) && refused(81), "every port of another protocol");
        let beside = [service("10.0.0.3:0", Protocol::Tcp), service("10.0.0.1:80", Protocol::Tcp)];
        programs.set_services(&beside).unwrap();
        assert!(!refused(80) && refused(81), "every port of another VIP, and one of this");
        programs.set_services(&[service("10.0.0.1:80", Protocol::Udp)]).unwrap();
        let every_port = |protocol| {
            (0..=u16::MAX).map(move |port| ServiceAddress { protocol, address: ([10, 0, 0, 1], port).into() })
        };
        let many: Vec<_> = [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(every_port).collect();
        let failure = programs.set_services(&many).unwrap_err().to_string();
        assert!(failure.contains("131072 fit") && refused(81), "a refused set changes nothing: {failure}");
        programs.set_services(&[service("10.0.0.1:80", Protocol::Tcp)]).unwrap();
        drop(guard);
        wait_until("the guard is gone", PATIENCE, || refused(80));
    });
}

#[test]
fn guard_drops_only_frames_for_ipv6_services() {
    let (director, peer) = pair();
    for (host, address) in [(&director, "2001:db8::1"), (&peer, "2001:db8::2")] {
        host.run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
        host.run(&format!("ip address add {address}/64 dev eth0 nodad"));
    }
    director.enter(|| {
        let eth0 = Interface::lookup("eth0").unwrap();
        let mut programs = Programs::load(&eth0).unwrap();
        let _guard = bpf::attach_guard(&mut programs, &eth0).unwrap();
        let refused = |port: u16| {
            let command = format!("timeout 1 bash -c 'echo > /dev/tcp/2001:db8::1/{port}' 2>&1 || true");
            peer.run(&command).contains("refused")
        };
        programs.set_services(&[service("[2001:db8::1]:80", Protocol::Tcp)]).unwrap();
        peer.run("ping -6 -c 1 -W 2 2001:db8::1");
        assert!(refused(81) && !refused(80), "the kernel does not see the service's port");
        let beside = [service("[2001:db8::3]:0", Protocol::Tcp), service("[2001:db8::1]:81", Protocol::Tcp)];
        programs.set_services(&beside).unwrap();
        assert!(refused(80) && !refused(81), "every port of another VIP, and one of this");
        programs.set_services(&[service("[2001:db8::1]:0", Protocol::Tcp)]).unwrap();
        assert!(!refused(80) && !refused(81), "every port");
        programs.set_services::<ServiceAddress>(&[]).unwrap();
        assert!(refused(80) && refused(81), "no service");
    });
}

#[test]
fn the_guard_lets_frames_of_vlans_pass() {
    let (director, peer) = pair();
    director.enter(|| {
        let eth0 = Interface::lookup("eth0").unwrap();
        let mut programs = Programs::load(&eth0).unwrap();
        let _guard = bpf::attach_guard(&mut programs, &eth0).unwrap();
        programs.set_services(&[service("10.0.0.100:53", Protocol::Udp)]).unwrap();
        let kernel = Wire::of(eth0.index, libc::ETH_P_IP);
        let wire = peer.enter(|| Wire::new(Interface::lookup("eth0").unwrap().index));
        let mut plain = Vec::new();
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], eth0.mac.0);
        let builder = builder.ipv4([10, 0, 0, 2], [10, 0, 0, 100], 64).udp(40000, 53);
        builder.write(&mut plain, b"which network?").unwrap();
        let mut tagged = plain.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]); // IEEE 802.1Q, VLAN 7
        let reaches_the_kernel = |frame: &[u8]| {
            wire.send(frame);
            let udp = |frame: Vec<u8>| frame.get(23) == Some(&17);
            std::iter::from_fn(|| kernel.receive(Duration::from_millis(500))).any(udp)
        };
        assert!(!reaches_the_kernel(&plain), "the service's own frame");
        assert!(reaches_the_kernel(&tagged), "the frame of another network with the same addresses");
    });
}

#[test]
fn interface_lookup_reads_properties_or_fails() {
    let (director, _peer) = pair();
    let mac = director.run("cat /sys/class/net/eth0/address");
    director.run("ip link add down0 type veth peer name down1");
    director.enter(|| {
        let eth0 = Interface::lookup("eth0").unwrap();
        assert_eq!(eth0.mac.to_string(), mac.trim());
        assert_eq!((eth0.mtu, eth0.queues), (1500, 1));
        assert_eq!(eth0.addresses, [([10, 0, 0, 1].into(), 24)]);
        let down = Interface::lookup("down0").unwrap_err().to_string();
        assert!(down.contains("ip link set dev down0 up"), "{down}");
        let unknown = Interface::lookup("eth7").unwrap_err().to_string();
        assert!(unknown.contains("eth0") && unknown.contains("down1"), "{unknown}");
    });
}
