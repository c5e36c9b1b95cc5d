//! Who answers ARP for the VIP.

use crate::deployment::{Deployment, VIP, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{Peers, connect};
use crate::support::netns::Netns;

on_both_backends! {
    only_the_director_answers_for_the_vip
    a_real_server_that_answers_for_the_vip_is_named_and_the_vip_refused
    told_to_claim_the_director_goes_on
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

fn a_real_server_that_answers_for_the_vip_is_named_and_the_vip_refused(backend: &str) {
    let deployment = Deployment::reference();
    let culprit = &deployment.real[1];
    culprit.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let config = Config::new(backend).text(&deployment);
    let (status, log) = Director::refusal(&deployment.director, &config, "");
    assert_eq!(status, Some(1), "{log}");
    let told = log.lines().find(|line| line.contains("another host answers for the VIP")).expect(&log);
    let rip = deployment.rips[1].to_string();
    for part in [&VIP.to_string(), &mac(culprit), &format!("real server {rip}"), "directrix realserver setup"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(log.contains("no VIP can be served"), "{log}");
    assert_eq!(answers(&deployment.client, 3), vec![mac(culprit); 3], "the director keeps quiet");
}

fn told_to_claim_the_director_goes_on(backend: &str) {
    let deployment = Deployment::reference();
    deployment.real[1].run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let director = Director::start(&deployment, &Config::new(backend).with("on_conflict = \"claim\""));
    let told = director.log();
    assert!(told.contains(&mac(&deployment.real[1])) && told.contains("claimed all the same"), "{told}");
    assert!(answers(&deployment.client, 3).contains(&mac(&deployment.director)));
}
