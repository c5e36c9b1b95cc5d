//! Sync messages that no director has sent: replayed, made up, damaged, and too many. Nothing changes but the counters.

use crate::deployment::{Deployment, VIP};
use crate::director::{Director, Home};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, PATIENCE, Peers};
use crate::support::netns::{Netns, wait_until};
use crate::sync::{FORGER, SECOND, active, config, exchange, sync};
use directrix::flow::ConnState;
use directrix::model::{Role, Timeouts};
use directrix::sync::{SyncEnds, SyncIdFilter, SyncMessage, SyncRecord, SyncWriter};
use directrix::wire::Protocol;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

on_both_backends! {
    hostile_sync_messages_are_refused
    replayed_sync_messages_change_nothing
    a_flood_of_sync_messages_disturbs_no_connection
}

const SYNCID: u8 = 51;
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 81), 8848);
const CONNECTIONS: usize = 20;
/// A client that has no connection.
const CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 9), 1024);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 170);
const HEADER: usize = 8;
/// Messages of a peer that are taken in a second.
const RATE: f64 = 25_000.0;
/// A message without records, which is taken.
const EMPTY: [u8; HEADER] = [0, SYNCID, 0, 8, 0, 1, 0, 0];

/// A master with connections, its one configured peer, and a host that is none.
struct HostileSite {
    deployment: Deployment,
    director: Director,
    connections: Vec<EchoConnection>,
    peer: Sender,
    forger: Sender,
    _peers: Peers,
}

/// A host with a socket that sends to the group.
struct Sender {
    host: Netns,
    socket: UdpSocket,
    address: Ipv4Addr,
}

impl Sender {
    fn plug(deployment: &Deployment, port: &str, address: Ipv4Addr) -> Self {
        let host = deployment.plug(port, address);
        host.run("ip route replace 224.0.0.0/4 dev eth0");
        let socket = host.enter(|| UdpSocket::bind((address, 0))).unwrap();
        socket.connect(GROUP).unwrap();
        Self { host, socket, address }
    }

    fn send(&self, message: &[u8]) {
        self.socket.send(message).unwrap();
    }

