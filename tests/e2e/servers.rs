//! Real servers that go away, come back, or take no new connections.

use crate::deployment::{Deployment, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{Conversation, Peers, connect};
use crate::support::netns::wait_until;
use std::time::Duration;

on_both_backends! {
    an_unreachable_server_gets_no_new_connections
    a_server_of_weight_zero_gets_no_connection
    a_changed_mac_address_is_noticed_and_told
    arp_keys_set_how_soon_a_dead_link_is_noticed
}

/// A silent server is noticed within 3 s; the machine may be busy.
const NOTICED: Duration = Duration::from_secs(20);

fn an_unreachable_server_gets_no_new_connections(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut both: Vec<_> = (0..2).map(|_| Conversation::open(&deployment.client)).collect();
    both.sort_by(|a, b| a.server.cmp(&b.server));
    assert_eq!([both[0].server.as_str(), &both[1].server], ["real1", "real2"]);

    deployment.switch.run("ip link set real2 down");
    wait_until("its absence is noticed", NOTICED, || director.logged("does not answer ARP") > 0);
    assert_eq!(connect(&deployment.client, 30), [30, 0]);
    both[0].go_on("the other one's connections live on");
    // It is asked again every five seconds, to no avail.
    std::thread::sleep(Duration::from_secs(6));

    let returns = || director.logged("real server reachable") - 2; // both answered at the start
    assert_eq!(returns(), 0);
    deployment.switch.run("ip link set real2 up");
    wait_until("its return is noticed", NOTICED, || returns() == 1);
    let [_, second] = connect(&deployment.client, 30);
    assert!(second >= 15, "{second} of 30 to the server of weight 2");
    both[1].go_on("and its own connections as well");
    assert_eq!((director.logged("does not answer ARP"), returns()), (1, 1), "told once: {}", director.log());
}

fn a_server_of_weight_zero_gets_no_connection(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let _director = Director::start(&deployment, &Config { weights: [1, 0], ..Config::new(backend) });
    assert_eq!(connect(&deployment.client, 30), [30, 0]);
}

fn a_changed_mac_address_is_noticed_and_told(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let old = mac(&deployment.real[0]);
    deployment.real[0].run("ip link set dev eth0 address 02:00:00:00:17:00");
    wait_until("the new address", NOTICED, || director.logged("real server changed its MAC address") > 0);
    let log = director.log();
    let told = log.lines().find(|line| line.contains("changed its MAC address")).unwrap();
    let rip = deployment.rips[0];
    for part in ["WARN", &format!("rip={rip}"), &format!("old={old}"), "new=02:00:00:00:17:00"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(director.logged("real server reachable"), 2, "both at the start, and not again: {log}");
    let [first, second] = connect(&deployment.client, 30);
    assert_eq!((first, second), (10, 20));
}

fn arp_keys_set_how_soon_a_dead_link_is_noticed(backend: &str) {
    let deployment = Deployment::reference();
    let config = Config::new(backend).with("arp_refresh = 600").with("arp_attempts = 2");
    let director = Director::start(&deployment, &config);
    deployment.switch.run("ip link set real2 down");
    std::thread::sleep(Duration::from_secs(4)); // longer than by default
    assert_eq!(director.logged("does not answer ARP"), 0, "not asked yet");
}
