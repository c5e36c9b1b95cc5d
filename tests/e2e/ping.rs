//! Pings of the VIP: answered by the director, unseen by real servers.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::PATIENCE;
use crate::support::netns::{Netns, wait_until};
use crate::support::responder::Dump;

on_both_backends! {
    the_director_answers_pings_and_servers_see_none
    a_ping_is_answered_as_configured
}

/// Number of replies to five pings.
fn replies(client: &Netns, options: &str) -> usize {
    let text = client.run(&format!("ping -n -c 5 -i 0.05 -W 1 {options} {VIP} || true"));
    let replies = text.lines().filter(|line| line.contains("ttl=64") && !line.contains("DUP"));
    let count = replies.count();
    assert_eq!(text.matches("DUP").count(), 0, "answered twice: {text}");
    count
}

fn the_director_answers_pings_and_servers_see_none(backend: &str) {
    let deployment = Deployment::reference();
    deployment.director.run("sysctl -qw net.ipv4.ip_forward=1");
    let _director = Director::start(&deployment, &Config::new(backend));
    let dump = Dump::on(&deployment.real[0], "icmp");
    assert_eq!(replies(&deployment.client, ""), 5);
    assert_eq!(replies(&deployment.client, "-s 1400"), 5);
    assert_eq!(replies(&deployment.client, "-s 0"), 5, "padded by Ethernet");
    assert_eq!(replies(&deployment.client, "-s 4000"), 0, "fragments");
    assert_eq!(dump.lines("ICMP echo"), 0, "{}", dump.text());
}

fn a_ping_is_answered_as_configured(backend: &str) {
    let deployment = Deployment::reference();
    let healthy = Config::new(backend).with("ping = \"if-healthy\"");
    let director = Director::start(&deployment, &healthy);
    let client = &deployment.client;
    assert_eq!(replies(client, ""), 5, "its servers are reachable");
    director.write_config(&Config { weights: [0, 0], ..healthy }.text(&deployment));
    director.change("reload");
    assert_eq!(replies(client, ""), 0, "no server has a weight");
    director.write_config(&Config::new(backend).with("ping = \"ignore\"").text(&deployment));
    director.change("reload");
    assert_eq!(replies(client, ""), 0);
    director.write_config(&Config { weights: [0, 0], ..Config::new(backend) }.text(&deployment));
    director.change("reload");
    wait_until("answers by default", PATIENCE, || replies(client, "") == 5);
}
