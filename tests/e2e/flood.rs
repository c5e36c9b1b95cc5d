//! Clients during a flood of datagrams that fills the flow table.

use crate::deployment::{CLIENT, Deployment, VIP};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, PATIENCE, Peers};
use crate::support::netns::{Netns, wait_until};
use std::net::UdpSocket;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

on_both_backends! {
    a_flood_of_single_datagrams_blocks_no_service
    a_flood_of_confirmed_flows_blocks_no_other_service
}

/// Capacity of the table, a third of the flood's flows.
const CONNECTIONS: u64 = 1024;
const PORTS: Range<u16> = 20_000..23_000;

/// Sends `datagrams` from each port, with pauses, so that no ring overflows.
fn flood(client: &Netns, datagrams: usize) {
    client.enter(|| {
        for port in PORTS {
            let socket = UdpSocket::bind((CLIENT, port)).unwrap();
            for _ in 0..datagrams {
                socket.send_to(b"?", (VIP, ECHO)).unwrap();
            }
            if port % 100 == 0 {
                sleep(Duration::from_millis(5));
            }
        }
    });
}

fn forty_requests_are_answered(deployment: &Deployment) {
    let options = "-sS --fail --max-time 20 -H 'Connection: close'";
    let text = deployment.client.run(&format!("curl {options} 'http://{VIP}/[1-40]'"));
    assert_eq!(text.lines().count(), 40, "{text}");
}

fn a_flood_of_single_datagrams_blocks_no_service(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).with(&format!("connections = {CONNECTIONS}"));
    let director = Director::start(&deployment, &config.with("workers = 1"));
    let mut earlier: Vec<_> = (0..10).map(|_| EchoConnection::open(&deployment.client)).collect();
    flood(&deployment.client, 1);
    let evicted = || director.workers("evicted").iter().sum::<u64>();
    wait_until("evictions", PATIENCE, || evicted() > CONNECTIONS / 2);
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&deployment.client, 1));
        forty_requests_are_answered(&deployment);
        flooding.join().unwrap();
    });
    earlier.iter_mut().for_each(|connection| connection.exchange("data"));
    assert_eq!(director.dropped("table_full"), 0);
}

fn a_flood_of_confirmed_flows_blocks_no_other_service(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).with(&format!("connections = {CONNECTIONS}"));
    let director = Director::start(&deployment, &config.with("workers = 1"));
    let mut earlier: Vec<_> = (0..10).map(|_| EchoConnection::open(&deployment.client)).collect();
    flood(&deployment.client, 2);
    wait_until("the service's share is used up", PATIENCE, || director.dropped("table_full") > 0);
    let refused = director.dropped("table_full");
    forty_requests_are_answered(&deployment);
    earlier.iter_mut().for_each(|connection| connection.exchange("data"));
    assert_eq!(director.dropped("table_full"), refused);
}
