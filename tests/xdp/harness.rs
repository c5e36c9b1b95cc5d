//! A director that sends every frame back, or on to the server, and frames to try it with.

use crate::support::netns::{Netns, veth};
use crate::support::wire::Wire;
use directrix::forward::{Batch, Verdict};
use directrix::io::xdp::{self, XdpPorts};
use directrix::io::{Interface, PortInfo, PortPlan, Ports, SendOutcome};
use directrix::model::{InterfaceIndex, ServiceAddress};
use directrix::sys::Sleeper;
use directrix::wire::{MacAddr, Protocol, ethernet};
use etherparse::PacketBuilder;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const VIP: [u8; 4] = [10, 9, 9, 9];
/// No frame takes longer than that on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Time without a frame after which none is expected.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// The namespaces and what joins them.
pub(crate) struct Net {
    pub(crate) director: Netns,
    pub(crate) peer: Netns,
}

impl Net {
    pub(crate) fn new(queues: u32) -> Self {
        let net = Self { director: Netns::new("d"), peer: Netns::new("p") };
        veth((&net.director, "eth0"), (&net.peer, "eth0"), queues);
        for (namespace, mac, address) in [(&net.director, DIRECTOR, 1), (&net.peer, PEER, 2)] {
            namespace.run(&format!("ip link set dev eth0 address {mac}"));
            namespace.run(&format!("ip address add 10.0.0.{address}/24 dev eth0"));
        }
        net
    }

    /// A second interface: the director's eth1, and the server's eth0.
    pub(crate) fn with_server(queues: u32) -> (Self, Netns) {
        let (net, server) = (Self::new(queues), Netns::new("s"));
        veth((&net.director, "eth1"), (&server, "eth0"), queues);
        (net, server)
    }

    pub(crate) fn peer_wire(&self) -> Wire {
        wire(&self.peer)
    }
}

pub(crate) fn wire(namespace: &Netns) -> Wire {
    namespace.enter(|| Wire::new(Interface::lookup("eth0").unwrap().index))
}

/// The next UDP frame: namespaces also send ARP and IGMP of their own.
pub(crate) fn next(wire: &Wire, timeout: Duration) -> Option<Vec<u8>> {
    std::iter::from_fn(|| wire.receive(timeout)).find(|frame| frame.get(23) == Some(&17))
}

pub(crate) fn tcp(address: [u8; 4], port: u16) -> ServiceAddress {
    ServiceAddress { protocol: Protocol::Tcp, address: (address, port).into() }
}

pub(crate) fn udp(address: [u8; 4], port: u16) -> ServiceAddress {
    ServiceAddress { protocol: Protocol::Udp, address: (address, port).into() }
}

/// A UDP frame from the peer to the director's MAC.
pub(crate) fn datagram(to: ([u8; 4], u16), from_port: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER.0, DIRECTOR.0).ipv4([10, 0, 0, 2], to.0, 64);
    let mut frame = Vec::new();
    builder.udp(from_port, to.1).write(&mut frame, payload).unwrap();
    frame
}

/// Decides a batch: swaps the MAC addresses, sends to `interface`.
pub(crate) fn bounce(batch: &mut impl Batch, interface: InterfaceIndex, verdicts: &mut Vec<Verdict>) {
    verdicts.clear();
    for index in 0..batch.len() {
        let frame = batch.frame(index);
        let (to, from) = (ethernet::destination(frame).unwrap(), ethernet::source(frame).unwrap());
        ethernet::Addresses::new(from, to).write(frame);
        verdicts.push(Verdict::Forward(interface));
    }
}

/// The frame as [`bounce`] sends it.
pub(crate) fn bounced(frame: &[u8]) -> Vec<u8> {
    let mut bounced = frame.to_vec();
    let (to, from) = (ethernet::destination(frame).unwrap(), ethernet::source(frame).unwrap());
    ethernet::Addresses::new(from, to).write(&mut bounced);
    bounced
}

/// Configuration of the backend under test.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) interfaces: Vec<&'static str>,
    pub(crate) workers: Option<usize>,
    pub(crate) ring_len: u32,
    pub(crate) services: Vec<ServiceAddress>,
    pub(crate) to: InterfaceIndex,
}

impl Setup {
    pub(crate) fn new(services: &[ServiceAddress]) -> Self {
        let services = services.to_vec();
        Self { interfaces: vec!["eth0"], workers: None, ring_len: 2048, services, to: InterfaceIndex::CLIENT }
    }

    pub(crate) fn plan(&self) -> PortPlan {
        let lookup = |name: &&str| Interface::lookup(name).unwrap();
        PortPlan {
            interfaces: self.interfaces.iter().map(lookup).collect(),
            workers: self.workers,
            huge_pages: false,
        }
    }
}

/// Observations of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) infos: Vec<PortInfo>,
    /// Received, by port.
    pub(crate) received: Vec<u64>,
    pub(crate) sent: SendOutcome,
}

/// Runs `body` while a director bounces what it receives; returns what its workers have seen.
pub(crate) fn with_director(net: &Netns, setup: &Setup, body: impl FnOnce()) -> Vec<Seen> {
    let stop = AtomicBool::new(false);
    let (ready, is_ready) = mpsc::channel();
    std::thread::scope(|scope| {
        let stop = &stop;
        let director = scope.spawn(move || net.enter(move || direct(setup, stop, &ready)));
        let stopping = StopOnDrop(stop);
        if is_ready.recv().is_ok() {
            body();
        }
        drop(stopping);
        director.join().unwrap()
    })
}

/// Ends the director also when the body panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn direct(setup: &Setup, stop: &AtomicBool, ready: &mpsc::Sender<()>) -> Vec<Seen> {
    let mut opened = xdp::open_with(&setup.plan(), setup.ring_len).unwrap();
    opened.steering.start().unwrap();
    opened.steering.update(&setup.services).unwrap();
    ready.send(()).unwrap();
    std::thread::scope(|scope| {
        let run = |(ports, infos)| scope.spawn(|| work(ports, infos, setup.to, stop));
        let workers: Vec<_> = opened.workers.into_iter().map(run).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

fn work(mut ports: XdpPorts, infos: Vec<PortInfo>, to: InterfaceIndex, stop: &AtomicBool) -> Seen {
    let mut seen = Seen { infos, received: vec![0; ports.count()], sent: SendOutcome::default() };
    let mut verdicts = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for port in 0..ports.count() {
            let batch = ports.receive(port);
            seen.received[port] += batch.len() as u64;
            bounce(batch, to, &mut verdicts);
            let sent = ports.finish(&verdicts);
            seen.sent.forwarded += sent.forwarded;
            seen.sent.full += sent.full;
            seen.sent.too_long += sent.too_long;
        }
        ports.wait(Duration::from_millis(5), Sleeper::new().unwrap().as_fd()).unwrap();
        let _ = ports.count_frames();
    }
    seen
}
