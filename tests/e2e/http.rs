//! HTTP by ab to nginx: no request fails, and the counts of all hosts match.

use crate::deployment::Deployment;
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{PATIENCE, Peers, connect, vip};
use crate::support::netns::wait_until;
use std::thread::sleep;
use std::time::Duration;

pub(crate) const HTTP: &str = "-t 192.168.195.150:80";

on_both_backends! {
    sequential_connections_are_split_by_weight
    a_hundred_concurrent_clients_are_answered
}

fn sequential_connections_are_split_by_weight(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    // ab uses some ports twice. By default a connection in FIN_WAIT keeps its server, and is not counted again.
    let director = Director::start(&deployment, &Config::new(backend).with("conn_reuse_mode = 3"));
    ab(&deployment, 5091, "-c 1");
    let [service, first, second] = director.stats(HTTP)[..] else { panic!() };
    assert_eq!(service[0], 5091);
    assert_eq!(first[0] + second[0], 5091);
    for (connections, share) in [(first[0], 1.0 / 3.0), (second[0], 2.0 / 3.0)] {
        let part = connections as f64 / 5091.0;
        assert!((part - share).abs() < 0.01, "{connections} of 5091");
    }
    let [(0, first), (0, second)] = director.load(HTTP)[..] else {
        panic!("{}", director.cli("ipvsadm -Ln"))
    };
    // A reused port ends the earlier connection, on either server, and wlc makes up for it: the totals
    // deviate from the weights, the entries do not.
    assert!((2 * first).abs_diff(second) <= 10, "{first} to {second}");
    assert_counts_match(&deployment, &director);
    ab(&deployment, 5091, "-c 1 -k");
    assert_counts_match(&deployment, &director);
}

fn a_hundred_concurrent_clients_are_answered(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("conn_reuse_mode = 3"));
    ab(&deployment, 20_000, "-c 100");
    let [service, first, second] = director.stats(HTTP)[..] else { panic!() };
    assert!(
        service[0] >= 20_000 && first[0] > 6000 && second[0] > 12_000,
        "{service:?} {first:?} {second:?}"
    );
    ab(&deployment, 20_000, "-c 100 -k");
    assert_counts_match(&deployment, &director);
}

/// Runs ab; panics unless every request was answered in full.
pub(crate) fn ab(deployment: &Deployment, requests: usize, options: &str) {
    let url = format!("http://{}/", vip(80));
    let text = deployment.client.run(&format!("timeout 60 ab -q -s 20 -n {requests} {options} {url} 2>&1"));
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line[name.len()..].trim().to_owned()
    };
    assert_eq!(value("Complete requests:"), requests.to_string(), "{text}");
    assert_eq!(value("Failed requests:"), "0", "{text}");
    assert!(!text.contains("Non-2xx"), "{text}");
}

/// Makes HTTP connections, each after the previous one is inactive; returns the number of each real server. Without
/// the wait the split may differ from the weights: two workers take frames in no order, and the last segment of a
/// connection may be counted after the next SYN.
pub(crate) fn connect_in_turn(deployment: &Deployment, director: &Director, times: usize) -> [usize; 2] {
    let mut answers = [0, 0];
    for _ in 0..times {
        let [first, second] = connect(&deployment.client, 1);
        answers = [answers[0] + first, answers[1] + second];
        wait_until("no connection is active", PATIENCE, || {
            director.load(HTTP).iter().all(|(active, _)| *active == 0)
        });
    }
    answers
}

/// Checks the real servers of 30 connections of [`connect_in_turn`] by weights of 1 and 2. On a slow machine a connection may expire
/// before the last one is made, a reset one after ten seconds, and one more goes to its server.
#[track_caller]
pub(crate) fn assert_by_weight(answers: [usize; 2]) {
    assert!(answers == [10, 20] || answers == [11, 19] || answers == [9, 21], "{answers:?}");
}

/// A delayed ACK may be the last segment of a connection (TCP_DELACK_MAX is 200 ms).
const DELAYED_ACK: Duration = Duration::from_millis(250);

/// Checks that the director received, forwarded and listed exactly the frames that the client's kernel sent and
/// the real servers' kernels received. No reply passed the director.
pub(crate) fn assert_counts_match(deployment: &Deployment, director: &Director) {
    assert_counts_match_but_drops(deployment, director);
    assert_eq!(total(director, "dropped"), 0, "{}", director.cli("drops"));
}

/// Likewise, except that the director may have dropped frames.
pub(crate) fn assert_counts_match_but_drops(deployment: &Deployment, director: &Director) {
    wait_until("no frame is in flight", PATIENCE, || {
        let before = deployment.sent();
        sleep(DELAYED_ACK);
        deployment.sent() == before
    });
    let (sent, [first, second]) = (deployment.sent(), deployment.arrived());
    let rows = director.stats("");
    let column = |index: usize| rows.iter().map(|row| row[index]).sum::<u64>() / 2; // services and servers
    assert_eq!((column(1), column(3)), ((first + second).packets, (first + second).bytes));
    assert_eq!((column(2), column(4)), (0, 0), "no outgoing counts");
    assert_eq!(total(director, "received"), sent.packets);
    assert_eq!(total(director, "forwarded"), column(1));
    assert_eq!(total(director, "forwarded") + total(director, "dropped"), sent.packets);
    assert_eq!(deployment.replies_on_director().packets, 0, "replies bypass the director");
    assert_eq!(deployment.icmp_messages().packets, 0);
}

fn total(director: &Director, field: &str) -> u64 {
    director.workers(field).iter().sum()
}
