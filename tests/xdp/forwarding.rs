//! Every frame for a service goes on, once and unchanged.

use crate::harness::{Net, PATIENCE, SILENCE, Setup, VIP, bounced, datagram, next, udp, wire, with_director};
use crate::support::wire::Wire;
use directrix::model::InterfaceIndex;
use std::collections::HashSet;

const FRAMES: usize = 20_000;
/// Few enough not to overflow any queue between the namespaces.
const WINDOW: usize = 64;

/// Frame number `number`: all lengths from the shortest to a full MTU, many flows.
fn numbered(number: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; 4 + number * 7 % 1469];
    payload[..4].copy_from_slice(&(number as u32).to_be_bytes());
    datagram((VIP, 53), 1024 + (number % 50_000) as u16, &payload)
}

/// As [`numbered`], up to an MTU of 9000.
fn long(number: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..4 + number * 97 % 8969).map(|at| (at * 31 + number) as u8).collect();
    payload[..4].copy_from_slice(&(number as u32).to_be_bytes());
    datagram((VIP, 53), 1024 + (number % 50_000) as u16, &payload)
}

/// Sends `count` frames in bursts and checks that each arrives once, as it should be.
fn exchange(from: &Wire, to: &Wire, count: usize) {
    exchange_of(numbered, (from, to), count);
}

fn exchange_of(numbered: fn(usize) -> Vec<u8>, (from, to): (&Wire, &Wire), count: usize) {
    for burst in (0..count).step_by(WINDOW) {
        let sent: Vec<Vec<u8>> = (burst..count.min(burst + WINDOW)).map(numbered).collect();
        sent.iter().for_each(|frame| from.send(frame));
        let mut expected: HashSet<Vec<u8>> = sent.iter().map(|frame| bounced(frame)).collect();
        while !expected.is_empty() {
            let frame = next(to, PATIENCE).unwrap_or_else(|| panic!("{} missing", expected.len()));
            assert!(expected.remove(&frame), "twice, changed or foreign: {frame:02x?}");
        }
    }
    assert_eq!(next(to, SILENCE), None, "more frames than were sent");
}

#[test]
fn each_frame_comes_back_once_and_unchanged() {
    let net = Net::new(1);
    let wire = net.peer_wire();
    let setup = Setup::new(&[udp(VIP, 53)]);
    let seen = with_director(&net.director, &setup, || exchange(&wire, &wire, FRAMES));
    assert_eq!(seen[0].infos[0].mode, "native, copy", "a veth has native XDP without zero-copy");
    assert_eq!(seen[0].received, [FRAMES as u64]);
    assert_eq!(seen[0].sent.forwarded, FRAMES as u32);
}

#[test]
fn each_mtu_is_served_in_the_driver_up_to_its_longest_frame() {
    for mtu in [1500, 3494, 3495, 3507, 3818, 3819] {
        let net = Net::new(1);
        for namespace in [&net.director, &net.peer] {
            namespace.run(&format!("ip link set dev eth0 mtu {mtu}"));
        }
        let wire = net.peer_wire();
        let frames = [60, mtu - 1, mtu].map(|len| datagram((VIP, 53), 9, &vec![5; len - 28]));
        let seen = with_director(&net.director, &Setup::new(&[udp(VIP, 53)]), || {
            for frame in &frames {
                wire.send(frame);
                assert_eq!(next(&wire, PATIENCE), Some(bounced(frame)), "{} of {mtu}", frame.len());
            }
        });
        assert_eq!(seen[0].infos[0].mode, "native, copy", "{mtu}");
        assert_eq!((seen[0].received[0], seen[0].sent.forwarded), (3, 3), "{mtu}");
    }
}

#[test]
fn frames_of_several_buffers_come_back_once_and_unchanged() {
    let net = Net::new(1);
    for namespace in [&net.director, &net.peer] {
        namespace.run("ip link set dev eth0 mtu 9000");
    }
    let wire = net.peer_wire();
    let setup = Setup::new(&[udp(VIP, 53)]);
    let seen = with_director(&net.director, &setup, || exchange_of(long, (&wire, &wire), 10_000));
    assert_eq!(seen[0].infos[0].mode, "native, copy");
    assert_eq!((seen[0].received[0], seen[0].sent.forwarded), (10_000, 10_000), "frames, not buffers");
}

