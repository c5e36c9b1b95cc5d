//! ARP for the VIP: replies, conflicts, and real servers that answer.

use crate::deployment::{Deployment, VIP, mac};
use crate::director::{Config, Director};
use crate::http::{assert_by_weight, connect_in_turn};
use crate::on_both_backends;
use crate::peers::{EchoConnection, NAMES, PATIENCE, Peers, connect};
use crate::support::netns::{Netns, wait_until};
use std::time::Duration;

/// Timeout for the end of a conflict: three unanswered probes, five seconds apart.
const LONG: Duration = Duration::from_secs(60);

on_both_backends! {
    only_the_director_answers_for_the_vip
    a_server_that_answers_for_the_vip_delays_its_claim
    on_conflict_claim_takes_the_vip
    a_server_that_answers_for_the_vip_is_excluded_until_quiet
    on_server_claim_ignore_excludes_no_server
}

/// MAC addresses of the replies to `requests` ARP requests (arping by Thomas Habets).
fn answers(client: &Netns, requests: usize) -> Vec<String> {
    let text = client.run(&format!("timeout 20 arping -r -i eth0 -c {requests} -W 0.2 {VIP} || true"));
    text.lines().map(str::to_owned).collect()
}

fn only_the_director_answers_for_the_vip(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    assert_eq!(answers(&deployment.client, 5), vec![mac(&deployment.director); 5]);
    connect(&deployment.client, 20);
    assert_eq!(answers(&deployment.client, 5), vec![mac(&deployment.director); 5]);
    assert_eq!(director.logged("VIP claimed"), 1);
}

fn a_server_that_answers_for_the_vip_delays_its_claim(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let server = &deployment.real[1];
    server.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let director = Director::start(&deployment, &Config::new(backend));
    let log = director.log();
    let line = log.lines().find(|line| line.contains("another host answers for the VIP")).expect(&log);
    let rip = deployment.rips[1].to_string();
    for part in ["ERROR", &VIP.to_string(), &mac(server), &format!("rip={rip}"), "directrix realserver setup"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(director.logged("standby: another host has the VIP"), 1, "{log}");
    assert_eq!(answers(&deployment.client, 3), vec![mac(server); 3], "the director does not answer");
    server.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    wait_until("the VIP is claimed", PATIENCE, || director.logged("VIP claimed") == 1);
    deployment.client.run("ip neighbor flush dev eth0");
    assert_by_weight(connect_in_turn(&deployment, &director, 30));
}

fn on_conflict_claim_takes_the_vip(backend: &str) {
    let deployment = Deployment::reference();
    deployment.real[1].run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let director = Director::start(&deployment, &Config::new(backend).with("on_conflict = \"claim\""));
    let log = director.log();
    assert!(log.contains(&mac(&deployment.real[1])) && log.contains("claimed all the same"), "{log}");
    assert!(log.contains("a VIP that another host has is taken from it"), "{log}");
    assert!(answers(&deployment.client, 3).contains(&mac(&deployment.director)));
}

fn a_server_that_answers_for_the_vip_is_excluded_until_quiet(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    // A probe goes out with each announcement.
    let director = Director::start(&deployment, &Config::new(backend).with("announce_interval = 1"));
    let mut connection = EchoConnection::open(&deployment.client);
    while connection.server != NAMES[1] {
        connection = EchoConnection::open(&deployment.client);
    }
    deployment.real[1].run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    wait_until("the exclusion", LONG, || director.logged("real server answers for the VIP") == 1);
    assert!(director.cli("top --once").contains("claims_vip"), "{}", director.cli("top --once"));
    use_the_director(&deployment);
    assert_eq!(connect(&deployment.client, 12), [12, 0]);
    connection.exchange("data");
    deployment.real[1].run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    wait_until("the end of the exclusion", LONG, || {
        director.logged("the other host no longer answers for the VIP") == 1
    });
    let [_, second] = connect(&deployment.client, 30);
    assert!(second >= 15, "{second} of 30 to the server of weight 2");
    assert_eq!(director.logged("VIP claimed"), 1, "the VIP stays claimed: {}", director.log());
}

fn on_server_claim_ignore_excludes_no_server(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).with("announce_interval = 1").with("on_server_claim = \"ignore\"");
    let director = Director::start(&deployment, &config);
    deployment.real.iter().for_each(|real| drop(real.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0")));
    wait_until("both are logged", LONG, || director.logged("real server answers for the VIP") == 2);
    use_the_director(&deployment);
    assert_by_weight(connect_in_turn(&deployment, &director, 30));
}

/// Sets the client's ARP entry, as several hosts answer for the VIP.
fn use_the_director(deployment: &Deployment) {
    let mac = mac(&deployment.director);
    deployment.client.run(&format!("ip neighbor replace {VIP} lladdr {mac} dev eth0 nud permanent"));
}
