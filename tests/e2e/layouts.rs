//! Directors with two interfaces, and with two queues.

use crate::deployment::{Deployment, Layout, Plan};
use crate::director::{Config, Director};
use crate::http::{ab, everything_adds_up, everything_but_dropped_adds_up};
use crate::on_both_backends;
use crate::peers::{Conversation, Flow, Peers};

on_both_backends! {
    real_servers_behind_another_interface_are_served
    two_queues_feed_two_workers
    two_queues_and_two_interfaces_work_together
}

fn real_servers_behind_another_interface_are_served(backend: &str) {
    let (deployment, director) = serve_two_arms(backend, 1);
    everything_adds_up(&deployment, &director);
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
    Conversation::open(&deployment.client).go_on("by the router and back");
    let flow = Flow::new(&deployment.client);
    assert_eq!(flow.ask("first"), flow.ask("again"));
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

/// A veth chooses a queue by a number of the sending socket rather than by addresses. A RST that
/// answers a late segment comes from no socket: it may get to the other worker, which knows no
/// such connection. Network cards do not do that.
fn two_queues_add_up(deployment: &Deployment, director: &Director) {
    everything_but_dropped_adds_up(deployment, director);
    let dropped: u64 = director.workers("dropped").iter().sum();
    assert_eq!(director.dropped("no_connection"), dropped, "{}", director.ask("drops"));
    assert!(dropped <= 20, "{dropped} of {} frames", deployment.sent().packets);
}