#[test]
fn frames_of_several_buffers_are_sent_whole_or_not_at_all() {
    let net = Net::new(1);
    for namespace in [&net.director, &net.peer] {
        namespace.run("ip link set dev eth0 mtu 9000");
    }
    let wire = net.peer_wire();
    let setup = Setup { ring_len: 64, ..Setup::new(&[udp(VIP, 53)]) };
    let seen = with_director(&net.director, &setup, || {
        (0..20_000).for_each(|number| wire.send(&long(number)));
        let mut came = 0;
        while let Some(frame) = next(&wire, SILENCE) {
            let number = u32::from_be_bytes(frame[42..46].try_into().unwrap());
            assert_eq!(frame, bounced(&long(number as usize)), "torn or mixed");
            came += 1;
        }
        assert!(came > 100, "{came} came back");
    });
    assert!(seen[0].received[0] >= u64::from(seen[0].sent.forwarded));
}

#[test]
fn one_worker_serves_two_queues() {
    let net = Net::new(2);
    let wire = net.peer_wire();
    let setup = Setup { workers: Some(1), ..Setup::new(&[udp(VIP, 53)]) };
    let seen = with_director(&net.director, &setup, || exchange(&wire, &wire, 2000));
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].infos.iter().map(|info| info.queue).collect::<Vec<_>>(), [0, 1]);
    assert!(seen[0].received.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn two_workers_serve_four_queues() {
    let net = Net::new(4);
    let wire = net.peer_wire();
    let setup = Setup { workers: Some(2), ..Setup::new(&[udp(VIP, 53)]) };
    let seen = with_director(&net.director, &setup, || exchange(&wire, &wire, 2000));
    let queues: Vec<Vec<u32>> =
        seen.iter().map(|seen| seen.infos.iter().map(|info| info.queue).collect()).collect();
    assert_eq!(queues, [[0, 2], [1, 3]]);
    assert!(seen.iter().all(|seen| seen.received.iter().all(|count| *count > 100)), "{seen:?}");
}

#[test]
fn a_queue_that_cannot_transmit_sends_through_another() {
    let net = Net::new(2);
    net.director.run("ethtool -L eth0 rx 2 tx 1");
    let wire = net.peer_wire();
    let setup = Setup { workers: Some(1), ..Setup::new(&[udp(VIP, 53)]) };
    let seen = with_director(&net.director, &setup, || exchange(&wire, &wire, 2000));
    assert!(seen[0].received.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn second_interface_sends_from_the_same_umem() {
    let (net, server) = Net::with_server(2);
    let (from, to) = (net.peer_wire(), wire(&server));
    let setup = Setup {
        interfaces: vec!["eth0", "eth1"],
        workers: Some(2),
        to: InterfaceIndex(1),
        ..Setup::new(&[udp(VIP, 53)])
    };
    let seen = with_director(&net.director, &setup, || exchange(&from, &to, 4000));
    assert_eq!(seen.iter().map(|seen| seen.sent.forwarded).sum::<u32>(), 4000);
}

#[test]
fn frame_above_the_other_mtu_counts_as_too_long() {
    let (net, server) = Net::with_server(1);
    net.director.run("ip link set dev eth1 mtu 1000");
    let (from, to) = (net.peer_wire(), wire(&server));
    let setup =
        Setup { interfaces: vec!["eth0", "eth1"], to: InterfaceIndex(1), ..Setup::new(&[udp(VIP, 53)]) };
    // 14 bytes of Ethernet, 20 of IP, 8 of UDP.
    let (fits, too_long) = (datagram((VIP, 53), 9, &[7; 972]), datagram((VIP, 53), 9, &[7; 973]));
    let seen = with_director(&net.director, &setup, || {
        from.send(&too_long);
        from.send(&fits);
        assert_eq!(next(&to, PATIENCE), Some(bounced(&fits)));
        assert_eq!(next(&to, SILENCE), None);
    });
    assert_eq!((seen[0].sent.forwarded, seen[0].sent.too_long), (1, 1));
}

#[test]
fn an_interface_without_native_xdp_is_served_generically() {
    let net = Net::new(1);
    net.director.run("ip link add br0 type bridge && ip link set dev eth0 master br0");
    net.director.run("ip link set dev br0 address 02:00:00:00:00:01 up && ethtool -K br0 gro on");
    let gro = || net.director.run("ethtool -k br0 | grep generic-receive-offload");
    let wire = net.peer_wire();
    let setup = Setup { interfaces: vec!["br0"], ..Setup::new(&[udp(VIP, 53)]) };
    let seen = with_director(&net.director, &setup, || {
        exchange(&wire, &wire, 2000);
        assert!(gro().contains("off"), "merged frames could not be forwarded");
    });
    assert_eq!(seen[0].infos[0].mode, "generic, copy");
    assert!(gro().contains("on"), "it is as it was");
}
