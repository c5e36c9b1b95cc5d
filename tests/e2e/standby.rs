//! Two directors for one VIP: one directs, the other stands by.

use crate::deployment::{Deployment, VIP, mac};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{Conversation, PATIENCE, Peers, connect};
use crate::support::netns::{Netns, wait_until};
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::time::Duration;

on_both_backends! {
    a_standby_is_ready_and_takes_the_vip_when_its_holder_is_gone
    a_director_back_from_an_outage_stands_by_for_the_new_holder
    directors_that_are_each_other_s_servers_end_with_one_owner
}

const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 148);
const LONG: Duration = Duration::from_secs(60);

fn second(deployment: &Deployment, config: &Config) -> (Netns, Director) {
    let host = deployment.plug("second", SECOND);
    let director = Director::start_in(Home::new(), &host, &config.text(deployment));
    (host, director)
}

fn a_standby_is_ready_and_takes_the_vip_when_its_holder_is_gone(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let first = Director::start(&deployment, &Config::new(backend));
    let mut conversation = Conversation::open(&deployment.client);
    let (_host, standby) = second(&deployment, &Config::new(backend));
    let holder = mac(&deployment.director);
    assert_eq!(standby.logged("standby: another host has the VIP"), 1, "{}", standby.log());
    assert!(standby.log().contains("standby=3"), "said when it is ready: {}", standby.log());
    let state = standby.ask("status");
    assert!(state.contains(&format!("standby: {holder} answers ARP for it")), "{state}");
    conversation.go_on("not disturbed");
    assert_eq!((first.logged("another host"), standby.logged("VIP claimed")), (0, 0));

    first.end(Signal::SIGKILL);
    wait_until("the standby takes over", PATIENCE, || standby.logged("VIP claimed") == 1);
    assert_eq!(connect(&deployment.client, 30), [10, 20]);
}

fn a_director_back_from_an_outage_stands_by_for_the_new_holder(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let first = Director::start(&deployment, &Config::new(backend));
    let (host, second) = second(&deployment, &Config::new(backend));
    deployment.switch.run("ip link set director down");
    wait_until("the second takes over", PATIENCE, || second.logged("VIP claimed") == 1);
    let mut conversation = Conversation::open(&deployment.client);
    deployment.switch.run("ip link set director up");
    let standby = format!(
        "standby: another host has the VIP; it is claimed when that host does not answer any more \
                           vip={VIP} mac={}",
        mac(&host)
    );
    wait_until("the first stands by", PATIENCE, || first.logged(&standby) == 1);
    conversation.go_on("not disturbed");
    assert_eq!(connect(&deployment.client, 30), [10, 20]);
    let defences = ["another host answers", "defends"].map(|word| first.logged(word) + second.logged(word));
    assert_eq!((first.logged("VIP claimed"), defences), (1, [0, 0]), "{}{}", first.log(), second.log());
    let state = first.ask("status");
    assert!(state.contains(&format!("standby: {} answers ARP for it", mac(&host))), "{state}");
}

/// The configuration that `import` makes of two nodes that are directors and real servers.
fn directors_that_are_each_other_s_servers_end_with_one_owner(backend: &str) {
    let deployment = Deployment::reference();
    let config = Config::new(backend).with("announce_interval = 1").text(&deployment);
    let host = deployment.plug("second", SECOND);
    deployment.switch.run("ip link set second nomaster"); // its carrier stays
    let server = |rip: Ipv4Addr| config.replace(&deployment.rips[0].to_string(), &rip.to_string());
    let own = Ipv4Addr::new(192, 168, 195, 149);
    let first = Director::start_in(Home::new(), &deployment.director, &server(SECOND));
    let other = Director::start_in(Home::new(), &host, &server(own));
    let claims = |director: &Director| director.logged("VIP claimed");
    assert_eq!((claims(&first), claims(&other)), (1, 1), "each in its part");
    deployment.switch.run("ip link set second master br0");
    let gave_way = |director: &Director| director.logged("standby: another host has the VIP");
    wait_until("one gives way", LONG, || gave_way(&first) + gave_way(&other) == 1);
    let (owner, mac) =
        if gave_way(&first) == 0 { (&first, mac(&deployment.director)) } else { (&other, mac(&host)) };
    wait_until("its last word is heard", PATIENCE, || {
        let text = deployment.client.run(&format!("timeout 20 arping -r -i eth0 -c 3 -W 0.2 {VIP} || true"));
        text.lines().collect::<Vec<_>>() == vec![mac.as_str(); 3]
    });
    assert_eq!((claims(&first), claims(&other)), (1, 1), "nothing has moved");
    assert_eq!(gave_way(owner), 0);
}
