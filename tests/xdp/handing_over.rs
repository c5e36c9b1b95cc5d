//! Sockets that go on in another process. Both processes are this one: what counts is that only descriptors are passed.

use crate::harness::{DIRECTOR, Net, PATIENCE, Setup, VIP, bounce, datagram, next, udp};
use crate::support::netns::wait_until;
use crate::support::wire::Wire;
use directrix::io::handed::{HandedRings, RingFacts};
use directrix::io::xdp::{self, Predecessor, XdpPorts};
use directrix::io::{Lost, Opened, Ports, SendOutcome};
use directrix::model::InterfaceIndex;
use directrix::wire::ethernet;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const FRAMES: u32 = 3000;
const HAND_OVERS: u32 = 10;
/// While nothing looks at the rings: some 40 frames arrive.
const PAUSE: Duration = Duration::from_millis(40);

type Backend = Opened<XdpPorts>;

fn opened(setup: &Setup) -> Backend {
    let mut opened = xdp::open(&setup.plan()).unwrap();
    opened.steering.update(&setup.services).unwrap();
    opened
}

fn handed(Opened { workers, mut steering }: Backend) -> HandedRings {
    let attachment = steering.hand_over().expect("a veth pair has native XDP");
    let ports = workers.into_iter().map(|(ports, _)| ports.into_handed().ok().unwrap()).collect();
    HandedRings::new(attachment, ports).unwrap()
}

/// Opens the backend with the sockets of another process, whose facts have been text.
fn adopted(setup: &Setup, HandedRings { facts, descriptors }: HandedRings) -> Backend {
    let facts: RingFacts = serde_json::from_slice(&serde_json::to_vec(&facts).unwrap()).unwrap();
    let mut rings = Some(HandedRings { facts, descriptors });
    let release = &mut || Ok(rings.take());
    let mut opened = xdp::open_after(&setup.plan(), Some(Predecessor { copies: true, release })).unwrap();
    opened.steering.update(&setup.services).unwrap();
    opened
}

/// Sends back what has been received, for a while.
fn serve(backend: &mut Backend, rounds: u32) -> (SendOutcome, Lost) {
    let (mut sent, mut lost, mut verdicts) = (SendOutcome::default(), Lost::default(), Vec::new());
    for _ in 0..rounds {
        for (ports, _) in &mut backend.workers {
            for port in 0..ports.count() {
                bounce(ports.receive(port), InterfaceIndex::CLIENT, &mut verdicts);
                let SendOutcome { forwarded, full, .. } = ports.finish(&verdicts);
                sent.forwarded += forwarded;
                sent.full += full;
                lost.ring_full += ports.lost(port).ring_full;
            }
            let _ = ports.count_frames();
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    (sent, lost)
}

/// Numbered datagrams, one a millisecond, to all queues.
fn send(wire: &Wire, done: &AtomicBool) {
    for number in 0..FRAMES {
        wire.send(&datagram((VIP, 53), 1024 + (number % 50) as u16, &number.to_be_bytes()));
        std::thread::sleep(Duration::from_millis(1));
    }
    done.store(true, Ordering::Relaxed);
}

/// Numbers of the datagrams that have come back.
fn returned(wire: &Wire) -> Vec<u32> {
    let frames = std::iter::from_fn(|| next(wire, Duration::from_millis(300)));
    let back = frames.filter(|frame| ethernet::source(frame) == Some(DIRECTOR));
    back.map(|frame| u32::from_be_bytes(frame[42..46].try_into().unwrap())).collect()
}

#[test]
fn no_frame_is_lost_while_sockets_change_hands() {
    let net = Net::new(2);
    let (wire, done) = (net.peer_wire(), AtomicBool::new(false));
    let setup = Setup { workers: Some(2), ..Setup::new(&[udp(VIP, 53)]) };
    std::thread::scope(|scope| {
        net.director.enter(|| {
            let mut backend = opened(&setup);
            scope.spawn(|| send(&wire, &done));
            let mut total = SendOutcome::default();
            let mut add = |(sent, lost): (SendOutcome, Lost)| {
                assert_eq!(lost, Lost::default());
                total.forwarded += sent.forwarded;
                assert_eq!(sent.full, 0);
            };
            for _ in 0..HAND_OVERS {
                add(serve(&mut backend, 200));
                let rings = handed(backend);
                std::thread::sleep(PAUSE);
                backend = adopted(&setup, rings);
                assert!(backend.workers.iter().all(|(_, infos)| infos[0].mode == "native, copy"));
            }
            wait_until("all frames have been sent", PATIENCE, || {
                add(serve(&mut backend, 20));
                done.load(Ordering::Relaxed)
            });
            add(serve(&mut backend, 200));
            assert_eq!(total.forwarded, FRAMES);
        });
    });
    let mut numbers = returned(&wire);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..FRAMES).collect::<Vec<_>>(), "each came back once");
}

/// Memory of the same length, which may be shortened.
fn unsealed_copy(memory: &OwnedFd) -> OwnedFd {
    let length = File::from(memory.try_clone().unwrap()).metadata().unwrap().len();
    let copy = File::from(memfd_create(c"unsealed", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    copy.set_len(length).unwrap();
    copy.into()
}

#[test]
fn sockets_that_do_not_fit_are_opened_anew() {
    type Change = fn(&mut HandedRings);
    let net = Net::new(1);
    let wire = net.peer_wire();
    let setup = Setup::new(&[udp(VIP, 53)]);
    let changes: [Change; 8] = [
        |rings| rings.facts.shape.ring_len = 64,
        |rings| rings.facts.workers.clear(),
        |rings| rings.facts.workers[0].sockets[0].queue = 7,
        |rings| rings.facts.workers[0].free[1] = rings.facts.workers[0].free[0],
        |rings| rings.facts.workers[0].free[0] = u64::MAX,
        |rings| rings.facts.workers[0].sockets[0].filled += 1,
        |rings| rings.descriptors.truncate(2),
        |rings| rings.descriptors[1] = unsealed_copy(&rings.descriptors[1]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        net.director.enter(|| {
            let mut rings = handed(opened(&setup));
            change(&mut rings);
            let mut backend = adopted(&setup, rings);
            let (facts, ports) = (&setup, &mut backend);
            wire.send(&datagram((VIP, 53), 1024, &(number as u32).to_be_bytes()));
            let (sent, _) = serve(ports, 40);
            assert_eq!(sent.forwarded, 1, "change {number} of {:?}", facts.services);
        });
        assert_eq!(returned(&wire), [number as u32]);
    }
}
