//! States and timeouts of connections.

use crate::deployment::Deployment;
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{EchoConnection, Flow, NAMES, PATIENCE, Peers};
use crate::support::netns::wait_until;
use nix::sys::socket::{setsockopt, sockopt};
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_backends! {
    traffic_extends_a_connection_until_its_timeout
    closed_connections_are_inactive_and_expire_first
    a_udp_flow_keeps_its_server
}

/// Longest time from an entry's deadline to its removal.
const SWEEP: Duration = Duration::from_secs(2);
const SERVICE: &str = "-t 192.168.195.150:7";

fn traffic_extends_a_connection_until_its_timeout(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).timeouts(4, 2, 2));
    let mut connections: Vec<_> = (0..32).map(|_| EchoConnection::open(&deployment.client)).collect();
    let on = |name| connections.iter().filter(|connection| connection.server == name).count();
    let [first, second] = NAMES.map(on);
    assert!((10..=11).contains(&first) && first + second == 32, "{first} to {second} for weights 1 to 2");

    let mut last = Instant::now();
    for round in 0..3 {
        sleep(Duration::from_millis(2500)); // more than half of the timeout
        assert_eq!(director.connections("ESTABLISHED").len(), 32, "round {round}");
        assert_eq!(director.load(SERVICE), [(first, 0), (second, 0)]);
        last = Instant::now();
        connections.iter_mut().for_each(|connection| connection.exchange("data"));
    }
    assert_eq!(director.stats(SERVICE)[0][0], 32, "no connection was opened again");
    director.connections("").iter().for_each(|row| assert!(row.starts_with("TCP 00:0"), "{row}"));

    wait_until("an empty table", PATIENCE, || director.connections("").is_empty());
    let idle = last.elapsed();
    assert!(idle >= Duration::from_secs(4), "expired after {idle:?}");
    assert_eq!(director.load(SERVICE), [(0, 0), (0, 0)]);
    frames_of_expired_connections_are_dropped(&deployment, &director, &mut connections);
}

fn frames_of_expired_connections_are_dropped(
    deployment: &Deployment,
    director: &Director,
    connections: &mut [EchoConnection],
) {
    let before = deployment.arrived();
    connections.iter_mut().for_each(|connection| connection.send("data"));
    wait_until("drops", PATIENCE, || director.dropped("no_connection") >= 32);
    assert_eq!(deployment.arrived(), before);
}

fn closed_connections_are_inactive_and_expire_first(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).timeouts(900, 2, 2));
    let open = |_| EchoConnection::open(&deployment.client);
    let kept: Vec<_> = (0..3).map(open).collect();
    let reset: Vec<_> = (0..3).map(open).collect();
    let ended: Vec<_> = (0..3).map(open).collect();
    let end = Instant::now();
    drop(ended);
    reset.into_iter().for_each(abort);
    let listed = |state| director.connections(state).len();
    wait_until("FIN_WAIT", PATIENCE, || listed("FIN_WAIT") == 3);
    wait_until("CLOSE", PATIENCE, || listed("CLOSE") == 3);
    let of_both = director.load(SERVICE);
    assert_eq!((of_both[0].0 + of_both[1].0, of_both[0].1 + of_both[1].1), (3, 6), "{of_both:?}");

    wait_until("the end of FIN_WAIT", PATIENCE, || listed("FIN_WAIT") == 0);
    assert!(end.elapsed() >= Duration::from_secs(2));
    assert_eq!(listed("CLOSE"), 3);
    wait_until("the end of CLOSE", Duration::from_secs(10) + SWEEP, || listed("CLOSE") == 0);
    assert!(end.elapsed() >= Duration::from_secs(10));
    assert_eq!(listed("ESTABLISHED"), kept.len());
}

/// Ends a connection by a RST.
fn abort(connection: EchoConnection) {
    let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(connection.stream(), sockopt::Linger, &now).unwrap();
}

fn a_udp_flow_keeps_its_server(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let flows: Vec<_> = (0..12).map(|_| Flow::new(&deployment.client)).collect();
    let servers: Vec<_> = flows.iter().map(|flow| flow.exchange("first")).collect();
    for _ in 0..5 {
        let again: Vec<_> = flows.iter().map(|flow| flow.exchange("again")).collect();
        assert_eq!(again, servers);
    }
    assert_eq!(NAMES.map(|name| servers.iter().filter(|server| *server == name).count()), [4, 8]);
    assert_eq!(director.connections("UDP").len(), 12);
}