    /// Sends a message `times` times, at most 40,000 a second.
    fn flood(&self, message: &[u8], times: usize) {
        for number in 0..times {
            let _ = self.socket.send(message); // it may find no room
            if number % 200 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// A socket that hears the group.
    fn listen(&self) -> UdpSocket {
        let socket = self.host.enter(|| UdpSocket::bind(GROUP)).unwrap();
        socket.join_multicast_v4(&GROUP.0, &self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
        socket
    }
}

impl HostileSite {
    fn start(backend: &str) -> Self {
        let deployment = Deployment::reference();
        let peers = Peers::start(&deployment);
        let peer = Sender::plug(&deployment, "second", SECOND);
        let forger = Sender::plug(&deployment, "forger", FORGER);
        let text = config(&deployment, backend, &sync(&format!("peers = [\"{SECOND}\"]")));
        let director = Director::start_in(Home::new(), &deployment.director, &text);
        director.client().set_role(Role::Master).unwrap();
        Self { deployment, director, connections: Vec::new(), peer, forger, _peers: peers }
    }

    fn open(&mut self) {
        self.connections = (0..CONNECTIONS).map(|_| EchoConnection::open(&self.deployment.client)).collect();
    }

    /// Refusals by reason, of the metrics.
    fn refused(&self) -> BTreeMap<String, u64> {
        let refusals = self.director.client().sync().unwrap().refusals;
        let metric = |reason: &str| format!("directrix_sync_refused_total{{reason=\"{reason}\"}}");
        let counted = |reason: String| (reason.clone(), self.director.metric(&metric(&reason)));
        refusals.into_iter().map(|of| counted(of.reason)).collect()
    }

    fn refusals(&self) -> u64 {
        self.refused().values().sum()
    }

    /// Sends messages from a host; they are refused for these reasons and no others.
    #[track_caller]
    fn refuses(&self, sender: &Sender, messages: &[Vec<u8>], reasons: &[(&str, u64)]) {
        let mut expected = self.refused();
        for (reason, times) in reasons {
            *expected.entry((*reason).to_owned()).or_default() += times;
        }
        messages.iter().for_each(|message| sender.send(message));
        let all: u64 = expected.values().sum();
        wait_until("refusals", PATIENCE, || self.refusals() >= all);
        assert_eq!(self.refused(), expected);
    }

    /// The connections go on, and there is no other one.
    #[track_caller]
    fn assert_untouched(&mut self) {
        exchange(&mut self.connections);
        let listed = self.director.connections("");
        let own = |row: &&String| self.connections.iter().any(|of| row.contains(&local(of).to_string()));
        assert_eq!(listed.iter().filter(own).count(), listed.len(), "{listed:?}");
        assert_eq!((listed.len(), active(&self.director)), (CONNECTIONS, CONNECTIONS));
    }

    /// Resident bytes of the director.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.director.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    }

    /// Messages of the peer that were taken.
    fn taken(&self) -> u64 {
        self.director.client().sync().unwrap().peers.iter().map(|peer| peer.messages).sum()
    }
}

fn local(connection: &EchoConnection) -> SocketAddr {
    connection.stream().local_addr().unwrap()
}

/// A connection as a record names it.
fn record(client: SocketAddr, vip: (Ipv4Addr, u16), server: Ipv4Addr, state: ConnState) -> SyncRecord {
    let ends = SyncEnds::new(client, vip.into(), (server, vip.1).into()).unwrap();
    SyncRecord::connection(Protocol::Tcp, ends, state, &Timeouts::default())
}

fn established(vip: (Ipv4Addr, u16), server: Ipv4Addr) -> SyncRecord {
    record(CLIENT.into(), vip, server, ConnState::Established)
}

fn message(syncid: u8, records: &[SyncRecord]) -> Vec<u8> {
    let mut writer = SyncWriter::new(syncid, 1472);
    assert!(records.iter().all(|record| writer.push(record)));
    writer.bytes().to_vec()
}

/// The first bytes of a message, with their number as its size.
fn shortened(message: &[u8], length: usize) -> Vec<u8> {
    let mut short = message[..length].to_vec();
    short[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    short
}

fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = seed;
    let mut byte = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 32) as u8
    };
    (0..length).map(|_| byte()).collect()
}

fn hostile_sync_messages_are_refused(backend: &str) {
    let mut site = HostileSite::start(backend);
    site.open();
    let (site_vip, sound) = ((VIP, ECHO), message(SYNCID, &[established((VIP, ECHO), SERVER)]));
    let of = |vip, server| message(SYNCID, &[established(vip, server)]);
    let unknown_vip = Ipv4Addr::new(192, 168, 195, 250);
    site.refuses(&site.peer, &[of((VIP, 81), SERVER), of((unknown_vip, ECHO), SERVER)], &[("no_service", 2)]);
    site.refuses(&site.peer, &[of(site_vip, FORGER)], &[("no_server", 1)]);
    site.refuses(&site.peer, &[message(52, &[established(site_vip, SERVER)])], &[("syncid", 1)]);
    let half_open = record(CLIENT.into(), site_vip, SERVER, ConnState::SynRecv);
    site.refuses(&site.peer, &[message(SYNCID, &[half_open])], &[("unconfirmed", 1)]);

    let cut: Vec<_> = (0..sound.len()).map(|length| sound[..length].to_vec()).collect();
    let sizes = cut.len() as u64 - 4;
    site.refuses(&site.peer, &cut, &[("too_short", 4), ("size", sizes)]);
    let cut: Vec<_> = (HEADER..sound.len()).map(|length| shortened(&sound, length)).collect();
    site.refuses(&site.peer, &cut, &[("missing_record", cut.len() as u64)]);

    let random: Vec<_> = (1..=200).map(|seed| random_bytes(seed, 4 + 7 * seed as usize)).collect();
    site.refuses(&site.peer, &random, &[("size", 200)]);
    site.refuses(&site.forger, &random, &[("peer", 200)]);
    site.refuses(&site.forger, &[sound], &[("peer", 1)]);
    random_bodies_are_refused(&site);
    site.assert_untouched();
}

/// Random bytes behind a right header: each message is refused, at its first record or at a later one.
fn random_bodies_are_refused(site: &HostileSite) {
    let before = site.refusals();
    for seed in 1..=200 {
        let mut message = [&EMPTY[..], &random_bytes(seed, 36 + 7 * seed as usize)].concat();
        message[4] = 1 + seed as u8; // records
        let message = shortened(&message, message.len());
        site.peer.send(&message);
    }
    wait_until("refusals of all", PATIENCE, || site.refusals() >= before + 200);
}

fn replayed_sync_messages_change_nothing(backend: &str) {
    let mut site = HostileSite::start(backend);
    let listener = site.peer.listen();
    site.open();
    let mut buffer = [0; 2048];
    let (mut told, mut heard): (_, Vec<Vec<u8>>) = (0, Vec::new());
    while told < CONNECTIONS || heard.len() < 4 {
        let length = listener.recv(&mut buffer).unwrap();
        let parsed = SyncMessage::parse(&buffer[..length], SyncIdFilter::Exactly(SYNCID)).unwrap();
        told += parsed.records().count();
        heard.push(buffer[..length].to_vec());
    }
    let (records, hellos): (Vec<_>, Vec<_>) = heard.into_iter().partition(|message| message[4] > 0);
    site.refuses(&site.peer, &records, &[("older", told as u64)]);
    site.refuses(&site.peer, &hellos, &[("own", hellos.len() as u64)]);
    site.refuses(&site.forger, &records, &[("peer", records.len() as u64)]);

    // Each connection closed, and moved to the other server.
    let closed = |of: &EchoConnection| record(local(of), (VIP, ECHO), SERVER, ConnState::Close);
    let others = [SERVER, Ipv4Addr::new(192, 168, 195, 171)];
    let moved = |of: &EchoConnection| {
        let server = others[usize::from(of.server == "real1")];
        record(local(of), (VIP, ECHO), server, ConnState::Established)
    };
    let lies: Vec<_> = site.connections.iter().flat_map(|of| [closed(of), moved(of)]).collect();
    site.refuses(&site.peer, &[message(SYNCID, &lies)], &[("older", lies.len() as u64)]);
    site.assert_untouched();

    // A connection of the peer itself counts once.
    let foreign = message(SYNCID, &[established((VIP, ECHO), SERVER)]);
    (0..10).for_each(|_| site.peer.send(&foreign));
    wait_until("the peer's", PATIENCE, || active(&site.director) == CONNECTIONS + 1);
    site.refuses(&site.forger, &[foreign], &[("peer", 1)]);
    assert_eq!(site.director.connections("203.0.113.9:1024").len(), 1);
    assert_eq!(active(&site.director), CONNECTIONS + 1);
}

fn a_flood_of_sync_messages_disturbs_no_connection(backend: &str) {
    let mut site = HostileSite::start(backend);
    site.open();
    let foreign: Vec<_> = (0..40).map(|_| established((VIP, 81), SERVER)).collect();
    let (foreign, mut connections) = (message(SYNCID, &foreign), std::mem::take(&mut site.connections));
    site.peer.flood(&foreign, 200);
    site.forger.flood(&foreign, 200);
    let (before, stop) = (site.resident(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let exchanging = scope.spawn(|| {
            let rounds = std::iter::from_fn(|| (!stop.load(Relaxed)).then(|| exchange(&mut connections)));
            rounds.count()
        });
        site.forger.flood(&foreign, 20_000);
        wait_until("refusals of a forger", PATIENCE, || site.refused()["peer"] >= 10_000);
        the_peer_is_held_to_its_rate(&site);
        stop.store(true, Relaxed);
        assert!(exchanging.join().unwrap() > 0);
    });
    let grown = site.resident().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    site.connections = connections;
    site.assert_untouched();
    assert_eq!(site.director.logged("panicked"), 0);
}

/// Floods from the peer's address until messages are refused. A slow host may take all, if they come more slowly than the rate.
fn the_peer_is_held_to_its_rate(site: &HostileSite) {
    let (start, before) = (Instant::now(), site.taken());
    let refused = || site.refused().get("rate").copied().unwrap_or_default();
    for _ in 0..15 {
        for _ in 0..20_000 {
            let _ = site.peer.socket.send(&EMPTY); // it may find no room
        }
        if refused() > 0 {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let (taken, rate) = ((site.taken() - before) as f64, refused());
    let seconds = start.elapsed().as_secs_f64();
    println!("{taken} taken and {rate} refused in {seconds:.1} s");
    assert!(taken <= RATE * (1.0 + seconds), "{taken} in {seconds} s");
    assert!(rate > 0 || taken < RATE * seconds, "{taken} in {seconds} s, and none refused");
}
