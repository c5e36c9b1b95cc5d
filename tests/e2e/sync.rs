//! Two directors that tell each other their connections: one is killed, the other goes on with every connection.

use crate::deployment::Deployment;
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{EchoConnection, PATIENCE, Peers};
use crate::support::netns::{Netns, wait_until};
use directrix::flow::ConnState;
use directrix::model::{Role, Timeouts};
use directrix::sync::{SyncEnds, SyncRecord, SyncWriter};
use directrix::wire::Protocol;
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

on_both_backends! {
    no_connection_is_lost_with_a_killed_director
    a_director_that_starts_late_gets_all_connections
    forged_messages_change_nothing
    daemons_are_started_and_stopped_at_run_time
}

pub(crate) const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 148);
pub(crate) const FORGER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 66);
const CONNECTIONS: usize = 60;
/// Of the echo service.
const SERVICE: &str = "-t 192.168.195.150:7";

const ROLE: &str = "[ha]\nrole = \"command\"\n";

pub(crate) fn sync(rest: &str) -> String {
    format!("[sync]\ninterface = \"eth0\"\nsyncid = 51\nhello = 1\n{rest}\n")
}

pub(crate) fn config(deployment: &Deployment, backend: &str, tables: &str) -> String {
    Config { tables: format!("{ROLE}{tables}"), ..Config::new(backend) }.text(deployment)
}

pub(crate) fn active(director: &Director) -> usize {
    director.load(SERVICE).iter().map(|(active, _)| active).sum()
}

fn inactive(director: &Director) -> usize {
    director.load(SERVICE).iter().map(|(_, inactive)| inactive).sum()
}

#[track_caller]
fn wait_for(what: &str, director: &Director, connections: usize) {
    wait_until(what, PATIENCE, || active(director) == connections);
}

/// The first director is master.
struct Pair {
    deployment: Deployment,
    second_host: Netns,
    text: String,
    first: Director,
    second: Director,
    _peers: Peers,
}

impl Pair {
    fn start(backend: &str, tables: &str) -> Self {
        let deployment = Deployment::reference();
        let peers = Peers::start(&deployment);
        let second_host = deployment.plug("second", SECOND);
        let text = config(&deployment, backend, tables);
        let first = Director::start_in(Home::new(), &deployment.director, &text);
        let second = Director::start_in(Home::new(), &second_host, &text);
        first.client().set_role(Role::Master).unwrap();
        Self { deployment, second_host, text, first, second, _peers: peers }
    }

    fn open(&self) -> Vec<EchoConnection> {
        (0..CONNECTIONS).map(|_| EchoConnection::open(&self.deployment.client)).collect()
    }
}

#[track_caller]
pub(crate) fn exchange(connections: &mut [EchoConnection]) {
    connections.iter_mut().for_each(|connection| connection.exchange("data"));
}

fn no_connection_is_lost_with_a_killed_director(backend: &str) {
    let pair = Pair::start(backend, &sync(""));
    let mut connections = pair.open();
    connections.drain(..10).for_each(drop);
    wait_for("the second has all", &pair.second, CONNECTIONS - 10);
    wait_until("and knows which are closed", PATIENCE, || inactive(&pair.second) == 10);
    let Pair { deployment, second_host, text, first, second, _peers } = pair;
    let (_, _home) = first.end(Signal::SIGKILL);
    second.client().set_role(Role::Master).unwrap();
    exchange(&mut connections);
    assert_eq!(active(&second), CONNECTIONS - 10, "each counts once");

    // A reboot of the first: its tables are empty, and come from the second.
    let first = Director::start_in(Home::new(), &deployment.director, &text);
    wait_for("the first has all", &first, CONNECTIONS - 10);
    connections.extend((0..10).map(|_| EchoConnection::open(&deployment.client)));
    wait_for("and those that were opened since", &first, CONNECTIONS);
    let (_, _home) = second.end(Signal::SIGKILL);
    first.client().set_role(Role::Master).unwrap();
    exchange(&mut connections);
    drop(second_host);
}

fn a_director_that_starts_late_gets_all_connections(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let second_host = deployment.plug("second", SECOND);
    let unicast = |peer: Ipv4Addr| {
        config(&deployment, backend, &sync(&format!("peers = [\"{peer}\"]\nunicast = true")))
    };
    let first = Director::start_in(Home::new(), &deployment.director, &unicast(SECOND));
    first.client().set_role(Role::Master).unwrap();
    let mut connections: Vec<_> =
        (0..CONNECTIONS).map(|_| EchoConnection::open(&deployment.client)).collect();
    std::thread::sleep(Duration::from_secs(1)); // no other director was there to hear of them
    let (home, text) = (Home::new(), unicast(crate::deployment::DIP));
    let ready = home.path().join("ready");
    let text = text.replace(ROLE, &format!("{ROLE}ready_file = \"{}\"\n", ready.display()));
    let second = Director::start_in(home, &second_host, &text);
    wait_until("ready for traffic", PATIENCE, || std::fs::read_to_string(&ready).unwrap().trim() == "0");
    assert_eq!(active(&second), CONNECTIONS, "all came by a resync before");
    let (_, _home) = first.end(Signal::SIGTERM);
    second.client().set_role(Role::Master).unwrap();
    exchange(&mut connections);
}

