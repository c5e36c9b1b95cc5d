//! Answers to clients whose connection no real server takes.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{ECHO, PATIENCE, vip};
use crate::support::netns::Netns;
use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

on_both_backends! {
    a_client_without_a_server_is_refused_at_once
    traceroute_shows_the_director_as_the_vip
}

/// ICMP "destination unreachable" messages that the client has received.
fn unreachable(client: &Netns) -> u64 {
    let text = client.run("awk '/^Icmp:/ {n = $5} END {print n}' /proc/net/snmp");
    text.trim().parse().unwrap()
}

fn connect_error(client: &Netns, patience: Duration) -> ErrorKind {
    client.enter(|| TcpStream::connect_timeout(&vip(80), patience)).unwrap_err().kind()
}

fn udp_error(client: &Netns) -> ErrorKind {
    let socket = client.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    socket.connect(vip(ECHO)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"question").unwrap();
    socket.recv(&mut [0; 16]).unwrap_err().kind()
}

fn a_client_without_a_server_is_refused_at_once(backend: &str) {
    let deployment = Deployment::reference();
    let config = Config { weights: [0, 0], ..Config::new(backend) };
    let director = Director::start(&deployment, &config);
    let client = &deployment.client;

    assert_eq!(connect_error(client, PATIENCE), ErrorKind::ConnectionRefused, "by ICMP");
    assert_eq!(udp_error(client), ErrorKind::ConnectionRefused);
    assert_eq!(unreachable(client), 2);
    let curl = client.run(&format!("curl -sS --max-time 60 http://{VIP}/ 2>&1; echo status $?"));
    assert!(curl.contains("Failed to connect") && curl.contains("status 7"), "{curl}");

    director.write_config(&config.clone().with("reject = \"reset\"").text(&deployment));
    director.change("reload");
    let before = unreachable(client);
    assert_eq!(connect_error(client, PATIENCE), ErrorKind::ConnectionRefused, "by a reset");
    assert_eq!(unreachable(client), before);
    assert_eq!(udp_error(client), ErrorKind::ConnectionRefused, "UDP has no reset");
    assert_eq!(unreachable(client), before + 1);

    director.write_config(&config.with("reject = \"drop\"").text(&deployment));
    director.change("reload");
    assert_eq!(connect_error(client, Duration::from_secs(1)), ErrorKind::TimedOut);
    assert_eq!(unreachable(client), before + 1);
    assert!(director.dropped("no_server") >= 6);
}

fn traceroute_shows_the_director_as_the_vip(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new(backend));
    let text = deployment.client.run(&format!("traceroute -n -T -p 80 -m 2 -q 1 -w 5 {VIP} 2>&1"));
    let hops: Vec<_> = text.lines().skip(1).map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(hops.first(), Some(&Some("192.168.195.150")), "{text}");
    assert_eq!(director.dropped("ttl_exceeded"), 1);
}
