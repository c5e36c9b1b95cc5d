//! The AF_PACKET backend on veth pairs, between kernels as peers.
//!
//! ```text
//! client ──┐                       client ── director ── server
//! director ─┤ switch (bridge)           (two interfaces)
//! server ──┘
//! ```

mod support;

use directrix::forward::{Batch, Verdict};
use directrix::io::{Interface, Levels, Lost, PortPlan, Ports, SendOutcome, Steering, packet};
use directrix::model::{InterfaceIndex, ServiceAddress};
use directrix::stats::DropReason;
use directrix::sys::Sleeper;
use directrix::wire::{MacAddr, Packet, Protocol, ethernet};
use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::frames;
use support::netns::{Netns, Process, veth, wait_until};
use support::wire::Wire;

const SOON: Duration = Duration::from_secs(20);
const CLIENT: &str = "10.9.0.1";
const DIRECTOR: &str = "10.9.0.2";
const SERVER: &str = "10.9.0.3";
const VIP: &str = "10.9.0.100";

/// Three hosts on one switch. The client sends the VIP's frames to the director; the server has
/// the VIP on its loopback.
struct Segment {
    client: Netns,
    director: Netns,
    server: Netns,
    _switch: Netns,
}

impl Segment {
    fn new() -> Self {
        let switch = Netns::new("sw");
        switch.run("ip link add br0 type bridge && ip link set br0 up");
        let host = |label: &str, address: &str| {
            let host = Netns::new(label);
            veth((&switch, label), (&host, "eth0"), 1);
            switch.run(&format!("ip link set {label} master br0"));
            host.run(&format!("ip address add {address}/24 dev eth0"));
            host
        };
        let (client, director) = (host("cl", CLIENT), host("di", DIRECTOR));
        let segment = Self { client, director, server: host("rs", SERVER), _switch: switch };
        segment.server.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.rp_filter=0");
        segment.server.run(&format!("ip address add {VIP}/32 dev lo"));
        let vip_at = mac(&segment.director, "eth0");
        segment.client.run(&format!("ip neighbour replace {VIP} lladdr {vip_at} dev eth0"));
        segment
    }

    /// Lets merged segments and unfinished checksums pass, as veth does by itself.
    fn offload(&self) {
        for host in [&self.client, &self.director, &self.server] {
            host.run("ethtool -K eth0 tx on gso on tso on gro on");
        }
        self._switch.run("for i in cl di rs; do ethtool -K $i tx on gso on tso on gro on; done");
    }

    fn direct(&self, services: &[ServiceAddress]) -> Director {
        Director::start(&self.director, &["eth0"], 1, services, mac(&self.server, "eth0"))
    }
}

fn mac(host: &Netns, name: &str) -> MacAddr {
    host.run(&format!("cat /sys/class/net/{name}/address")).trim().parse().expect("sysfs shows an address")
}

fn udp(port: u16) -> ServiceAddress {
    service(Protocol::Udp, port)
}

fn service(protocol: Protocol, port: u16) -> ServiceAddress {
    ServiceAddress { protocol, address: SocketAddr::from((VIP.parse::<Ipv4Addr>().unwrap(), port)) }
}

/// Frames received by one worker, and their transmit result.
#[derive(Default)]
struct Seen {
    frames: Vec<Vec<u8>>,
    sent: SendOutcome,
}

/// Workers that send every frame to one server by the last interface.
struct Director {
    steering: Box<dyn Steering>,
    workers: Vec<JoinHandle<Seen>>,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicUsize>,
}

impl Director {
    fn start(
        host: &Netns,
        interfaces: &[&str],
        workers: usize,
        services: &[ServiceAddress],
        server: MacAddr,
    ) -> Self {
        let interface = InterfaceIndex((interfaces.len() - 1) as u8);
        let source = mac(host, interfaces[interfaces.len() - 1]);
        let fate = move |frame: &mut [u8]| {
            assert!(ethernet::Addresses::new(server, source).write(frame));
            Verdict::Forward(interface)
        };
        Self::with(host, interfaces, workers, services, fate)
    }

