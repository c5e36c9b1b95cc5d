//! No frame's memory is lost or used twice, whatever happens to the traffic.

use crate::harness::{Net, PATIENCE, Setup, VIP, bounce, datagram, next, udp, wire, with_director};
use crate::support::netns::wait_until;
use crate::support::wire::Wire;
use directrix::forward::{Batch, Verdict};
use directrix::io::xdp::{self, XdpPorts};
use directrix::io::{Lost, Ports, SendOutcome};
use directrix::model::InterfaceIndex;
use directrix::stats::DropReason;
use directrix::sys::Sleeper;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Small, so that every ring overflows.
const RING_LEN: u32 = 64;

fn add(total: &mut SendOutcome, sent: SendOutcome) {
    total.forwarded += sent.forwarded;
    total.full += sent.full;
    total.too_long += sent.too_long;
}

/// One turn: forwards to `interface`, counts, and returns how many frames there were.
fn turn(ports: &mut XdpPorts, interface: InterfaceIndex, total: &mut SendOutcome) -> u32 {
    let mut verdicts = Vec::new();
    bounce(ports.receive(0), interface, &mut verdicts);
    assert_eq!(ports.count_frames().batch, verdicts.len());
    add(total, ports.finish(&verdicts));
    let _ = ports.count_frames();
    verdicts.len() as u32
}

/// Polls until no frame is in transmission.
fn settle(ports: &mut XdpPorts) {
    wait_until("all frames are back", PATIENCE, || {
        turn(ports, InterfaceIndex::CLIENT, &mut SendOutcome::default());
        ports.wait(Duration::from_millis(1), Sleeper::new().unwrap().as_fd()).unwrap();
        ports.count_frames().sending == 0
    });
    let count = ports.count_frames();
    assert_eq!(count.free + count.filled, count.total);
}

#[test]
fn a_flood_through_small_rings_loses_no_memory() {
    let net = Net::new(1);
    let wire = net.peer_wire();
    let setup = Setup { ring_len: RING_LEN, ..Setup::new(&[udp(VIP, 53)]) };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let begin = || {
            scope.spawn(|| {
                let _done = SetOnDrop(&done);
                flood(&wire, 200_000);
            });
        };
        net.director.enter(|| absorb(&setup, &done, begin));
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn flood(wire: &Wire, count: u32) {
    for number in 0..count {
        wire.send(&datagram((VIP, 53), 1024 + (number % 60_000) as u16, &number.to_be_bytes()));
    }
}

/// Forwards two frames of three and drops the third, with pauses in which the rings overflow. Calls `begin` once frames
/// may come.
fn absorb(setup: &Setup, done: &AtomicBool, begin: impl FnOnce()) {
    let mut opened = xdp::open_with(&setup.plan(), setup.ring_len).unwrap();
    opened.steering.start().unwrap();
    opened.steering.update(&setup.services).unwrap();
    begin();
    let (ports, _) = &mut opened.workers[0];
    let (mut received, mut total, mut turns) = (0, SendOutcome::default(), 0u32);
    while !done.load(Ordering::Relaxed) {
        let count = ports.receive(0).len() as u32;
        let verdicts: Vec<Verdict> = (received..received + count).map(two_of_three).collect();
        add(&mut total, ports.finish(&verdicts));
        received += count;
        turns += 1;
        if turns.is_multiple_of(64) {
            std::thread::sleep(Duration::from_millis(2));
            let _ = ports.count_frames();
        }
    }
    settle(ports);
    assert!(received > 10_000, "only {received} frames came");
    assert!(total.forwarded > received / 3, "{total:?} of {received}");
    assert!(opened.workers[0].0.count_frames().free > 0);
}

fn two_of_three(number: u32) -> Verdict {
    match number % 3 {
        0 => Verdict::Drop(DropReason::NoService),
        _ => Verdict::Forward(InterfaceIndex::CLIENT),
    }
}

#[test]
fn a_full_transmit_ring_drops_counts_and_recovers() {
    let (net, server) = Net::with_server(1);
    let (from, to) = (net.peer_wire(), wire(&server));
    let setup = Setup { interfaces: vec!["eth0", "eth1"], ring_len: RING_LEN, ..Setup::new(&[udp(VIP, 53)]) };
    net.director.enter(|| {
        let mut opened = xdp::open_with(&setup.plan(), setup.ring_len).unwrap();
        opened.steering.start().unwrap();
        opened.steering.update(&setup.services).unwrap();
        let (ports, _) = &mut opened.workers[0];

        net.director.run("ip link set dev eth1 down");
        let mut total = SendOutcome::default();
        for _ in 0..20 {
            flood(&from, 32);
            receive(ports, 32, &mut total);
        }
        // What is in the ring waits for the interface; nothing else does.
        assert_eq!((total.forwarded, total.full), (RING_LEN, 640 - RING_LEN));
        assert_eq!(ports.count_frames().sending, RING_LEN as usize);
        assert_eq!(ports.levels(0).transmit, RING_LEN);

        net.director.run("ip link set dev eth1 up");
        settle(ports);
        let arrived = std::iter::from_fn(|| next(&to, Duration::from_millis(300))).count();
        assert_eq!(arrived, RING_LEN as usize, "each frame of the ring, once");
        flood(&from, 32);
        receive(ports, 32, &mut SendOutcome::default());
        settle(ports);
        assert_eq!(std::iter::from_fn(|| next(&to, Duration::from_millis(300))).count(), 32);
    });
}

/// Takes `count` frames in and sends them on to the server.
fn receive(ports: &mut XdpPorts, count: u32, total: &mut SendOutcome) {
    let mut received = 0;
    wait_until("all frames are received", PATIENCE, || {
        received += turn(ports, InterfaceIndex(1), total);
        received >= count
    });
}

#[test]
fn frames_sent_while_the_link_is_away_are_given_back() {
    let net = Net::new(1);
    let setup = Setup { ring_len: RING_LEN, ..Setup::new(&[udp(VIP, 53)]) };
    with_director(&net.director, &setup, || {
        for _ in 0..20 {
            flood(&net.peer_wire(), 64);
            net.peer.run("ip link set dev eth0 down && ip link set dev eth0 up");
        }
        let wire = net.peer_wire();
        let last = datagram((VIP, 53), 9, b"still there");
        wait_until("forwarding goes on", PATIENCE, || {
            wire.send(&last);
            next(&wire, Duration::from_millis(100)).is_some()
        });
    });
}

#[test]
fn waiting_ends_with_a_frame_or_with_the_time() {
    let net = Net::new(1);
    let wire = net.peer_wire();
    net.director.enter(|| {
        let mut opened = xdp::open(&Setup::new(&[]).plan()).unwrap();
        opened.steering.start().unwrap();
        opened.steering.update(&[udp(VIP, 53)]).unwrap();
        let (ports, _) = &mut opened.workers[0];
        let start = std::time::Instant::now();
        ports.wait(Duration::from_millis(50), Sleeper::new().unwrap().as_fd()).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(50), "nothing was there");
        assert!(ports.levels(0).fill > 2000, "primed: {:?}", ports.levels(0));
        flood(&wire, 3);
        let start = std::time::Instant::now();
        ports.wait(PATIENCE, Sleeper::new().unwrap().as_fd()).unwrap();
        assert!(start.elapsed() < PATIENCE / 2, "a frame was there");
        wait_until("all three", PATIENCE, || ports.levels(0).receive == 3);
    });
}

