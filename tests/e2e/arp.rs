//! ARP answers for the VIP: from the director alone.

use crate::deployment::{Deployment, VIP, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{Conversation, NAMES, PATIENCE, Peers, connect};
use crate::support::netns::{Netns, wait_until};
use std::time::Duration;

/// A station counts as quiet when it has left three probes unanswered, five seconds apart.
const LONG: Duration = Duration::from_secs(60);

on_both_backends! {
    only_the_director_answers_for_the_vip
    a_real_server_that_has_the_vip_is_named_and_followed
    told_to_claim_the_director_goes_on
    a_server_that_answers_for_the_vip_is_excluded_until_quiet
    told_to_ignore_it_the_director_excludes_no_real_server
}

/// The addresses that answer so many questions, one for each answer (arping by Thomas Habets).
fn answers(client: &Netns, questions: usize) -> Vec<String> {
    let text = client.run(&format!("timeout 20 arping -r -i eth0 -c {questions} -W 0.2 {VIP} || true"));
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

fn a_real_server_that_has_the_vip_is_named_and_followed(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let culprit = &deployment.real[1];
    culprit.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let director = Director::start(&deployment, &Config::new(backend));
    let log = director.log();
    let told = log.lines().find(|line| line.contains("another host answers for the VIP")).expect(&log);
    let rip = deployment.rips[1].to_string();
    for part in
        ["ERROR", &VIP.to_string(), &mac(culprit), &format!("rip={rip}"), "directrix realserver setup"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(director.logged("standby: another host has the VIP"), 1, "{log}");
    assert_eq!(answers(&deployment.client, 3), vec![mac(culprit); 3], "the director keeps quiet");
    culprit.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    wait_until("the VIP is claimed", PATIENCE, || director.logged("VIP claimed") == 1);
    deployment.client.run("ip neighbor flush dev eth0");
    assert_eq!(connect(&deployment.client, 30), [10, 20]);
}

fn told_to_claim_the_director_goes_on(backend: &str) {
    let deployment = Deployment::reference();
    deployment.real[1].run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let director = Director::start(&deployment, &Config::new(backend).with("on_conflict = \"claim\""));
    let told = director.log();
    assert!(told.contains(&mac(&deployment.real[1])) && told.contains("claimed all the same"), "{told}");
    assert!(told.contains("a VIP that another host has is taken from it"), "{told}");
    assert!(answers(&deployment.client, 3).contains(&mac(&deployment.director)));
}

fn a_server_that_answers_for_the_vip_is_excluded_until_quiet(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    // The VIP is probed for with each announcement.
    let director = Director::start(&deployment, &Config::new(backend).with("announce_interval = 1"));
    let mut conversation = Conversation::open(&deployment.client);
    while conversation.server != NAMES[1] {
        conversation = Conversation::open(&deployment.client);
    }
    deployment.real[1].run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    wait_until("it is excluded", LONG, || director.logged("real server answers ARP for the VIP") == 1);
    assert!(director.ask("top --once").contains("claims_vip"), "{}", director.ask("top --once"));
    use_the_director(&deployment);
    assert_eq!(connect(&deployment.client, 12), [12, 0]);
    conversation.go_on("existing connections go on");
    deployment.real[1].run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    wait_until("it is back", LONG, || director.logged("the other host no longer answers for the VIP") == 1);
    let [_, second] = connect(&deployment.client, 30);
    assert!(second >= 15, "{second} of 30 to the server of weight 2");
    assert_eq!(director.logged("VIP claimed"), 1, "the VIP was never given up: {}", director.log());
}

fn told_to_ignore_it_the_director_excludes_no_real_server(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).with("announce_interval = 1").with("on_server_claim = \"ignore\"");
    let director = Director::start(&deployment, &config);
    deployment.real.iter().for_each(|real| drop(real.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0")));
    wait_until("it is told", LONG, || director.logged("real server answers ARP for the VIP") == 2);
    use_the_director(&deployment);
    assert_eq!(connect(&deployment.client, 30), [10, 20]);
}

/// Several hosts answer for the VIP: the client is told which one to believe.
fn use_the_director(deployment: &Deployment) {
    let mac = mac(&deployment.director);
    deployment.client.run(&format!("ip neighbor replace {VIP} lladdr {mac} dev eth0 nud permanent"));
}