    /// Receives without sending anything on.
    fn tap(host: &Netns, services: &[ServiceAddress]) -> Self {
        Self::with(host, &["eth0"], 1, services, |_| Verdict::Drop(DropReason::NoServer))
    }

    fn with(
        host: &Netns,
        interfaces: &[&str],
        workers: usize,
        services: &[ServiceAddress],
        fate: impl Fn(&mut [u8]) -> Verdict + Send + Copy + 'static,
    ) -> Self {
        let opened = host.enter(|| {
            let interfaces = interfaces.iter().map(|name| Interface::lookup(name).unwrap()).collect();
            let mut opened =
                packet::open(&PortPlan { interfaces, workers: Some(workers), huge_pages: false }).unwrap();
            opened.steering.start().unwrap();
            opened.steering.update(services).unwrap();
            opened
        });
        let (stop, received) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let run = |(ports, _)| {
            let (stop, received) = (Arc::clone(&stop), Arc::clone(&received));
            std::thread::spawn(move || work(ports, &stop, &received, fate))
        };
        let workers = opened.workers.into_iter().map(run).collect();
        Self { steering: opened.steering, workers, stop, received }
    }

    fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// Ends the workers; what each has seen.
    fn finish(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        self.workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    }

    fn finish_one(self) -> Seen {
        let mut seen = self.finish();
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }
}

fn work(
    mut ports: impl Ports,
    stop: &AtomicBool,
    received: &AtomicUsize,
    fate: impl Fn(&mut [u8]) -> Verdict,
) -> Seen {
    let (mut seen, mut verdicts) = (Seen::default(), Vec::new());
    while !stop.load(Ordering::SeqCst) {
        let batch = ports.receive(0);
        for index in 0..batch.len() {
            seen.frames.push(batch.frame(index).to_vec());
            verdicts.push(fate(batch.frame(index)));
        }
        if verdicts.is_empty() {
            ports.wait(Duration::from_millis(20), Sleeper::new().unwrap().as_fd()).unwrap();
            continue;
        }
        let sent = ports.finish(&verdicts);
        let forwards = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Forward(_))).count();
        assert_eq!((sent.forwarded + sent.full + sent.too_long) as usize, forwards, "{sent:?}");
        seen.sent.forwarded += sent.forwarded;
        seen.sent.full += sent.full;
        seen.sent.too_long += sent.too_long;
        received.fetch_add(verdicts.len(), Ordering::SeqCst);
        verdicts.clear();
    }
    seen
}

