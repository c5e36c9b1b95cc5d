//! Loss and return of the director's carrier with open connections.

use crate::deployment::Deployment;
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{EchoConnection, PATIENCE, Peers, connect};
use crate::support::netns::wait_until;

on_both_backends! {
    connections_survive_a_link_flap
}

fn connections_survive_a_link_flap(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut connections: Vec<_> = (0..8).map(|_| EchoConnection::open(&deployment.client)).collect();
    let ends = [(&deployment.switch, "director"), (&deployment.director, "eth0")];
    for (round, (host, port)) in ends.into_iter().enumerate() {
        host.run(&format!("ip link set {port} down"));
        wait_until("link down", PATIENCE, || director.logged("link down") == round + 1);
        host.run(&format!("ip link set {port} up"));
        wait_until("link up", PATIENCE, || director.logged("link up") == round + 1);
        connections.iter_mut().for_each(|connection| connection.exchange("data"));
        assert_eq!(connect(&deployment.client, 30).iter().sum::<usize>(), 30);
    }
    assert_eq!(director.load("-t 192.168.195.150:7").iter().map(|(active, _)| active).sum::<usize>(), 8);
    assert_eq!(director.logged("does not answer ARP"), 0, "{}", director.log());
}