/// A message that opens `count` connections of the echo service.
fn message(syncid: u8, count: u16) -> Vec<u8> {
    let mut writer = SyncWriter::new(syncid, 1472);
    for port in 0..count {
        let client = (Ipv4Addr::new(203, 0, 113, 9), 1024 + port).into();
        let vip = (Ipv4Addr::new(192, 168, 195, 150), 7).into();
        let ends = SyncEnds::new(client, vip, (Ipv4Addr::new(192, 168, 195, 170), 7).into()).unwrap();
        let record =
            SyncRecord::connection(Protocol::Tcp, ends, ConnState::Established, &Timeouts::default());
        assert!(writer.push(&record));
    }
    writer.bytes().to_vec()
}

fn send(host: &Netns, message: &[u8]) {
    let from = if host.run("ip -4 -o address show dev eth0").contains("195.66") { FORGER } else { SECOND };
    let socket = host.enter(|| UdpSocket::bind((from, 0))).unwrap();
    // The route to the group is that of the interface.
    host.run("ip route replace 224.0.0.0/4 dev eth0");
    socket.send_to(message, (Ipv4Addr::new(224, 0, 0, 81), 8848)).unwrap();
}

fn forged_messages_change_nothing(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let (second_host, forger) = (deployment.plug("second", SECOND), deployment.plug("forger", FORGER));
    let text = config(&deployment, backend, &sync(&format!("peers = [\"{SECOND}\"]")));
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    director.client().set_role(Role::Master).unwrap();
    let mut connections: Vec<_> = (0..10).map(|_| EchoConnection::open(&deployment.client)).collect();
    send(&forger, &message(51, 10));
    send(&second_host, &message(52, 10));
    send(&second_host, b"none of the messages");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(active(&director), 10);
    let refused =
        |reason: &str| director.metric(&format!("directrix_sync_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((refused("peer"), refused("syncid"), refused("size")), (1, 1, 1));
    let status = director.client().sync().unwrap();
    assert_eq!(
        status.peers.iter().map(|peer| (peer.address, peer.records)).collect::<Vec<_>>(),
        [(SECOND.into(), 0)]
    );
    assert!(
        director.cli("sync status").contains("refused 1: peer: The sender is none of the configured peers.")
    );
    send(&second_host, &message(51, 5));
    wait_for("those of the peer", &director, 15);
    exchange(&mut connections);
}

fn daemons_are_started_and_stopped_at_run_time(backend: &str) {
    let pair = Pair::start(backend, "");
    let Pair { first, second, .. } = &pair;
    assert_eq!(first.cli("ipvsadm -L --daemon"), "");
    let fails = |words: &str| {
        let (status, _, error) = first.cli_as("--reuid=0", &format!("ipvsadm {words}"));
        (status, error)
    };
    let no_daemon = (Some(255), "No daemon is running\n".to_owned());
    assert_eq!(fails("--stop-daemon master"), no_daemon);
    for (interface, error) in [("nosuch", "No such device\n"), ("lo0:1", "No such device\n")] {
        let start = format!("--start-daemon backup --mcast-interface {interface}");
        assert_eq!(fails(&start), (Some(255), error.to_owned()));
    }
    for director in [first, second] {
        for daemon in ["master", "backup"] {
            assert_eq!(director.cli(&format!("ipvsadm --start-daemon {daemon} --syncid 7")), "");
        }
    }
    assert_eq!(fails("--start-daemon master"), (Some(255), "Daemon has already run\n".to_owned()));
    assert_eq!(
        first.cli("ipvsadm -L --daemon"),
        "master sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n\
         backup sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n"
    );
    let mut connections = pair.open();
    wait_for("the second has all", second, CONNECTIONS);
    assert_eq!(second.connections("ESTABLISHED").len(), CONNECTIONS, "ipvsadm -Lnc lists those of the other");
    wait_until("both have heard each other", PATIENCE, || {
        [first, second].iter().all(|director| {
            let status = director.client().sync().unwrap();
            status.peers.iter().any(|peer| peer.hello.as_ref().is_some_and(|of| of.difference == Some(0)))
        })
    });
    assert!(first.cli("sync status").contains("peer 192.168.195.148 (directrix): heard 0."));
    assert_eq!(first.cli("ipvsadm --stop-daemon master"), "");
    assert_eq!(fails("--stop-daemon master"), no_daemon);
    connections.extend(pair.open());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(active(second), CONNECTIONS, "the first no longer sends");
    let warned = || second.cli_status("status").1.contains("the peer 192.168.195.149 of [sync] was heard");
    wait_until("the second warns of a silent peer", PATIENCE, warned);
    exchange(&mut connections);
}