/// A socket of `host` that gives up after a while.
fn socket(host: &Netns, address: &str) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind(address).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// Whether a datagram is there within `patience`.
fn receives(socket: &UdpSocket, patience: Duration) -> bool {
    socket.set_read_timeout(Some(patience)).unwrap();
    match socket.recv(&mut [0; 2048]) {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_frame_arrives_once_and_unchanged() {
    const FRAMES: usize = 30_000; // more than seven times round the ring
    let segment = Segment::new();
    let server = Director::tap(&segment.server, &[udp(53)]);
    let director = segment.direct(&[udp(53)]);
    let client = socket(&segment.client, &format!("{CLIENT}:4000"));
    for n in 0..FRAMES {
        let payload: Vec<u8> = n.to_be_bytes().into_iter().cycle().take(8 + n * 37 % 1465).collect();
        client.send_to(&payload, (VIP, 53)).unwrap();
        if n % 500 == 499 {
            wait_until("the server has the frames so far", SOON, || server.received() > n);
        }
    }
    let (director, server) = (director.finish_one(), server.finish_one());
    assert_eq!(director.sent, SendOutcome { forwarded: FRAMES as u32, full: 0, too_long: 0 });
    assert_eq!((director.frames.len(), server.frames.len()), (FRAMES, FRAMES));
    let addresses: Vec<u8> = [mac(&segment.server, "eth0").0, mac(&segment.director, "eth0").0].concat();
    for (received, forwarded) in director.frames.iter().zip(&server.frames) {
        assert_eq!(forwarded[..12], addresses);
        assert_eq!(received[12..], forwarded[12..]);
    }
}

#[test]
fn the_rest_reaches_the_kernel_and_services_do_not() {
    let segment = Segment::new();
    segment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let director = segment.direct(&[udp(53), service(Protocol::Tcp, 80)]);
    segment.client.run(&format!("ping -c 2 -i 0.1 -W 2 {DIRECTOR}"));
    segment.client.run(&format!("ping -c 2 -i 0.1 -W 2 {VIP}"));
    let own = segment.director.enter(|| TcpListener::bind((DIRECTOR, 80)).unwrap());
    segment.client.enter(|| TcpStream::connect((DIRECTOR, 80)).unwrap());
    own.accept().unwrap();
    let other_port = socket(&segment.director, &format!("{VIP}:54"));
    let other_protocol = segment.director.enter(|| TcpListener::bind((VIP, 53)).unwrap());
    let served = socket(&segment.director, &format!("{VIP}:53"));
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    client.send_to(b"kernel's", (VIP, 54)).unwrap();
    client.send_to(b"ours", (VIP, 53)).unwrap();
    segment.client.enter(|| TcpStream::connect((VIP, 53)).unwrap());
    other_protocol.accept().unwrap();
    assert!(receives(&other_port, SOON), "a port that is not a service is the kernel's");
    assert!(!receives(&served, Duration::from_millis(300)), "a service's frame is not");
    let seen = director.finish_one();
    assert_eq!(seen.frames.len(), 1);
    assert!(seen.frames[0].ends_with(b"ours"));
}

#[test]
fn a_wildcard_service_leaves_other_protocols_to_the_kernel() {
    let segment = Segment::new();
    segment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let director = segment.direct(&[udp(0), udp(53)]);
    segment.client.run(&format!("ping -c 2 -i 0.1 -W 2 {VIP}"));
    let own = socket(&segment.director, &format!("{DIRECTOR}:54"));
    let other_protocol = segment.director.enter(|| TcpListener::bind((VIP, 53)).unwrap());
    let served = [53, 54].map(|port| socket(&segment.director, &format!("{VIP}:{port}")));
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    client.send_to(b"kernel's", (DIRECTOR, 54)).unwrap();
    for port in [1, 53, 54, 65535] {
        client.send_to(b"ours", (VIP, port)).unwrap();
    }
    segment.client.enter(|| TcpStream::connect((VIP, 53)).unwrap());
    other_protocol.accept().unwrap();
    assert!(receives(&own, SOON), "another address is the kernel's");
    let received = served.each_ref().map(|socket| receives(socket, Duration::from_millis(300)));
    assert_eq!(received, [false; 2], "the service's frames are not");
    let seen = director.finish_one();
    assert_eq!(seen.frames.len(), 4);
    assert!(seen.frames.iter().all(|frame| frame.ends_with(b"ours")));
}

#[test]
fn services_come_and_go() {
    let segment = Segment::new();
    segment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let mut director = segment.direct(&[]);
    let kernel: Vec<_> = (0..3).map(|n| socket(&segment.director, &format!("{VIP}:{}", 50 + n))).collect();
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    let mut expected = 0;
    for services in [vec![], vec![50], vec![50, 51], vec![51, 52], vec![]] {
        let addresses: Vec<_> = services.iter().copied().map(udp).collect();
        segment.director.enter(|| director.steering.update(&addresses).unwrap());
        for port in 50..53 {
            client.send_to(b"whose?", (VIP, port)).unwrap();
        }
        expected += services.len();
        wait_until("the filter passes the service", SOON, || director.received() == expected);
        for port in 50..53 {
            let received = receives(&kernel[usize::from(port - 50)], Duration::from_millis(200));
            assert_eq!(received, !services.contains(&port), "{port} of {services:?}");
        }
    }
    director.steering.stop();
    assert_eq!(director.finish_one().frames.len(), expected);
}

#[test]
fn a_routing_kernel_neither_doubles_nor_answers() {
    const DATAGRAMS: usize = 200;
    let segment = Segment::new();
    segment.director.run("sysctl -qw net.ipv4.ip_forward=1");
    let server_mac = mac(&segment.server, "eth0");
    segment.director.run(&format!("ip neighbour replace {VIP} lladdr {server_mac} dev eth0"));
    let server = socket(&segment.server, &format!("{VIP}:53"));
    let director = segment.direct(&[udp(53)]);
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    client.connect((VIP, 53)).unwrap(); // so that ICMP errors would be reported
    (0..DATAGRAMS).for_each(|_| assert_eq!(client.send(b"once").unwrap(), 4));
    (0..DATAGRAMS).for_each(|n| assert!(receives(&server, SOON), "datagram {n}"));
    assert!(!receives(&server, Duration::from_millis(300)), "the kernel forwarded a copy");
    client.send(b"still no error").unwrap();
    assert_eq!(director.finish_one().sent.full, 0);
    let icmp = segment.director.run("awk '/^Icmp:/ {n = $15} END {print n}' /proc/net/snmp");
    assert_eq!(icmp.trim(), "0", "ICMP messages sent");
}

/// Echoes the sum of what it reads, then sends `download` bytes.
fn serve(listener: &TcpListener, download: usize) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut upload = Vec::new();
    stream.read_to_end(&mut upload).unwrap();
    stream.write_all(&sum(&upload).to_be_bytes()).unwrap();
    stream.write_all(&pattern(download)).unwrap();
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(17, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// A transfer both ways through the VIP; the director's view of it.
fn transfer(segment: &Segment, bytes: usize) -> Seen {
    let director = segment.direct(&[service(Protocol::Tcp, 80)]);
    let listener = segment.server.enter(|| TcpListener::bind((VIP, 80)).unwrap());
    let server = std::thread::spawn(move || serve(&listener, bytes));
    let mut client = segment.client.enter(|| TcpStream::connect((VIP, 80)).unwrap());
    client.set_read_timeout(Some(SOON)).unwrap();
    client.set_write_timeout(Some(SOON)).unwrap();
    let start = Instant::now();
    for part in pattern(bytes).chunks(100_000) {
        client.write_all(part).unwrap();
        assert!(start.elapsed() < SOON, "the upload crawls: merged frames get lost");
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    server.join().unwrap();
    assert_eq!(answer[..8], sum(&pattern(bytes)).to_be_bytes(), "the upload arrived unchanged");
    assert_eq!(sum(&answer[8..]), sum(&pattern(bytes)), "the download arrived unchanged");
    director.finish_one()
}

fn longest(seen: &Seen) -> usize {
    seen.frames.iter().map(Vec::len).max().unwrap_or(0)
}

#[test]
fn merged_frames_and_unfinished_checksums_pass() {
    let segment = Segment::new();
    segment.offload();
    let seen = transfer(&segment, 30_000_000);
    assert!(longest(&seen) > 20_000, "no merged frame came: {}", longest(&seen));
    assert_eq!((seen.sent.too_long, seen.sent.full), (0, 0));
}

/// An SCTP packet whose checksum the sender leaves to its network card, behind the virtio header for that; and the same
/// frame with the checksum.
fn offloaded(hosts: [MacAddr; 2], chunk_len: u16) -> (Vec<u8>, Vec<u8>) {
    let packet = frames::sctp_packet((4000, 3868), &[(1, chunk_len)]);
    let addresses = [CLIENT, VIP].map(|address| address.parse::<Ipv4Addr>().unwrap());
    let mut frame = frames::ipv4(addresses[0], addresses[1], 132, &packet, |_| ());
    frame[..12].copy_from_slice(&hosts.map(|mac| mac.0).concat());
    let mut unfinished = frame.clone();
    unfinished[42..46].fill(0);
    const NEEDS_CSUM: [u8; 6] = [1, 0, 0, 0, 0, 0];
    let header = [&NEEDS_CSUM[..], &34u16.to_ne_bytes(), &8u16.to_ne_bytes()].concat();
    ([header, unfinished].concat(), frame)
}

/// The kernel's own completion writes a sum of 16 bits, as for TCP.
#[test]
fn an_offloaded_sctp_checksum_is_computed() {
    let (client, host, server) = two_arms();
    for (at, name) in [(&client, "eth0"), (&host, "eth0"), (&server, "eth0")] {
        at.run(&format!("ethtool -K {name} tx on"));
    }
    for completes in ["on", "off"] {
        host.run(&format!("ethtool -K eth1 tx {completes}"));
        let services = [service(Protocol::Sctp, 3868)];
        let director = Director::start(&host, &["eth0", "eth1"], 1, &services, mac(&server, "eth0"));
        let open = |host: &Netns| host.enter(|| Wire::new(Interface::lookup("eth0").unwrap().index));
        let (sender, receiver) = (open(&client), open(&server));
        sender.expect_virtio_headers();
        for chunk_len in [4, 20, 21, 1400] {
            let (packet, mut expected) = offloaded([mac(&host, "eth0"), mac(&client, "eth0")], chunk_len);
            sender.send(&packet);
            expected[..6].copy_from_slice(&mac(&server, "eth0").0);
            expected[6..12].copy_from_slice(&mac(&host, "eth1").0);
            wait_until("the packet at the server", SOON, || {
                let arrived = receiver.receive(SOON).expect("it arrives");
                assert!(
                    arrived[23] != 132 || arrived == expected,
                    "{arrived:02x?} instead of {expected:02x?}"
                );
                arrived == expected
            });
        }
        assert_eq!(director.finish_one().sent.forwarded, 4);
    }
}

#[test]
fn merged_frames_pass_a_device_that_cannot_cut_them_up() {
    let segment = Segment::new();
    segment.offload();
    segment.director.run("ethtool -K eth0 tx off tso off gso off");
    let seen = transfer(&segment, 10_000_000);
    assert!(longest(&seen) > 20_000, "no merged frame came: {}", longest(&seen));
    assert_eq!((seen.sent.too_long, seen.sent.full), (0, 0));
}

#[test]
fn plain_segments_pass() {
    let seen = transfer(&Segment::new(), 10_000_000);
    assert_eq!(longest(&seen), 1514);
    assert_eq!((seen.sent.too_long, seen.sent.full), (0, 0));
}

#[test]
fn a_flow_stays_on_one_worker() {
    let segment = Segment::new();
    let mac = mac(&segment.server, "eth0");
    let director = Director::start(&segment.director, &["eth0"], 2, &[udp(53)], mac);
    let clients: Vec<_> = (0..64).map(|_| socket(&segment.client, &format!("{CLIENT}:0"))).collect();
    for _ in 0..10 {
        clients.iter().for_each(|client| assert_eq!(client.send_to(b"hello", (VIP, 53)).unwrap(), 5));
    }
    wait_until("all frames are here", SOON, || director.received() == 640);
    let seen = director.finish();
    let flows = |seen: &Seen| -> HashMap<u16, usize> {
        let mut flows = HashMap::new();
        for frame in &seen.frames {
            let Ok(Packet::V4(packet)) = Packet::parse(frame) else { panic!("not IPv4: {frame:02x?}") };
            *flows.entry(packet.ports.source).or_default() += 1;
        }
        flows
    };
    let [first, second] = [flows(&seen[0]), flows(&seen[1])];
    assert!(first.len() > 8 && second.len() > 8, "{} and {} flows", first.len(), second.len());
    assert_eq!(first.len() + second.len(), 64);
    assert!(first.values().chain(second.values()).all(|frames| *frames == 10));
    let both: HashSet<_> = first.keys().filter(|flow| second.contains_key(flow)).collect();
    assert!(both.is_empty(), "{both:?}");
}

/// client ── eth0 director eth1 ── server
fn two_arms() -> (Netns, Netns, Netns) {
    let (client, director, server) = (Netns::new("cl"), Netns::new("di"), Netns::new("rs"));
    veth((&client, "eth0"), (&director, "eth0"), 1);
    veth((&director, "eth1"), (&server, "eth0"), 1);
    client.run(&format!("ip address add {CLIENT}/24 dev eth0"));
    server.run(&format!("ip address add {VIP}/32 dev lo"));
    server.run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
    let vip_at = mac(&director, "eth0");
    client.run(&format!("ip neighbour replace {VIP} lladdr {vip_at} dev eth0"));
    (client, director, server)
}

#[test]
fn frames_are_forwarded_between_interfaces() {
    let (client, host, server) = two_arms();
    let listener = socket(&server, &format!("{VIP}:53"));
    let director = Director::start(&host, &["eth0", "eth1"], 1, &[udp(53)], mac(&server, "eth0"));
    let client = socket(&client, &format!("{CLIENT}:0"));
    (0..100).for_each(|_| assert_eq!(client.send_to(b"across", (VIP, 53)).unwrap(), 6));
    (0..100).for_each(|n| assert!(receives(&listener, SOON), "datagram {n}"));
    assert!(!receives(&listener, Duration::from_millis(100)));
    assert_eq!(director.finish_one().sent, SendOutcome { forwarded: 100, full: 0, too_long: 0 });
}

#[test]
fn unsent_frames_are_counted() {
    let (client, host, server) = two_arms();
    let listener = socket(&server, &format!("{VIP}:53"));
    let director = Director::start(&host, &["eth0", "eth1"], 1, &[udp(53)], mac(&server, "eth0"));
    let sender = socket(&client, &format!("{CLIENT}:0"));
    let (sent, arrived) =
        (AtomicUsize::new(0), |n| wait_until("frames came", SOON, || director.received() == n));
    let send = |payload: &[u8]| {
        sender.send_to(payload, (VIP, 53)).unwrap();
        arrived(sent.fetch_add(1, Ordering::SeqCst) + 1);
    };
    server.run("ip link set dev eth0 down"); // no carrier: the device's queue takes nothing
    (0..100).for_each(|_| send(b"lost"));
    host.run("ip link set dev eth1 down"); // ENETDOWN
    (0..10).for_each(|_| send(b"lost too"));
    host.run("ip link set dev eth1 up mtu 1000");
    server.run("ip link set dev eth0 up");
    wait_until("the carrier is back", SOON, || host.run("cat /sys/class/net/eth1/operstate").trim() == "up");
    send(&[0; 1400]);
    send(b"here again"); // the socket may report once that the device was down
    send(b"and again");
    assert!(receives(&listener, SOON));
    let seen = director.finish_one();
    assert_eq!(seen.sent.too_long, 1, "{:?}", seen.sent);
    assert!((110..=111).contains(&seen.sent.full), "{:?}", seen.sent);
    assert_eq!(seen.sent.forwarded + seen.sent.full + seen.sent.too_long, 113);
}

#[test]
fn a_worker_outlives_its_interface_going_down() {
    let segment = Segment::new();
    let director = segment.direct(&[udp(53)]);
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    client.send_to(b"before", (VIP, 53)).unwrap();
    wait_until("the first is here", SOON, || director.received() == 1);
    segment.director.run("ip link set dev eth0 down");
    std::thread::sleep(Duration::from_millis(100));
    segment.director.run("ip link set dev eth0 up");
    wait_until("frames flow again", SOON, || {
        client.send_to(b"after", (VIP, 53)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        director.received() > 1
    });
    segment.director.run("ip link delete dev eth0");
    std::thread::sleep(Duration::from_millis(100));
    assert!(director.finish_one().sent.forwarded >= 1);
}

#[test]
fn dropping_it_gives_the_frames_back_to_the_kernel() {
    let segment = Segment::new();
    segment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let kernel = socket(&segment.director, &format!("{VIP}:53"));
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    let director = segment.direct(&[udp(53)]);
    client.send_to(b"ours", (VIP, 53)).unwrap();
    assert!(!receives(&kernel, Duration::from_millis(200)));
    assert_eq!(director.finish_one().frames.len(), 1);
    client.send_to(b"the kernel's", (VIP, 53)).unwrap();
    assert!(receives(&kernel, SOON));
    assert_eq!(segment.director.run("cat /proc/net/packet").lines().count(), 1, "only the heading");
}

#[test]
fn a_killed_director_leaves_nothing_behind() {
    const IN_CHILD: &str = "DIRECTRIX_TEST_CHILD";
    if std::env::var_os(IN_CHILD).is_some() {
        let interfaces = vec![Interface::lookup("eth0").unwrap()];
        let mut opened = packet::open(&PortPlan { interfaces, workers: Some(2), huge_pages: false }).unwrap();
        opened.steering.start().unwrap();
        opened.steering.update(&[udp(53)]).unwrap();
        std::thread::sleep(Duration::from_secs(120)); // killed long before
        return;
    }
    let segment = Segment::new();
    segment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let kernel = socket(&segment.director, &format!("{VIP}:53"));
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    let this = std::env::current_exe().unwrap();
    let itself = format!("exec {} --exact a_killed_director_leaves_nothing_behind", this.display());
    let child = segment.director.command(&itself).env(IN_CHILD, "1").spawn().unwrap();
    let child = Process(child);
    wait_until("the child has taken over", SOON, || {
        client.send_to(b"whose?", (VIP, 53)).unwrap();
        !receives(&kernel, Duration::from_millis(100))
    });
    drop(child); // SIGKILL
    wait_until("the kernel has it again", SOON, || {
        client.send_to(b"whose?", (VIP, 53)).unwrap();
        receives(&kernel, Duration::from_millis(100))
    });
    assert_eq!(segment.director.run("cat /proc/net/packet").lines().count(), 1, "only the heading");
}

/// The sequence numbers of the next batches' datagrams, until nothing is there; all are dropped.
fn read_all(ports: &mut impl Ports) -> Vec<u32> {
    let mut numbers = Vec::new();
    loop {
        let batch = ports.receive(0);
        let count = batch.len();
        if count == 0 {
            return numbers;
        }
        let number = |frame: &mut [u8]| u32::from_be_bytes(*frame.last_chunk().unwrap());
        numbers.extend((0..count).map(|index| number(&mut batch.frame(index)[..60])));
        ports.finish(&vec![Verdict::Drop(DropReason::NoServer); count]);
    }
}

#[test]
fn a_full_ring_loses_what_came_last_and_nothing_else() {
    let segment = Segment::new();
    let (mut ports, _steering) = segment.director.enter(|| {
        let interfaces = vec![Interface::lookup("eth0").unwrap()];
        let mut opened = packet::open(&PortPlan { interfaces, workers: Some(1), huge_pages: false }).unwrap();
        opened.steering.start().unwrap();
        opened.steering.update(&[udp(53)]).unwrap();
        (opened.workers.remove(0).0, opened.steering)
    });
    let client = socket(&segment.client, &format!("{CLIENT}:0"));
    let send = |number: u32| {
        let payload = [[0; 14].as_slice(), &number.to_be_bytes()].concat(); // a frame of 60 bytes
        client.send_to(&payload, (VIP, 53)).unwrap();
    };
    let slots = ports.levels(0).fill;
    assert_eq!(ports.levels(0), Levels { receive: 0, transmit: 0, fill: slots });
    for round in 0..3 {
        (0..slots + 500).for_each(send);
        wait_until("the ring is full", SOON, || ports.levels(0).receive == slots);
        assert_eq!(ports.levels(0).fill, 0);
        let mut lost = 0;
        wait_until("each lost frame is reported", SOON, || {
            lost += ports.lost(0).ring_full;
            lost >= 500
        });
        assert_eq!((lost, ports.lost(0)), (500, Lost::default()), "once");
        assert_eq!(read_all(&mut ports), (0..slots).collect::<Vec<_>>(), "round {round}");
        (7..17).for_each(send);
        wait_until("ten frames wait", SOON, || ports.levels(0).receive == 10);
        ports.wait(SOON, Sleeper::new().unwrap().as_fd()).unwrap();
        assert_eq!(ports.levels(0), Levels { receive: 10, transmit: 0, fill: slots - 10 });
        assert_eq!(read_all(&mut ports), (7..17).collect::<Vec<_>>());
    }
}

#[test]
fn a_missing_interface_and_too_many_workers_are_refused() {
    let host = Netns::new("di");
    let lo = host.enter(|| {
        host.run("ip link add eth0 type veth peer name eth1 && ip link set eth0 up");
        Interface::lookup("eth0").unwrap()
    });
    let refusal = |interface: &Interface, workers| {
        let plan =
            PortPlan { interfaces: vec![interface.clone()], workers: Some(workers), huge_pages: false };
        host.enter(|| packet::open(&plan).err().unwrap().to_string())
    };
    let many = refusal(&lo, 257);
    assert!(many.contains("257 workers") && many.contains("at most 256"), "{many}");
    host.run("ip link delete eth0");
    let text = refusal(&lo, 1);
    assert!(text.contains("eth0") && text.contains("ENODEV") && text.contains("ip link"), "{text}");
}
