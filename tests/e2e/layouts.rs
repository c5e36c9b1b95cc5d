//! Directors with two interfaces or two queues.

use crate::deployment::{Deployment, Layout, Plan};
use crate::director::{Config, Director};
use crate::http::{ab, assert_counts_match, assert_counts_match_but_drops};
use crate::on_both_backends;
use crate::peers::{EchoConnection, Flow, Peers};

on_both_backends! {
    real_servers_at_server_interface_are_served
    two_queues_feed_two_workers
    two_queues_and_two_interfaces_work_together
}

fn real_servers_at_server_interface_are_served(backend: &str) {
    let (deployment, director) = serve_two_arms(backend, 1);
    assert_counts_match(&deployment, &director);
}

fn two_queues_and_two_interfaces_work_together(backend: &str) {
    let (deployment, director) = serve_two_arms(backend, 2);
    two_queues_add_up(&deployment, &director);
}

fn serve_two_arms(backend: &str, queues: u32) -> (Deployment, Director) {
    let deployment = Deployment::new(Plan { layout: Layout::TwoArms, queues, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).with("server_interface = \"eth1\"");
    let director = Director::start(&deployment, &config);
    EchoConnection::open(&deployment.client).exchange("data");
    let flow = Flow::new(&deployment.client);
    assert_eq!(flow.exchange("first"), flow.exchange("again"));
    ab(&deployment, 3000, "-c 20");
    (deployment, director)
}

fn two_queues_feed_two_workers(backend: &str) {
    let deployment = Deployment::new(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    ab(&deployment, 10_000, "-c 100");
    two_queues_add_up(&deployment, &director);
    let [first, second] = director.workers("received")[..] else { panic!("two workers") };
    assert!(first > 1000 && second > 1000, "{first} and {second} frames");
}

/// Checks the counts of a director with two queues.
///
/// A veth chooses the queue by the sending socket, not by addresses as a NIC does. A RST that answers a late
/// segment has no socket, and may arrive at the worker that does not have the connection.
fn two_queues_add_up(deployment: &Deployment, director: &Director) {
    assert_counts_match_but_drops(deployment, director);
    let dropped: u64 = director.workers("dropped").iter().sum();
    assert_eq!(director.dropped("no_connection"), dropped, "{}", director.cli("drops"));
    assert!(dropped <= 20, "{dropped} of {} frames", deployment.sent().packets);
}
