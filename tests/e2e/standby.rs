//! Two directors for one VIP: one has claimed it, the other is on standby.

use crate::deployment::{Deployment, VIP, mac};
use crate::director::{Config, Director, Home};
use crate::http::{assert_by_weight, connect_in_turn};
use crate::on_both_backends;
use crate::peers::{EchoConnection, PATIENCE, Peers};
use crate::support::netns::{Netns, wait_until};
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::time::Duration;

on_both_backends! {
    a_standby_claims_the_vip_of_a_failed_director
    after_a_link_outage_a_director_is_on_standby
    after_a_partition_one_of_two_directors_gives_way
}

const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 148);
const LONG: Duration = Duration::from_secs(60);

fn second(deployment: &Deployment, config: &Config) -> (Netns, Director) {
    let host = deployment.plug("second", SECOND);
    let director = Director::start_in(Home::new(), &host, &config.text(deployment));
    (host, director)
}

fn a_standby_claims_the_vip_of_a_failed_director(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let first = Director::start(&deployment, &Config::new(backend));
    let mut connection = EchoConnection::open(&deployment.client);
    let (_host, standby) = second(&deployment, &Config::new(backend));
    let holder = mac(&deployment.director);
    assert_eq!(standby.logged("standby: another host has the VIP"), 1, "{}", standby.log());
    assert!(standby.log().contains("standby=3"), "in the log event of readiness: {}", standby.log());
    let state = standby.cli("status");
    assert!(state.contains(&format!("standby: {holder} answers for it")), "{state}");
    connection.exchange("data");
    assert_eq!((first.logged("another host"), standby.logged("VIP claimed")), (0, 0));

    first.end(Signal::SIGKILL);
    wait_until("the standby claims the VIP", PATIENCE, || standby.logged("VIP claimed") == 1);
    assert_by_weight(connect_in_turn(&deployment, &standby, 30));
}

fn after_a_link_outage_a_director_is_on_standby(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let first = Director::start(&deployment, &Config::new(backend));
    let (host, second) = second(&deployment, &Config::new(backend));
    deployment.switch.run("ip link set director down");
    wait_until("the second director claims the VIP", PATIENCE, || second.logged("VIP claimed") == 1);
    let mut connection = EchoConnection::open(&deployment.client);
    deployment.switch.run("ip link set director up");
    let standby = format!(
        "standby: another host has the VIP; it is claimed when that host does not answer any more \
                           vip={VIP} mac={}",
        mac(&host)
    );
    wait_until("the first director is on standby", PATIENCE, || first.logged(&standby) == 1);
    connection.exchange("data");
    assert_by_weight(connect_in_turn(&deployment, &second, 30));
    let defences = ["another host answers", "defends"].map(|word| first.logged(word) + second.logged(word));
    assert_eq!((first.logged("VIP claimed"), defences), (1, [0, 0]), "{}{}", first.log(), second.log());
    let state = first.cli("status");
    assert!(state.contains(&format!("standby: {} answers for it", mac(&host))), "{state}");
}

/// As `import` configures two nodes that are both directors and real servers.
fn after_a_partition_one_of_two_directors_gives_way(backend: &str) {
    let deployment = Deployment::reference();
    let config = Config::new(backend).with("announce_interval = 1").text(&deployment);
    let host = deployment.plug("second", SECOND);
    deployment.switch.run("ip link set second nomaster"); // without a loss of its carrier
    let server = |rip: Ipv4Addr| config.replace(&deployment.rips[0].to_string(), &rip.to_string());
    let own = Ipv4Addr::new(192, 168, 195, 149);
    let first = Director::start_in(Home::new(), &deployment.director, &server(SECOND));
    let other = Director::start_in(Home::new(), &host, &server(own));
    let claims = |director: &Director| director.logged("VIP claimed");
    assert_eq!((claims(&first), claims(&other)), (1, 1), "each in its part of the segment");
    deployment.switch.run("ip link set second master br0");
    let gave_way = |director: &Director| director.logged("standby: another host has the VIP");
    wait_until("one gives way", LONG, || gave_way(&first) + gave_way(&other) == 1);
    let (owner, mac) =
        if gave_way(&first) == 0 { (&first, mac(&deployment.director)) } else { (&other, mac(&host)) };
    wait_until("only the owner answers", PATIENCE, || {
        let text = deployment.client.run(&format!("timeout 20 arping -r -i eth0 -c 3 -W 0.2 {VIP} || true"));
        text.lines().collect::<Vec<_>>() == vec![mac.as_str(); 3]
    });
    assert_eq!((claims(&first), claims(&other)), (1, 1), "no VIP is claimed again");
    assert_eq!(gave_way(owner), 0);
}
