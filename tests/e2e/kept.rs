//! Connections that outlive their director: a kill, a restart, a new configuration.

use crate::deployment::Deployment;
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{EchoConnection, PATIENCE, Peers};
use crate::support::netns::wait_until;
use nix::sys::signal::Signal;

on_both_backends! {
    connections_outlive_a_kill_and_an_orderly_end
    a_director_starts_while_a_killed_one_is_still_ending
    a_restarted_director_claims_its_vip_at_once
    without_a_name_connections_end_with_a_kill_alone
}

/// Connections over each director, in turn.
const CONNECTIONS: usize = 40;

/// ActiveConn of the echo service's servers.
fn active(director: &Director) -> usize {
    director.load("-t 192.168.195.150:7").iter().map(|(active, _)| active).sum()
}

/// Waits until the keeper has the last events.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(100));
}

fn connections_outlive_a_kill_and_an_orderly_end(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).text(&deployment);
    let mut director = Director::start_in(Home::new(), &deployment.director, &config);
    let mut connections = Vec::new();
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        connections.extend((0..CONNECTIONS).map(|_| EchoConnection::open(&deployment.client)));
        settle();
        let (_, home) = director.end(signal);
        director = Director::start_in(home, &deployment.director, &config);
        wait_until("the loads of all", PATIENCE, || active(&director) == connections.len());
        let listed = || director.connections("ESTABLISHED").len();
        assert_eq!(listed(), connections.len(), "also of connections that no worker has yet");
        connections.iter_mut().for_each(|connection| connection.exchange("data"));
        settle();
        assert_eq!(listed(), connections.len());
        assert_eq!(active(&director), connections.len(), "each counts once");
    }
    let open = connections.len();
    connections.drain(..CONNECTIONS).for_each(drop);
    wait_until("the closed ones are inactive", PATIENCE, || active(&director) == open - CONNECTIONS);
}

fn a_director_starts_while_a_killed_one_is_still_ending(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).text(&deployment);
    let mut director = Director::start_in(Home::new(), &deployment.director, &config);
    for _ in 0..5 {
        let mut connection = EchoConnection::open(&deployment.client);
        settle();
        let home = director.home();
        director.signal(Signal::SIGKILL);
        let mut next = Director::spawn(home, &deployment.director, &config, "");
        next.wait_ready();
        drop(std::mem::replace(&mut director, next));
        connection.exchange("data");
    }
}

fn a_restarted_director_claims_its_vip_at_once(backend: &str) {
    let deployment = Deployment::reference();
    let config = Config::new(backend).text(&deployment);
    let mut director = Director::start_in(Home::new(), &deployment.director, &config);
    let probes = |director: &Director| director.metric("directrix_neighbor_probed_total");
    assert_eq!(probes(&director), 3, "the first start probes (RFC 5227)");
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        // On a busy host a restart may take more than the second after which it probes again.
        let mut at_once = false;
        for _ in 0..20 {
            let (_, home) = director.end(signal);
            director = Director::start_in(home, &deployment.director, &config);
            at_once = probes(&director) == 1;
            if at_once {
                break;
            }
        }
        assert!(at_once, "one beside the announcement: {}", director.log());
    }
    let (_, home) = director.end(Signal::SIGKILL);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let director = Director::start_in(home, &deployment.director, &config);
    assert_eq!(probes(&director), 3, "it was away for long: {}", director.log());
}

fn without_a_name_connections_end_with_a_kill_alone(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let mut config = Config::new(backend);
    config.tables += "[ha]\nkeep = \"none\"\n";
    let text = config.text(&deployment);
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    let mut connection = EchoConnection::open(&deployment.client);
    settle();
    let (director, status) = director.followed(&deployment.director);
    assert!(status.success());
    connection.exchange("data");
    settle();
    assert!(!director.socket().with_extension("shadow").exists());
    let (_, home) = director.end(Signal::SIGKILL);
    let director = Director::start_in(home, &deployment.director, &text);
    assert_eq!(active(&director), 0, "{}", director.log());
}