#[test]
fn each_lost_frame_is_counted_once_by_reason() {
    let net = Net::new(1);
    let wire = net.peer_wire();
    let setup = Setup { ring_len: RING_LEN, ..Setup::new(&[udp(VIP, 53)]) };
    net.director.enter(|| {
        let mut opened = xdp::open_with(&setup.plan(), setup.ring_len).unwrap();
        opened.steering.start().unwrap();
        opened.steering.update(&setup.services).unwrap();
        let (ports, _) = &mut opened.workers[0];
        let lost_of = |ports: &mut XdpPorts, what: &str, wanted: Lost| {
            let mut seen = Lost::default();
            wait_until(what, PATIENCE, || {
                let Lost { ring_full, no_buffer, too_long, not_delivered } = ports.lost(0);
                seen.ring_full += ring_full;
                seen.no_buffer += no_buffer;
                seen.too_long += too_long;
                seen.not_delivered += not_delivered;
                seen.ring_full >= wanted.ring_full && seen.no_buffer >= wanted.no_buffer
            });
            assert_eq!((seen, ports.lost(0)), (wanted, Lost::default()), "{what}");
        };
        // The fill ring is as long as the receive ring, and is not refilled.
        flood(&wire, RING_LEN + 10);
        lost_of(ports, "nothing to receive into", Lost { no_buffer: 10, ..Lost::default() });
        // Received frames that are not yet read count as with the kernel, so it gets no more: it drops further
        // frames before copying them.
        ports.wait(Duration::from_millis(1), Sleeper::new().unwrap().as_fd()).unwrap();
        flood(&wire, 7);
        lost_of(ports, "still nothing to receive into", Lost { no_buffer: 7, ..Lost::default() });
        let mut received = 0;
        wait_until("what was not lost", PATIENCE, || {
            received += turn(ports, InterfaceIndex::CLIENT, &mut SendOutcome::default());
            received == RING_LEN
        });
    });
}

#[test]
fn copies_are_sent_and_lose_no_memory() {
    let (net, server) = Net::with_server(1);
    let to = wire(&server);
    let setup = Setup { interfaces: vec!["eth0", "eth1"], ring_len: RING_LEN, ..Setup::new(&[udp(VIP, 53)]) };
    net.director.enter(|| {
        let mut opened = xdp::open_with(&setup.plan(), setup.ring_len).unwrap();
        opened.steering.start().unwrap();
        let (ports, _) = &mut opened.workers[0];
        for number in 0..4 * RING_LEN {
            let frame = datagram((VIP, 53), 1024, &number.to_be_bytes());
            let sent = ports.send_copy(InterfaceIndex(1), &frame);
            assert_eq!(sent, SendOutcome { forwarded: 1, ..SendOutcome::default() }, "copy {number}");
            let _ = ports.count_frames();
            turn(ports, InterfaceIndex::CLIENT, &mut SendOutcome::default());
            let arrived = next(&to, PATIENCE).expect("each copy arrives");
            assert_eq!(arrived[..frame.len()], frame);
        }
        let too_long = ports.send_copy(InterfaceIndex(1), &[0; 1515]);
        assert_eq!(too_long, SendOutcome { too_long: 1, ..SendOutcome::default() });
        settle(ports);
    });
}
